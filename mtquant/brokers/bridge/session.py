"""TerminalSession: the bridge's side of one terminal, in the process that owns it.

The account belongs to whoever runs the bridge. So ``initialize`` and ``login`` of a client connect
nothing new and switch nothing: they answer whether the terminal *is* on the account that the client
means. ``shutdown`` ends the client's use of it, not the others'. Passwords never travel.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any

from mtquant.brokers import constants as mt5
from mtquant.brokers.bridge.calls import CALLS
from mtquant.brokers.bridge.wire import (
    WireError,
    array_bytes,
    array_facts,
    dump,
    json_answer,
    load,
)

_PREFIX = struct.Struct("<iI")  # code of last_error, length of the JSON part
_SUCCESS = (mt5.RES_S_OK, "Success")
_UNSUPPORTED = (mt5.RES_E_UNSUPPORTED, "Terminal: Unsupported function")
_NOT_AUTHORISED = (mt5.RES_E_AUTH_FAILED, "Terminal: Authorization failed")
_OWN = ("initialize", "login", "shutdown")

Extra = Mapping[str, Callable[..., Any]]
"""Functions besides the module's, by name; each is called with the module first."""


class TerminalSession:
    """One module, and how the bridge's owner connects it."""

    def __init__(self, module: Any, connect: Mapping[str, Any], extra: Extra | None = None) -> None:
        """Do not connect yet.

        Args:
            module: ``MetaTrader5`` or what offers its functions.
            connect: Arguments of the module's own ``initialize``.
            extra: For a test's hand of time. HTTP reaches only the whitelist, whatever is here.
        """
        self._module = module
        self._connect = dict(connect)
        self._extra = dict(extra or {})

    def connect(self) -> bool:
        """Connect the terminal as its owner means it, if it is not connected."""
        if self._module.terminal_info() is not None:
            return True
        named = dict(self._connect)
        path = [named.pop("path")] if "path" in named else []  # the module takes it unnamed only
        return bool(self._module.initialize(*path, **named))

    def answer(self, frame: bytes) -> bytes:
        """What the module answers to a call.

        Args:
            frame: Function and arguments, of :func:`call_frame`.

        Returns:
            For :func:`split_answer`.
        """
        call = load(frame)
        name, args, kwargs = call["function"], call["args"], call["kwargs"]
        answer: Any
        if name in _OWN:
            answer, error = self._own(name, *args, **kwargs)
        elif name in self._extra:
            answer, error = self._extra[name](self._module, *args, **kwargs), _SUCCESS
        else:
            function = getattr(self._module, name, None) if name in CALLS else None
            if function is None:
                return json_frame(CALLS[name].fails_as if name in CALLS else None, _UNSUPPORTED)
            answer = function(*args, **kwargs)
            error = self._module.last_error()
        if hasattr(answer, "dtype") and getattr(answer.dtype, "names", None):
            facts = dump({**array_facts(answer), "last_error": list(error)})
            return _PREFIX.pack(error[0], len(facts)) + facts + array_bytes(answer)
        return json_frame(answer, error)

    def _own(
        self,
        name: str,
        login: int | None = None,
        server: str | None = None,
        timeout: int = 0,  # of the terminal's own connection, which the bridge's owner has chosen
    ) -> tuple[bool | None, tuple[int, str]]:
        if name == "shutdown":
            return None, _SUCCESS
        if not self.connect():
            return False, self._module.last_error()
        account = self._module.account_info()
        if account is None:
            return False, self._module.last_error()
        right = login in (None, account.login) and server in (None, account.server)
        return right, _SUCCESS if right else _NOT_AUTHORISED


def call_frame(function: str, args: list[Any], kwargs: dict[str, Any]) -> bytes:
    """A call, for :meth:`TerminalSession.answer`."""
    return dump({"function": function, "args": args, "kwargs": kwargs})


def split_answer(frame: bytes) -> tuple[int, bytes, bytes]:
    """Code of ``last_error``, JSON part and rows of an answer's frame.

    Raises:
        WireError: The frame is cut.
    """
    if len(frame) < _PREFIX.size:
        raise WireError("an answer without its beginning")
    code, length = _PREFIX.unpack_from(frame)
    return code, frame[_PREFIX.size : _PREFIX.size + length], frame[_PREFIX.size + length :]


def json_frame(answer: Any, error: tuple[int, str]) -> bytes:
    """An answer that is no array, for :func:`split_answer`."""
    body = json_answer(answer, error)
    return _PREFIX.pack(error[0], len(body)) + body
