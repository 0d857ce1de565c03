"""BarSource: where bars come from, files and terminals alike.

A source tells what it was told; nothing it gives is trusted before
:func:`mtquant.market.importing.examine` has looked at it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np

from mtquant.market.clock import Clock, Mask
from mtquant.market.files import read_market_file
from mtquant.market.formats import read_table
from mtquant.market.raw import RawBars
from mtquant.market.symbols import SymbolSpec
from mtquant.market.timeframe import Timeframe


class BarSource(Protocol):
    """Bars by symbol and timeframe."""

    def symbols(self) -> tuple[str, ...]:
        """Names of the symbols that it has, standard ones where it knows them."""

    def fetch(
        self,
        spec: SymbolSpec,
        timeframe: Timeframe | None,
        start_ns: int | None = None,
        end_ns: int | None = None,
    ) -> RawBars:
        """Bars that open in ``[start_ns, end_ns)``, UTC; None leaves that side open.

        Raises:
            DataError: The source holds what cannot be understood.
            BrokerUnavailable: It gave no answer.
        """

    def latest(self, spec: SymbolSpec, timeframe: Timeframe | None) -> int:
        """Open of the newest closed bar, ns UTC; raises as :meth:`fetch`."""


class FileSource:
    """One file of bars, read again at each call."""

    def __init__(
        self, path: Path, clock: Clock | None = None, *, drop_ambiguous: bool = False
    ) -> None:
        """Name the file; the rest as for :func:`mtquant.market.files.read_market_file`."""
        self._path = path
        self._clock = clock
        self._drop_ambiguous = drop_ambiguous

    def symbols(self) -> tuple[str, ...]:
        """What the file itself names, as it writes it; none where it names nothing."""
        return read_table(self._path).symbols

    def fetch(
        self,
        spec: SymbolSpec,
        timeframe: Timeframe | None,
        start_ns: int | None = None,
        end_ns: int | None = None,
    ) -> RawBars:
        """The file's bars of that span; a timeframe of None is told from the times."""
        raw = read_market_file(
            self._path, spec, timeframe, self._clock, drop_ambiguous=self._drop_ambiguous
        )
        inside: Mask = np.ones(len(raw), np.bool_)
        if start_ns is not None:
            inside &= raw.time >= start_ns
        if end_ns is not None:
            inside &= raw.time < end_ns
        return raw if inside.all() else raw.take(inside)

    def latest(self, spec: SymbolSpec, timeframe: Timeframe | None) -> int:
        """Open of the file's last bar."""
        return int(self.fetch(spec, timeframe).time.max())
