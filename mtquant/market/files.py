"""Market files, read: any layout to raw bars in UTC, on the symbol's tick grid.

What a reader cannot know is asked, not guessed. The clock above all: times that carry an offset,
epochs and columns that name their zone need none, and daily bars of a share are named by the
trading date of its exchange; every other file raises ``UnknownClock`` until the user tells.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from mtquant.errors import DataError
from mtquant.market.bars import Float, Int
from mtquant.market.clock import DAY_NS, Clock, readable
from mtquant.market.formats import Table, read_table
from mtquant.market.placing import Told, place_bars
from mtquant.market.raw import Finding, Origin, RawBars, Severity, UnknownClock
from mtquant.market.spacing import infer_timeframe
from mtquant.market.symbols import SymbolSpec
from mtquant.market.timeframe import Timeframe


def read_market_file(
    path: Path,
    spec: SymbolSpec,
    timeframe: Timeframe | None = None,
    clock: Clock | None = None,
    *,
    drop_ambiguous: bool = False,
) -> RawBars:
    """Read a file of bars, told apart by its content.

    Args:
        path: MetaTrader 5 or 4 export, Dukascopy, Yahoo, CryptoDataDownload, Binance, plain CSV or
            Parquet.
        spec: Whose bars they are; gives the tick grid.
        timeframe: Their length, inferred from the times if None.
        clock: The clock of their times, where the file does not state it.
        drop_ambiguous: Leave out times that occurred twice when the clock went back, where the
            order of the rows does not tell which is meant.

    Raises:
        UnknownClock: The file does not state its clock and ``clock`` is None.
        DataError: The file is no market data, or holds what cannot be understood; names file,
            line, value and cure.
    """
    table = read_table(path)
    stamps, origin = table.stamps.ns, table.origin
    rows = np.arange(stamps.size)
    if stamps.size > 1 and (np.diff(stamps) <= 0).all() and stamps[0] > stamps[-1]:
        rows = rows[::-1]  # newest first is a layout, not a disorder
    stamps, origin = stamps[rows], origin.take(rows)
    timeframe = infer_timeframe(stamps, origin, timeframe)
    clock = _clock(table, stamps, spec, timeframe, clock)
    columns = {name: column[rows] for name, column in table.columns.items()}
    noted = [*_symbols(table, spec), *_adjusted(columns, origin)]
    columns.pop("adj_close", None)
    return place_bars(
        Told(stamps, columns, origin, table.layout),
        spec,
        timeframe,
        clock,
        drop_ambiguous=drop_ambiguous,
        noted=noted,
    )


def _clock(
    table: Table, stamps: Int, spec: SymbolSpec, timeframe: Timeframe, given: Clock | None
) -> Clock:
    stated = table.clock
    if stated is not None:
        if given is not None and given != stated:
            raise DataError(
                f"{table.origin.name} states its own clock, {stated.name}, but {given.name} was "
                "given; leave the clock out"
            )
        return stated
    if given is not None:
        return given
    daily = timeframe.minutes >= Timeframe.D1.minutes and not (stamps % DAY_NS).any()
    if daily and spec.asset_class == "stock":
        return Clock.parse(spec.clock)
    raise UnknownClock(
        f"{table.origin.at(0)}: the time {readable(int(stamps[0]))} is on an unknown clock; name "
        f"it with --clock (utc, or the broker's server clock, such as ny+7 or eet)"
    )


def _adjusted(columns: dict[str, Float], origin: Origin) -> list[Finding]:
    adjusted = columns.get("adj_close")
    if adjusted is None:
        return []
    differs = ~np.isclose(adjusted, columns["close"], rtol=1e-6) & np.isfinite(adjusted)
    if not differs.any():
        return []
    row = int(np.argmax(differs))
    return [
        Finding(
            "adjusted_close",
            Severity.INFO,
            "adjusted close differs; the prices as traded are kept",
            int(differs.sum()),
            origin.at(row),
            f"close {columns['close'][row]:g}, adjusted {adjusted[row]:g}",
            "dividends and splits are in the price, not in the account",
        )
    ]


def _symbols(table: Table, spec: SymbolSpec) -> list[Finding]:
    if len(table.symbols) > 1:
        raise DataError(
            f"{table.origin.name} holds several symbols ({', '.join(table.symbols[:5])}); "
            "split it into one file each"
        )
    known = {_plain(name) for name in (spec.name, *spec.brokers.values())}
    if not table.symbols or _plain(table.symbols[0]) in known:
        return []
    return [
        Finding(
            "symbol",
            Severity.WARNING,
            f"the file names another symbol than {spec.name}",
            len(table.stamps.ns),
            table.origin.at(0),
            table.symbols[0],
            "make sure that these are the right bars",
        )
    ]


def _plain(name: str) -> str:
    return re.sub(r"[^A-Z0-9]", "", name.upper())
