"""WriterLock: one process per journal, and one per account, by the operating system.

The lock is held as long as the process lives and falls with it, however it dies. Whoever holds it
asks before each send whether the file that it locked is still the one at that path.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import IO

from mtquant.errors import RiskHalt


class WriterLock:
    """Locked files, all or none."""

    def __init__(self, *paths: Path) -> None:
        """Lock the files; they are made where they are not there.

        Args:
            *paths: Those of the journals, and the account's.

        Raises:
            RiskHalt: Another process holds one of them.
        """
        self._held: list[tuple[Path, IO[bytes]]] = []
        for path in paths:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_CREAT | os.O_RDWR | getattr(os, "O_NOFOLLOW", 0)
            file = os.fdopen(os.open(path, flags, 0o600), "r+b")
            self._held.append((path, file))
            if not _locks(file):
                self.release()
                raise RiskHalt(
                    f"another runner holds '{path}'; one process trades an account, stop the other "
                    "first"
                )

    def held(self) -> bool:
        """Whether the locked files are still those at their paths."""
        try:
            return bool(self._held) and all(
                os.path.samestat(os.fstat(file.fileno()), os.stat(path))
                for path, file in self._held
            )
        except OSError:
            return False

    def release(self) -> None:
        """Let go; the end of the process does it too."""
        while self._held:
            self._held.pop()[1].close()


def is_held(path: Path) -> bool:
    """Whether a process holds the lock of a file now; nothing is made."""
    try:
        with path.open("r+b") as file:
            return not _locks(file)
    except OSError:
        return False


def _locks(file: IO[bytes]) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
