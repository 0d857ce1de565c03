"""The process that owns the terminal: ``python -m mtquant.brokers.bridge.worker``.

The MetaTrader5 module holds Python's lock during every call, so a terminal that does not answer
stops all threads of its process, a watchdog's too. It therefore lives here, alone; the bridge's
server starts this process, waits with time-outs, and replaces it. Calls and answers are frames of
bytes over stdin and stdout: a length of four bytes, then that many. When stdin ends, so does this.

Another program may serve another terminal: whatever calls :func:`run_worker` with a function that
makes a module can be the server's worker. Programs are named in code, never by users' text.
"""

from __future__ import annotations

import importlib
import logging
import os
import signal
import struct
import sys
from collections.abc import Callable, Mapping
from typing import IO, Any

from mtquant.brokers.bridge.session import Extra, TerminalSession, json_frame
from mtquant.brokers.bridge.wire import WireError, dump, load
from mtquant.brokers.constants import RES_E_FAIL

logger = logging.getLogger(__name__)

_LENGTH = struct.Struct("<I")
LARGEST_FRAME = 256 * 2**20

Make = Callable[[Mapping[str, Any]], Any]
"""Makes a module from the setup that the server sent first; raises what stands against it."""


def write_frame(stream: IO[bytes], frame: bytes) -> None:
    """Write one frame."""
    stream.write(_LENGTH.pack(len(frame)) + frame)
    stream.flush()


def read_frame(stream: IO[bytes]) -> bytes | None:
    """The next frame, None at the end.

    Raises:
        WireError: Another program wrote into the stream.
    """
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    if length > LARGEST_FRAME:
        raise WireError(f"a frame of {length} bytes")
    frame = stream.read(length)
    return frame if len(frame) == length else None


def serve(calls: IO[bytes], answers: IO[bytes], make: Make, extra: Extra | None = None) -> None:
    """Answer calls until there are no more.

    The first frame is the setup, and the first answer says whether there is a terminal.

    Args:
        calls: Frames to read.
        answers: Frames to write.
        make: Makes the module.
        extra: Functions besides the module's, for tests.
    """
    setup = read_frame(calls)
    if setup is None:
        return
    try:
        chosen = load(setup)
        session = TerminalSession(make(chosen), _arguments(chosen.get("connect", {})), extra)
        connected = session.connect()
    except Exception as problem:  # whatever it is, the server tells it in one sentence
        write_frame(answers, dump({"failed": str(problem) or repr(problem)}))
        return
    write_frame(answers, dump({"connected": connected}))
    while (frame := read_frame(calls)) is not None:
        try:
            answer = session.answer(frame)
        except Exception as problem:
            # Of an order it is not known whether it was sent; RES_E_FAIL says so.
            logger.exception("a call failed")
            answer = json_frame(None, (RES_E_FAIL, f"{type(problem).__name__}: {problem}"))
        write_frame(answers, answer)


def run_worker(make: Make, extra: Extra | None = None) -> None:
    """Be a worker, over this process's stdin and stdout; see :func:`serve`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which then ends us
    logging.basicConfig(stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    calls, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what anybody prints is no frame
    with calls, answers:
        serve(calls, answers, make, extra)


def official_module(setup: Mapping[str, Any]) -> Any:
    """The official module.

    Raises:
        ImportError: It is not installed here.
    """
    try:
        return importlib.import_module("MetaTrader5")
    except ImportError:
        raise ImportError(
            "the MetaTrader5 package is not installed here; it exists for Windows alone: run the "
            "bridge there (or in Wine's Python), or try it with --simulated XAUUSD"
        ) from None


def _arguments(connect: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of ``initialize``; the password comes from this process's own environment."""
    chosen = dict(connect)
    variable = chosen.pop("password_env", None)
    if variable is None:
        return chosen
    password = os.environ.get(variable)
    if not password:
        raise LookupError(f"environment variable {variable} holds no password; set it first")
    return chosen | {"password": password}


if __name__ == "__main__":
    run_worker(official_module)
