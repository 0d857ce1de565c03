"""Anchor: where a journal's hash chain stood last, kept outside the database.

A chain alone cannot show that its tail was cut or that all of it was written anew. So after every
commit its head is written to a second file, under an HMAC. This shows tampering; it prevents none,
and whoever holds the key, or puts back an old journal with its old anchor, is not found.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mtquant.errors import RiskHalt

_HEAD = 16 + 1 + 64  # number, blank, hash
_SLOT = _HEAD + 1 + 64 + 1  # and the HMAC, as a line


class Head(NamedTuple):
    """The end of a chain.

    Attributes:
        number: Of the newest commit, 0 before the first.
        digest: SHA-256 over everything up to it.
    """

    number: int
    digest: bytes


class Anchor:
    """One small file with two places, written in turn: one that is torn leaves the other."""

    def __init__(self, path: Path, key: bytes = b"") -> None:
        """Open or create the file, private to its owner.

        Args:
            path: The file.
            key: Of the HMAC; an empty one finds accidents, not forgers.
        """
        self.path = path
        self._sealing = hmac.new(key, digestmod="sha256")
        self._file = os.open(path, os.O_CREAT | os.O_RDWR | getattr(os, "O_NOFOLLOW", 0), 0o600)

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def write(self, head: Head) -> None:
        """Put a new head into the place that is not the last one's."""
        told = f"{head.number:016d} {head.digest.hex()}"
        line = f"{told} {self._seal(told)}\n".encode()
        os.lseek(self._file, head.number % 2 * _SLOT, os.SEEK_SET)
        os.write(self._file, line)

    def read(self) -> Head | None:
        """The newest head; None in an empty file.

        Raises:
            RiskHalt: Something stands there, and nothing of it under our key.
        """
        os.lseek(self._file, 0, os.SEEK_SET)
        written = os.read(self._file, 2 * _SLOT)
        heads = list(self._heads(written))
        if written.strip(b"\0") and not heads:
            raise RiskHalt(
                f"anchor {self.path.name} is damaged, or was written under another key; compare "
                "the journal with the broker's history before you begin a new one"
            )
        return max(heads, default=None)

    def _heads(self, written: bytes) -> Iterator[Head]:
        for start in (0, _SLOT):
            line = written[start : start + _SLOT].decode("ascii", "replace")
            told, seal = line[:_HEAD], line[_HEAD + 1 : -1]
            # As bytes: a damaged line may hold anything.
            if len(line) == _SLOT and hmac.compare_digest(
                seal.encode("utf-8", "replace"), self._seal(told).encode()
            ):
                number, _, digest = told.partition(" ")
                yield Head(int(number), bytes.fromhex(digest))

    def _seal(self, told: str) -> str:
        seal = self._sealing.copy()
        seal.update(told.encode("utf-8", "replace"))
        return seal.hexdigest()
