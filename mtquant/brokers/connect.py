"""From an account's entry to a module that is logged in to exactly that account.

The module is the official one where a terminal runs on this machine (Windows, or Python under
Wine), for who trades behind a bridge of its own, and the bridge's client where the entry names a
URL. Whatever answers is compared with the
entry before anybody gets to use it.
"""

from __future__ import annotations

import ntpath
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mtquant.brokers import constants as mt5
from mtquant.brokers.accounts import AccountEntry, BridgeAddress, Credentials
from mtquant.brokers.secrets import without_secrets
from mtquant.errors import BrokerUnavailable, ConfigError, RiskHalt, one_line, shown
from mtquant.risk.switch import Form

Provide = Callable[[AccountEntry, Credentials], Any]

PASSWORD = "MTQUANT_TERMINAL_PASSWORD"
"""In the environment of a bridge that is started here, and of nobody else."""


def module_of(entry: AccountEntry, credentials: Credentials) -> Any:
    """What offers the MetaTrader5 module's functions for an account, not yet connected.

    Raises:
        ConfigError: The account has a terminal here, and this machine can have none.
    """
    if entry.bridge is not None:
        return _bridge(entry, entry.bridge, credentials)
    try:
        import MetaTrader5
    except ImportError:
        raise ConfigError(
            f"account '{entry.name}' has its terminal on this machine, which has no MetaTrader5 "
            "module (Windows only); start `mtquant bridge serve` beside a terminal and write its "
            "URL under 'bridge' in configs/brokers.yaml"
        ) from None
    return MetaTrader5


def guarded_module(entry: AccountEntry, credentials: Credentials, folder: Path) -> Any:
    """The same, where a terminal on this machine that hangs may not stop who trades.

    Args:
        entry: The account.
        credentials: Its secrets.
        folder: Of the bridge that is started for it, if one is.
    """
    from mtquant.brokers.bridge.own import OwnBridge

    if entry.bridge is not None or find_spec("MetaTrader5") is None:
        return module_of(entry, credentials)
    options, hidden = ["--login", str(entry.login), "--server", entry.server], {}
    if entry.terminal is not None:
        options += ["--terminal", entry.terminal]
    if credentials.password is not None:
        options += ["--password-env", PASSWORD]
        hidden[PASSWORD] = credentials.password.get_secret_value()
    return OwnBridge(options, folder, hidden)


def _bridge(entry: AccountEntry, address: BridgeAddress, credentials: Credentials) -> Any:
    """The bridge's client; its token may stand alone or behind its scope, as its file has it."""
    from mtquant.brokers.bridge.calls import Scope
    from mtquant.brokers.bridge.client import BridgeClient
    from mtquant.brokers.bridge.tokens import Token, checked

    words = [] if credentials.token is None else credentials.token.get_secret_value().split()
    scope = Scope.READ
    if len(words) == 2 and words[0] in [known.value for known in Scope]:
        scope = Scope(words.pop(0))
    place = f"'bridge.token' of account '{entry.name}'"
    if len(words) != 1:
        raise ConfigError(f"{place} holds no token; make one with `mtquant bridge token`")
    authority = None if address.certificate is None else Path(address.certificate)
    return BridgeClient(address.url, checked(Token(scope, words[0]), place), ca_file=authority)


def far_switch(module: Any) -> tuple[Form, str]:
    """What the switch beside a terminal elsewhere lets pass, and why; a terminal here has none.

    Args:
        module: Of :func:`connect`.

    Raises:
        BrokerUnavailable: The bridge does not say.
    """
    from mtquant.brokers.bridge.client import BridgeClient

    if not isinstance(module, BridgeClient):
        return Form.ARMED, ""
    state = module.switch()
    return state.form, one_line(f"{state.by}: {state.reason}" if state.by else state.reason)


def connect(entry: AccountEntry, credentials: Credentials, provide: Provide = module_of) -> Any:
    """The module, logged in to the account and verified to be.

    Args:
        entry: The account.
        credentials: Its secrets.
        provide: Gives the module.

    Raises:
        ConfigError: The entry is not filled in, no module is to be had, or the login is refused.
        BrokerUnavailable: No terminal answers, or it is not connected to its server.
        RiskHalt: It is another account, or another terminal.
    """
    entry.refuse_unfilled()
    module = provide(entry, credentials)
    try:
        _initialize(module, entry, credentials)
        _verify(module, entry)
    except BaseException:
        module.shutdown()
        raise
    return module


def _initialize(module: Any, entry: AccountEntry, credentials: Credentials) -> None:
    place = () if entry.terminal is None else (entry.terminal,)
    login: dict[str, Any] = {"login": entry.login, "server": entry.server}
    if credentials.password is not None:
        login["password"] = credentials.password.get_secret_value()
    if module.initialize(*place, **login):
        return
    code, said = module.last_error()
    text = without_secrets(str(said), credentials.password, credentials.token)
    if code == mt5.RES_E_AUTH_FAILED:
        raise ConfigError(
            f"account '{entry.name}': login {entry.login} at {entry.server} was refused ({text}); "
            "correct login, server or the password that the entry refers to"
        )
    raise BrokerUnavailable(
        f"account '{entry.name}': no terminal answers: {text} ({code}); start it"
    )


def _verify(module: Any, entry: AccountEntry) -> None:
    terminal, account = module.terminal_info(), module.account_info()
    if terminal is None or account is None or not terminal.connected:
        raise BrokerUnavailable(
            f"account '{entry.name}': the terminal is not connected to its server; wait, or look "
            "at its journal"
        )
    entry.refuse_another(account)
    if entry.terminal is None or not terminal.path:
        return
    wanted, found = (_folder(place) for place in (ntpath.dirname(entry.terminal), terminal.path))
    if wanted != found:
        raise RiskHalt(
            f"account '{entry.name}': the terminal in '{shown(terminal.path)}' answers and not the "
            "one that 'terminal' names; close it, or correct the entry"
        )


def _folder(path: str) -> str:
    return ntpath.normcase(ntpath.normpath(path))
