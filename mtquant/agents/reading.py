"""Reading what somebody else may have written: plain files of bounded size, and strict JSON."""

from __future__ import annotations

import json
import math
import os
import stat
from pathlib import Path
from typing import Any, NoReturn

from mtquant.errors import BundleError, one_line, shown

DEEPEST = 64  # nesting of a manifest
_LARGEST_INTEGER = 2**63
# Windows has neither links nor pipes that these would have to stop at.
_FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
_FLAGS |= getattr(os, "O_NONBLOCK", 0)  # opening a pipe that nobody writes to would wait for ever


def read_plain(path: Path, most_bytes: int, what: str) -> bytes:
    """The content of a plain file; links, pipes, devices and folders are none.

    Args:
        path: The file.
        most_bytes: It may hold.
        what: It is, for messages.

    Raises:
        BundleError: It is missing, no plain file, unreadable or too large.
    """
    missing = BundleError(
        f"'{path.parent}': {what} '{shown(path.name)}' is missing or no plain file; restore it or "
        "train again"
    )
    try:
        if path.is_symlink():
            raise missing
        with open(os.open(path, _FLAGS), "rb") as file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode):
                raise missing
            content = b"" if about.st_size > most_bytes else file.read(most_bytes + 1)
    except (OSError, ValueError):  # the latter for a NUL in the name
        raise missing from None
    if len(content) > most_bytes or about.st_size > most_bytes:
        raise BundleError(
            f"'{path}' is larger than {most_bytes:,} bytes, which {what} cannot be; restore it or "
            "train again"
        )
    return content


def strict_json(content: bytes, where: str) -> Any:
    """JSON that means the same to every reader.

    Each key once, no NaN and no infinity, whole numbers of 64 bits, bounded nesting, text without
    control characters.

    Raises:
        BundleError: It is no such JSON; says what is wrong with it.
    """
    try:
        made = json.loads(
            content.decode("utf-8"),
            object_pairs_hook=_each_key_once,
            parse_constant=_no_number,
            parse_float=_finite,
        )
        _refuse_odd(made)
    except _Refused as reason:
        raise BundleError(f"'{where}' {reason}; restore it or train again") from None
    except (ValueError, RecursionError):
        raise BundleError(f"'{where}' is no JSON; restore it or train again") from None
    return made


class _Refused(ValueError):
    """What is wrong with well-formed JSON."""


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise _Refused(f"holds the key '{shown(twice)}' twice")
    return made


def _no_number(text: str) -> NoReturn:
    raise _Refused(f"holds {text}, which is no number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise _Refused(f"holds the number {one_line(text, 40)}, which is too large")
    return number


def _refuse_odd(value: Any, depth: int = 0) -> None:
    """What JSON can say and a manifest cannot mean."""
    if depth > DEEPEST:
        raise _Refused(f"is nested more than {DEEPEST} deep")
    if isinstance(value, str):
        _refuse_control(value)
    elif isinstance(value, int) and abs(value) >= _LARGEST_INTEGER:
        raise _Refused("holds a whole number of more than 64 bits")
    elif isinstance(value, dict):
        for key, one in value.items():
            _refuse_control(key)
            _refuse_odd(one, depth + 1)
    elif isinstance(value, list):
        for one in value:
            _refuse_odd(one, depth + 1)


def _refuse_control(text: str) -> None:
    """A terminal obeys control characters, and lone surrogates are no text."""
    if text.isascii() and text.isprintable():
        return
    for letter in text:
        code = ord(letter)
        control = (code < 32 and letter not in "\n\t") or 127 <= code < 160
        if control or 0xD800 <= code < 0xE000:
            raise _Refused(f"holds the control character U+{code:04X} in a text")
