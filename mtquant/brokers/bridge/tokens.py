"""Tokens of the bridge: who may read, who may trade and who may stop it.

A token comes from a file that only its owner can read, or from an environment variable; never from
an argument. It is shown nowhere: not in a repr, a log, an error or a URL.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mtquant.brokers.bridge.calls import Scope
from mtquant.errors import ConfigError

_BYTES = 32
_FORM = re.compile(r"[A-Za-z0-9_-]{22,200}")  # at least 128 bits in base 64
_FEWEST_DIFFERENT = 10
_LONGEST_FILE = 4096
VARIABLES: Mapping[Scope, str] = {
    Scope.READ: "MTQUANT_BRIDGE_READ_TOKEN",
    Scope.TRADE: "MTQUANT_BRIDGE_TRADE_TOKEN",
    Scope.KILL: "MTQUANT_BRIDGE_KILL_TOKEN",
}
"""Where the server looks for tokens if no file is named."""


@dataclass(frozen=True)
class Token:
    """A secret and what it allows.

    Attributes:
        scope: What it allows.
        secret: Not part of the repr.
    """

    scope: Scope
    secret: str = field(repr=False)

    @property
    def digest(self) -> bytes:
        """What a server keeps of it."""
        return hashlib.sha256(self.secret.encode()).digest()


class TokenTable:
    """The tokens that a server knows, as digests."""

    def __init__(self, tokens: Iterable[Token]) -> None:
        """Keep them.

        Raises:
            ConfigError: There is none, or one stands for two scopes.
        """
        self._known = [(token.digest, token.scope) for token in tokens]
        if not self._known:
            raise ConfigError(
                "the bridge has no token and does not start without one; make one with "
                "`mtquant bridge token` and name its file with --token-file"
            )
        if len({digest for digest, _ in self._known}) != len(self._known):
            raise ConfigError("the same token is given twice; make one for each scope")

    def scope_of(self, secret: str) -> Scope | None:
        """What a presented token allows, None for an unknown one; the time tells nothing."""
        presented, found = hashlib.sha256(secret.encode("utf-8", "replace")).digest(), None
        for digest, scope in self._known:
            if secrets.compare_digest(digest, presented):
                found = scope
        return found


def write_token(path: Path, scope: Scope) -> None:
    """Make a new token in a new file that only its owner can read.

    Raises:
        ConfigError: The file exists.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ConfigError(f"'{path}' exists; choose another file for a new token") from None
    with os.fdopen(opened, "w", encoding="ascii") as file:
        file.write(f"{scope.value} {secrets.token_urlsafe(_BYTES)}\n")


def read_token(path: Path) -> Token:
    """The token of a file that :func:`write_token` wrote.

    Raises:
        ConfigError: There is no such file, others may read it, or it holds no token.
    """
    cure = "make one with `mtquant bridge token`"
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if os.name == "posix" and mode & 0o077:
                raise ConfigError(f"others may read token file '{path}'; `chmod 600` it")
            text = file.read(_LONGEST_FILE).decode("ascii", "replace")
    except OSError as problem:
        raise ConfigError(f"cannot read token file '{path}': {problem.strerror}; {cure}") from None
    words = text.split()
    if len(words) != 2:
        raise ConfigError(f"'{path}' holds no line of a scope and a token; {cure}")
    known = [scope.value for scope in Scope]
    if words[0] not in known:
        raise ConfigError(f"'{path}' names no scope ({' or '.join(known)}) first; {cure}")
    return checked(Token(Scope(words[0]), words[1]), f"'{path}'")


def token_of_variable(name: str, scope: Scope) -> Token:
    """The token in an environment variable.

    Raises:
        ConfigError: The variable is not set, or holds no token.
    """
    value = os.environ.get(name)
    if not value:
        raise ConfigError(
            f"environment variable {name} holds no token; set it, or name a file with --token-file"
        )
    return checked(Token(scope, value), f"environment variable {name}")


def tokens_of_environment() -> list[Token]:
    """The server's tokens in the environment, if any.

    Raises:
        ConfigError: A variable holds no token.
    """
    return [
        token_of_variable(name, scope) for scope, name in VARIABLES.items() if os.environ.get(name)
    ]


def checked(token: Token, place: str) -> Token:
    """The token, if it is long and mixed enough.

    Args:
        token: To check.
        place: Where it was found, for the refusal; the token itself is never shown.

    Raises:
        ConfigError: It has fewer than 128 bits.
    """
    if not _FORM.fullmatch(token.secret) or len(set(token.secret)) < _FEWEST_DIFFERENT:
        raise ConfigError(
            f"the token in {place} has fewer than 128 random bits; make one with "
            "`mtquant bridge token`"
        )
    return token
