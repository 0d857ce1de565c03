"""MT5Source: bars of a terminal, closed ones only, page by page.

Position 0 of a terminal's history is the bar that still forms; what counts as closed is position 1
and older. Pages go back from there by position: should a bar close meanwhile, positions move
towards the past and two pages share a bar, so nothing is ever left out. A page that is shorter than
asked is the beginning of the history, or the terminal is still loading it: it is asked again until
two answers agree.
"""

from __future__ import annotations

import numpy as np

from mtquant.brokers.reading import Reads
from mtquant.errors import BrokerUnavailable, DataError
from mtquant.jit import Structured
from mtquant.market.bars import PRICE_COLUMNS, Float
from mtquant.market.clock import SECOND_NS, Clock
from mtquant.market.mapper import SymbolMapper
from mtquant.market.placing import Told, place_bars
from mtquant.market.raw import Origin, RawBars
from mtquant.market.symbols import SymbolSpec
from mtquant.market.timeframe import Timeframe

PAGE_BARS = 10_000
_LOADING_WAITS = (0.5, 1.0, 2.0)  # seconds, between two looks at a page that may still load


class MT5Source:
    """The bars of one account's terminal."""

    def __init__(
        self, reads: Reads, mapper: SymbolMapper, account: str, *, page_bars: int = PAGE_BARS
    ) -> None:
        """Read through ``reads``.

        Args:
            reads: Of the account's terminal.
            mapper: Names of its broker.
            account: The account's name, for messages.
            page_bars: Bars of one call, at least 2.
        """
        self._reads = reads
        self._mapper = mapper
        self._account = account
        self._page_bars = page_bars

    def symbols(self) -> tuple[str, ...]:
        """Standard names of the symbols that the broker has now."""
        there = set(self._reads.symbols())
        return tuple(n for n in self._mapper.names if self._mapper.to_broker(n) in there)

    def latest(self, spec: SymbolSpec, timeframe: Timeframe | None) -> int:
        """Open of the newest closed bar, ns UTC."""
        theirs, timeframe = self._mapper.to_broker(spec.name), _stated(timeframe)
        rows = self._reads.rates(theirs, timeframe, 1, 1)
        if not len(rows):
            raise BrokerUnavailable(
                f"{self._account} has no closed {timeframe.name} bar of {theirs} yet; wait"
            )
        located = Clock.parse(spec.clock).locate(rows["time"].astype(np.int64) * SECOND_NS)
        return int(located.utc[-1])

    def fetch(
        self,
        spec: SymbolSpec,
        timeframe: Timeframe | None,
        start_ns: int | None = None,
        end_ns: int | None = None,
    ) -> RawBars:
        """Closed bars that open in ``[start_ns, end_ns)``, UTC.

        Raises:
            BrokerUnavailable: The terminal gave no answer.
            ConfigError: The broker has no such symbol.
            DataError: There is no such bar, or the symbol's clock is not the server's.
        """
        theirs, timeframe = self._mapper.to_broker(spec.name), _stated(timeframe)
        clock = Clock.parse(spec.clock)
        first = None
        if start_ns is not None:
            first = int(clock.from_utc(np.array([start_ns], np.int64))[0]) // SECOND_NS
        raw = self._placed(self._history(theirs, timeframe, first), spec, timeframe, theirs)
        inside = (raw.time >= (start_ns or 0)) & (end_ns is None or raw.time < (end_ns or 0))
        if not inside.any():
            raise DataError(
                f"{self._account} has no closed {timeframe.name} bars of {theirs} in that span; "
                "begin earlier, or raise 'Max. bars in chart' in the terminal"
            )
        return raw.take(inside)

    def _history(self, theirs: str, timeframe: Timeframe, first: int | None) -> Structured:
        """Rows from server second ``first`` to the newest closed bar, ascending."""
        pages: list[Structured] = []
        position = 1
        while True:
            page = self._page(theirs, timeframe, position)
            if pages and len(page) and page["time"][-1] < pages[-1]["time"][0]:
                raise BrokerUnavailable(
                    f"{self._account}: the history of {theirs} changed while it was read; try again"
                )
            pages.append(page)
            begun = len(page) < self._page_bars
            if begun or (first is not None and page["time"][0] <= first):
                break
            position += self._page_bars - 1  # one bar twice: an empty page would be an error
        rows = np.concatenate(pages[::-1])
        _, newest = np.unique(rows["time"][::-1], return_index=True)
        return rows[rows.size - 1 - newest]

    def _page(self, theirs: str, timeframe: Timeframe, position: int) -> Structured:
        """One page; a short one as it is once it has stopped to grow."""
        page = self._reads.rates(theirs, timeframe, position, self._page_bars)
        for wait in _LOADING_WAITS:
            if len(page) >= self._page_bars:
                break
            self._reads.pace.sleep(wait)
            again = self._reads.rates(theirs, timeframe, position, self._page_bars)
            settled = len(again) == len(page)
            page = again
            if settled:
                break
        return page

    def _placed(
        self, rows: Structured, spec: SymbolSpec, timeframe: Timeframe, theirs: str
    ) -> RawBars:
        columns: dict[str, Float] = {n: rows[n].astype(np.float64) for n in PRICE_COLUMNS}
        columns["volume"] = rows["tick_volume"].astype(np.float64)
        columns["spread"] = rows["spread"].astype(np.float64)
        origin = Origin(f"{theirs} of {self._account}", "bar", np.arange(1, len(rows) + 1))
        stamps = rows["time"].astype(np.int64) * SECOND_NS
        told = Told(stamps, columns, origin, "MetaTrader 5 terminal")
        clock = Clock.parse(spec.clock)
        return place_bars(told, spec, timeframe, clock, drop_ambiguous=True)


def _stated(timeframe: Timeframe | None) -> Timeframe:
    if timeframe is None:
        raise DataError("a terminal has bars of every length; name one with --timeframe")
    return timeframe
