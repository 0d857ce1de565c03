"""A replay buffer, kept without copying it again and again.

SB3's buffer is a ring to which each step appends one row. So a snapshot takes only the rows that
came since the one before it; once they are in a file they leave memory, and later checkpoints link
to that file. Whatever the buffer's size, each row is copied once and written once.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.buffers import ReplayBuffer

from mtquant.errors import DataError

COLUMNS = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")


@dataclass
class Segment:
    """Rows that followed each other; one row holds one step of all lanes.

    Attributes:
        first: Rows that were added before it.
        count: Rows.
        columns: Copies of the buffer's arrays; None once they are in :attr:`file`.
        digest: SHA-256 of the file; empty until it is written.
    """

    first: int
    count: int
    columns: dict[str, Any] | None
    digest: str = ""

    @property
    def end(self) -> int:
        """Rows added up to its last."""
        return self.first + self.count

    @property
    def file(self) -> str:
        """Its name in a checkpoint's folder."""
        return f"replay-{self.first:012d}.npz"

    def write(self, folder: Path, older: Path) -> None:
        """Put its file into a folder, from memory or out of the checkpoint before.

        Raises:
            DataError: It was there and is no longer.
        """
        place = folder / self.file
        if self.columns is not None:
            np.savez(place, **self.columns)
            self.digest = file_digest(place)
            return
        try:
            os.link(older / self.file, place)
        except FileNotFoundError:
            raise DataError(
                f"'{older / self.file}' was removed while its run went on; train again"
            ) from None
        except OSError:  # a file system without links
            shutil.copyfile(older / self.file, place)


def rows_since(
    buffer: ReplayBuffer, added: int, before: tuple[Segment, ...]
) -> tuple[Segment, ...]:
    """All that a buffer holds: segments of an earlier snapshot, and a copy of what came since.

    Args:
        buffer: Of the learner.
        added: Rows added to it so far.
        before: Segments of the snapshot before, the oldest first.
    """
    oldest = max(added - buffer.buffer_size, 0)
    start = max(before[-1].end if before else 0, oldest)
    kept = tuple(segment for segment in before if segment.end > oldest)
    if start == added:
        return kept
    rows = np.arange(start, added) % buffer.buffer_size
    names = (name for name in COLUMNS if hasattr(buffer, name))
    columns = {name: getattr(buffer, name)[rows] for name in names}
    return (*kept, Segment(start, added - start, columns))


def refill(buffer: ReplayBuffer, segments: tuple[Segment, ...], added: int) -> None:
    """Bring a fresh buffer to where ``segments`` were taken; what they hold on disk they drop."""
    for segment in segments:
        assert segment.columns is not None
        rows = np.arange(segment.first, segment.end) % buffer.buffer_size
        for name, column in segment.columns.items():
            getattr(buffer, name)[rows] = column
        if segment.digest:
            segment.columns = None
    buffer.pos, buffer.full = added % buffer.buffer_size, added >= buffer.buffer_size


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_arrays(path: Path) -> dict[str, Any]:
    """The arrays of an ``npz``, without pickle."""
    with path.open("rb") as file:
        content = np.load(file, allow_pickle=False)
        return {key: content[key] for key in content.files}
