"""Accounts: ``configs/brokers.yaml`` as frozen models, and the guard that an account is the one.

An account that orders may reach is written out: login, server, demo or real, currency. Whatever
terminal answers must match all four, each time it is asked, or trading stops.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, SecretStr, field_validator, model_validator

from mtquant.brokers import constants as mt5
from mtquant.brokers.secrets import Keyring, SecretReference, keyring_secret, resolve
from mtquant.errors import ConfigError, RiskHalt, shown, unknown
from mtquant.market.configuration import find, read_yaml, validate
from mtquant.market.model import Frozen, folder_name
from mtquant.market.symbols import BrokerId, Currency

ACCOUNTS = "configs/brokers.yaml"
_LOOPBACK = re.compile(r"localhost|127(\.\d{1,3}){3}|::1")
_Text = Annotated[str, Field(max_length=256, pattern=r"^[^\x00-\x1f\x7f]*$")]


class _Hidden(Frozen):
    """Strict, and no value of it stands in an error: a password may have been typed anywhere."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class BridgeAddress(_Hidden):
    """Where ``mtquant bridge serve`` listens.

    Attributes:
        url: ``https://...``; plain ``http`` only on this machine, such as the end of an SSH tunnel.
        token: Reference to the token of whoever trades; None for an account that is only read.
        read_token: Reference to a token of scope ``read``, all that paper asks for.
        certificate: File of the authority that signed the bridge's certificate; None for the
            system's own.
    """

    url: _Text
    token: SecretReference | None = None
    read_token: SecretReference | None = None
    certificate: _Text | None = None

    @field_validator("url")
    @classmethod
    def _safe(cls, url: str) -> str:
        try:
            parts = urlsplit(url)
            host, _port = parts.hostname or "", parts.port
        except ValueError:
            raise ValueError("this is no URL; write https://HOST:PORT") from None
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("a bridge's URL holds neither user, password nor query")
        if parts.scheme not in ("http", "https") or not host:
            raise ValueError("this is no URL of a bridge; write https://HOST:PORT")
        if parts.scheme == "http" and not _LOOPBACK.fullmatch(host):
            raise ValueError("http would send the token in the clear; use https or an SSH tunnel")
        return url

    @model_validator(mode="after")
    def _has_one(self) -> BridgeAddress:
        if self.token is None and self.read_token is None:
            raise ValueError("a bridge takes a token; write 'token', 'read_token' or both")
        return self


class AccountEntry(_Hidden):
    """One account, as ``configs/brokers.yaml`` describes it.

    Attributes:
        name: What ``--account`` calls it.
        broker_id: Key under ``brokers`` in ``configs/symbols.yaml``.
        platform: ``mt5``.
        login: Account number; None until somebody fills it in.
        server: The broker's server, as the terminal shows it; "" until filled in.
        is_demo: Whether no real money is traded.
        currency: Of the account.
        description: For people.
        password: Reference to the password; None where the terminal has saved it.
        terminal: Path of ``terminal64.exe`` on this Windows machine; None for the running one.
        bridge: The bridge beside the terminal; None for a terminal on this machine.
    """

    name: str
    broker_id: BrokerId
    platform: Literal["mt5"] = "mt5"
    login: Annotated[int, Field(ge=1, lt=2**63)] | None
    server: Annotated[str, Field(pattern=r"^[A-Za-z0-9 ._-]{0,64}$")]
    is_demo: bool
    currency: Currency = "USD"
    description: _Text = ""
    password: SecretReference | None = None
    terminal: _Text | None = None
    bridge: BridgeAddress | None = None

    @field_validator("name")
    @classmethod
    def _can_be_stored(cls, name: str) -> str:
        return folder_name(name)

    @model_validator(mode="after")
    def _one_way(self) -> AccountEntry:
        if self.bridge is not None and self.terminal is not None:
            raise ValueError("an account is reached by 'terminal' or by 'bridge', not by both")
        if self.bridge is not None and self.password is not None:
            raise ValueError(
                "a password is never sent to a bridge; log the terminal beside it in and leave "
                "'password' out"
            )
        return self

    def refuse_unfilled(self) -> AccountEntry:
        """The entry, if it says whose account it is.

        Raises:
            ConfigError: Login or server are not filled in.
        """
        if self.login is None or not self.server:
            raise ConfigError(
                f"account '{self.name}' is not filled in: write its login and server into "
                f"{ACCOUNTS} of your working directory (docs/accounts.md)"
            )
        return self

    def credentials(
        self, environ: Mapping[str, str] = os.environ, keyring: Keyring = keyring_secret
    ) -> Credentials:
        """Its secrets, resolved now.

        Raises:
            ConfigError: The entry is not filled in, or a secret is nowhere to be found.
        """
        self.refuse_unfilled()
        bridge = self.bridge
        named = None if bridge is None else bridge.token or bridge.read_token
        token = None if named is None else resolve(named, environ, keyring)
        password = None if self.password is None else resolve(self.password, environ, keyring)
        return Credentials(password, token)

    def reading_credentials(
        self, environ: Mapping[str, str] = os.environ, keyring: Keyring = keyring_secret
    ) -> Credentials:
        """What reading takes: of a bridge the read token, and the trade token stays unread.

        A terminal on this machine knows no scopes; it is logged in as always.

        Raises:
            ConfigError: As :meth:`credentials`, or there is no token of scope ``read``.
        """
        self.refuse_unfilled()
        if self.bridge is None:
            return self.credentials(environ, keyring)
        if self.bridge.read_token is None:
            raise ConfigError(
                f"account '{self.name}' has no 'read_token' under 'bridge', and nothing else is "
                "taken to read; make one with `mtquant bridge token read --out FILE`"
            )
        token = resolve(self.bridge.read_token, environ, keyring)
        if token.get_secret_value().split()[0] == "trade":
            raise ConfigError(
                f"'bridge.read_token' of account '{self.name}' is a token of scope trade; make "
                "one with `mtquant bridge token read --out FILE`"
            )
        return Credentials(None, token)

    def refuse_another(self, info: Any) -> None:
        """Stop if the account that answers is another one.

        Args:
            info: ``account_info()``.

        Raises:
            RiskHalt: Login, server, demo or real, or currency differ; names each.
        """
        found = {
            "login": info.login,
            "server": info.server,
            "is_demo": info.trade_mode == mt5.ACCOUNT_TRADE_MODE_DEMO,
            "currency": info.currency,
        }
        wrong = [
            f"{field} is {shown(str(value))} and not {getattr(self, field)}"
            for field, value in found.items()
            if value != getattr(self, field)
        ]
        if wrong:
            raise RiskHalt(
                f"the terminal is not on account '{self.name}': {', '.join(wrong)}; log in to the "
                f"right account or correct {ACCOUNTS}, then start again"
            )


@dataclass(frozen=True)
class Credentials:
    """Resolved secrets of one account; neither is ever shown."""

    password: SecretStr | None = None
    token: SecretStr | None = None

    @property
    def hidden(self) -> list[str]:
        """In clear, for those who see to it that they are written nowhere."""
        known = (self.password, self.token)
        return [secret.get_secret_value() for secret in known if secret is not None]


class AccountTable:
    """The accounts of one file, by name."""

    def __init__(self, entries: Mapping[str, AccountEntry]) -> None:
        self._entries = dict(entries)

    @property
    def names(self) -> tuple[str, ...]:
        """As listed in the file."""
        return tuple(self._entries)

    def __getitem__(self, name: str) -> AccountEntry:
        """The account called ``name``.

        Raises:
            ConfigError: No such account; names the nearest.
        """
        if name not in self._entries:
            raise ConfigError(unknown("account", name, self._entries, cure=f"(see {ACCOUNTS})"))
        return self._entries[name]


def accounts_of(listed: Any, where: str) -> AccountTable:
    """Accounts from parsed YAML; ``where`` names its place in errors."""
    if not isinstance(listed, dict):
        raise ConfigError(f"{where} must map account names to their accounts")
    entries = {}
    for name, values in listed.items():
        if not isinstance(name, str):
            raise ConfigError(f"{where}: an account's name must be text; put it in quotes")
        place = f"{where}: {shown(name)}"
        if isinstance(values, dict) and "name" in values:
            raise ConfigError(f"{place}: unknown key 'name'; the entry's own key is its name")
        named = {"name": name, **values} if isinstance(values, dict) else values
        entries[name] = validate(AccountEntry, named, place)
    return AccountTable(entries)


def load_accounts() -> AccountTable:
    """The accounts of the nearest ``configs/brokers.yaml``.

    Raises:
        ConfigError: The file is missing or wrong; its values are not shown.
    """
    found = find(ACCOUNTS)
    if found is None:
        raise ConfigError(f"no {ACCOUNTS} here and none in the package; reinstall mtquant")
    return accounts_of(read_yaml(found.path), str(found.path))
