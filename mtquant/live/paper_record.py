"""PaperRecord: everything that a simulated account went through, one JSON line a happening.

The account itself is not kept: read from its beginning, the lines *are* the account, by the kernel
that moved its money the first time. Each line is on the disk before what it tells of happens.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mtquant.brokers.terminal.growth import Opening
from mtquant.errors import RiskHalt
from mtquant.market.bars import COLUMNS, Bars
from mtquant.market.timeframe import Timeframe

VERSION = 1


class PaperRecord:
    """Appends to a file that is private to its owner."""

    def __init__(self, path: Path) -> None:
        """Open or make it.

        Args:
            path: The file; a last line that was cut short by a crash is dropped.
        """
        self.path = path
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_CREAT | os.O_RDWR | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
        self._file = os.fdopen(os.open(path, flags, 0o600), "r+b")
        whole = path.read_bytes().rfind(b"\n") + 1
        self._file.truncate(whole)

    def lines(self) -> Iterator[dict[str, Any]]:
        """What has happened so far.

        Raises:
            RiskHalt: A line is none of ours.
        """
        with self.path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                try:
                    found = json.loads(line)
                except ValueError:
                    found = None
                if not isinstance(found, dict) or "event" not in found:
                    raise RiskHalt(
                        f"line {number} of '{self.path}' is not what was written; keep the folder "
                        "and begin another paper account with --out"
                    )
                yield found

    def write(self, event: str, **facts: Any) -> None:
        """Add one line and see it to the disk.

        Raises:
            RiskHalt: The disk does not take it.
        """
        line = json.dumps({"event": event, **facts}, allow_nan=False) + "\n"
        try:
            self._file.write(line.encode())
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise RiskHalt(
                f"'{self.path}' cannot be written ({error.strerror}); make room on its disk"
            ) from None

    def close(self) -> None:
        """Close the file; nothing is pending."""
        self._file.close()


def told_bars(bars: Sequence[Bars]) -> list[list[list[float]]]:
    """Bars as lists of numbers, one per symbol, in the order of ``COLUMNS``."""
    return [[column.tolist() for _, column in one.columns()] for one in bars]


def bars_told(
    told: Sequence[Sequence[Sequence[float]]], symbols: Sequence[str], timeframe: Timeframe
) -> tuple[Bars, ...]:
    """The bars of :func:`told_bars`, bit for bit."""

    def column(name: str, values: Sequence[float]) -> npt.NDArray[Any]:
        return np.array(values, np.int64 if name == "time" else np.float64)

    return tuple(
        Bars(symbol, timeframe, **{n: column(n, v) for n, v in zip(COLUMNS, one, strict=True)})
        for symbol, one in zip(symbols, told, strict=True)
    )


def told_opening(opening: Opening) -> dict[str, Any]:
    """An opening as JSON takes it."""
    return {"now_ns": opening.now_ns, "bars": told_bars(opening.bars)}
