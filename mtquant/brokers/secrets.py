"""Secrets: where a password or token comes from, and that it is never seen.

A configuration file only *refers* to a secret:

    ``${MT5_DEMO_PASSWORD}``  the environment, else the operating system's keyring
                              (service ``mtquant``, user ``MT5_DEMO_PASSWORD``)
    ``file:PATH``             the first line of a file that nobody else may read

A literal secret is refused, and the refusal does not repeat it. What is resolved is a
``SecretStr``: its repr, str, format and JSON show stars. ``.env`` files are not read: whoever can
put a file into the working directory would otherwise choose what is logged in to.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, SecretStr

from mtquant.errors import ConfigError, shown

KEYRING_SERVICE = "mtquant"
_VARIABLE = re.compile(r"\$\{([A-Z][A-Z0-9_]{1,63})\}")
_FILE = re.compile(r"file:([^\0\n]{1,1024})")
_MOST_BYTES = 4096
_OTHERS = stat.S_IRWXG | stat.S_IRWXO

Keyring = Callable[[str], str | None]


def _reference(text: str) -> str:
    if not (_VARIABLE.fullmatch(text) or _FILE.fullmatch(text)):
        raise ValueError(
            "a secret is not written here; name where it is: ${NAME} (environment or keyring) or "
            "file:PATH (the value is not shown)"
        )
    return text


SecretReference = Annotated[str, AfterValidator(_reference)]


def keyring_secret(name: str) -> str | None:
    """The secret of that name in the operating system's keyring; None where there is none.

    Raises:
        ConfigError: There is a keyring and it refused.
    """
    try:
        import keyring
        import keyring.errors
    except ImportError:
        return None
    try:
        return keyring.get_password(KEYRING_SERVICE, name)
    except keyring.errors.NoKeyringError:
        return None
    except keyring.errors.KeyringError as error:
        raise ConfigError(
            f"the keyring did not give '{name}' ({type(error).__name__}); unlock it"
        ) from None


def resolve(
    reference: str, environ: Mapping[str, str], keyring: Keyring = keyring_secret
) -> SecretStr:
    """The secret that a reference names.

    Args:
        reference: As it stands in the file.
        environ: The environment.
        keyring: Looks a name up in the keyring.

    Raises:
        ConfigError: It is nowhere, empty, or in a file that others may read.
    """
    variable = _VARIABLE.fullmatch(reference)
    if variable is None:
        return _checked(_from_file(Path(reference.removeprefix("file:")).expanduser()), reference)
    name = variable[1]
    value = environ.get(name) or keyring(name)
    if not value:
        raise ConfigError(
            f"the secret {name} is not set; export {name}=... or store it with: "
            f"keyring set {KEYRING_SERVICE} {name}"
        )
    return _checked(value, reference)


def _checked(value: str, reference: str) -> SecretStr:
    if not value.strip() or not value.isprintable() or len(value) > _MOST_BYTES:
        raise ConfigError(
            f"the secret of {shown(reference)} is empty, too long or holds control characters; "
            "set it again"
        )
    return SecretStr(value)


def _no_link(path: str, flags: int) -> int:
    """Opens a file itself, and waits for nobody at a pipe."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))


def _from_file(path: Path) -> str:
    place = shown(str(path))
    try:
        with open(path, "rb", opener=_no_link) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise ConfigError(f"the secret's file '{place}' is no regular file; name another")
            if os.name == "posix" and (found.st_mode & _OTHERS or found.st_uid != os.getuid()):
                raise ConfigError(
                    f"the secret's file '{place}' can be read by others; run: chmod 600 '{place}'"
                )
            content = file.read(_MOST_BYTES + 1)
        return content.decode("utf-8").rstrip("\r\n")
    except OSError as error:
        raise ConfigError(
            f"cannot read the secret's file '{place}': {error.strerror}; a link is not followed"
        ) from None
    except UnicodeDecodeError:
        raise ConfigError(f"the secret's file '{place}' is no UTF-8 text; write it again") from None


def without_secrets(text: str, *secrets: SecretStr | None) -> str:
    """What somebody else wrote, with our secrets starred out should it repeat one."""
    for secret in secrets:
        if secret is not None:
            text = text.replace(secret.get_secret_value(), "***")
    return text
