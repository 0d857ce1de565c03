"""Bars as somebody told them, put on the UTC axis and on the symbol's tick grid.

The same steps for files and for terminals, so that the same bar comes out equal, bit for bit,
whichever way it came in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mtquant.errors import DataError
from mtquant.market.bars import PRICE_COLUMNS, Float, Int
from mtquant.market.clock import Clock, Mask, readable
from mtquant.market.raw import Finding, Origin, RawBars, Severity
from mtquant.market.spacing import refuse_off_grid
from mtquant.market.symbols import SymbolSpec
from mtquant.market.timeframe import Timeframe

# Below this share of a tick a price is on the grid but for the rounding of its source's floats.
_FLOAT_NOISE = 0.01


@dataclass(frozen=True, eq=False)
class Told:
    """Columns before they are placed.

    Attributes:
        stamps: Opens on the source's clock, int64 ns ``[T]``.
        columns: ``open, high, low, close, volume, spread``, float64 ``[T]`` each.
        origin: Where each row stood.
        layout: Whose layout it is.
    """

    stamps: Int
    columns: dict[str, Float]
    origin: Origin
    layout: str


def place_bars(
    told: Told,
    spec: SymbolSpec,
    timeframe: Timeframe,
    clock: Clock,
    *,
    drop_ambiguous: bool = False,
    noted: Sequence[Finding] = (),
) -> RawBars:
    """Raw bars in UTC with prices of whole ticks.

    Args:
        told: What the source says.
        spec: Gives the tick grid and the trading clock.
        timeframe: Length of a bar.
        clock: Of the stamps.
        drop_ambiguous: Leave out times that occurred twice when the clock went back, where the
            order of the rows does not tell which is meant.
        noted: What was found before.

    Raises:
        DataError: A time was skipped or occurred twice on that clock, or lies off the grid.
    """
    origin, columns = told.origin, dict(told.columns)
    time, keep = _to_utc(told.stamps, clock, origin, drop_ambiguous)
    refuse_off_grid((told.stamps, Clock.parse(spec.clock).from_utc(time)), timeframe, origin)
    found = list(noted)
    off_grid = _round_prices(columns, spec)
    if off_grid.any():
        found.append(_off_grid(off_grid, told, spec))
    if (negative := columns["spread"] < 0).any():
        found.append(_negative_spreads(negative, columns["spread"], origin))
        columns["spread"] = np.maximum(columns["spread"], 0.0)
    if not keep.all():
        found.append(_ambiguous(keep, told.stamps, origin))
    raw = RawBars(
        spec.name,
        timeframe,
        time,
        **columns,
        origin=origin,
        layout=told.layout,
        clock=clock,
        noted=tuple(found),
    )
    return raw if keep.all() else raw.take(keep)


def _to_utc(stamps: Int, clock: Clock, origin: Origin, drop_ambiguous: bool) -> tuple[Int, Mask]:
    located = clock.locate(stamps)
    if located.missing.any():
        row = int(np.argmax(located.missing))
        raise DataError(
            f"{origin.at(row)}: the time {readable(int(stamps[row]))} was skipped when clock "
            f"{clock.name} went forward, so the file is on another clock; correct --clock"
        )
    if located.ambiguous.any() and not drop_ambiguous:
        row = int(np.argmax(located.ambiguous))
        raise DataError(
            f"{origin.at(row)}: the time {readable(int(stamps[row]))} occurred twice when clock "
            f"{clock.name} went back; export the bars in UTC or use --drop-ambiguous"
        )
    return located.utc, ~located.ambiguous


def _round_prices(columns: dict[str, Float], spec: SymbolSpec) -> Mask:
    """Bring prices to whole ticks, in place; tells which rows were off the grid."""
    numerator, denominator = spec.tick_fraction
    off: Mask = np.zeros(columns["open"].size, np.bool_)
    for name in PRICE_COLUMNS:
        exact = columns[name] / spec.tick_size
        ticks = np.rint(exact)
        off |= np.asarray(np.abs(exact - ticks) > _FLOAT_NOISE)
        columns[name] = ticks * numerator / denominator
    return off


def _off_grid(off: Mask, told: Told, spec: SymbolSpec) -> Finding:
    row = int(np.argmax(off))
    prices = ", ".join(f"{told.columns[name][row]:.10g}" for name in PRICE_COLUMNS)
    return Finding(
        "off_grid",
        Severity.WARNING,
        f"price off the tick grid of {spec.tick_size:g}, rounded to it",
        int(off.sum()),
        told.origin.at(row),
        prices,
        "nothing to do, unless the symbol's tick_size is wrong",
    )


def _negative_spreads(negative: Mask, spread: Float, origin: Origin) -> Finding:
    row = int(np.argmax(negative))
    return Finding(
        "negative_spread",
        Severity.WARNING,
        "negative spread, taken as not recorded",
        int(negative.sum()),
        origin.at(row),
        f"{spread[row]:g}",
        "nothing to do; the symbol's typical spread is charged there",
    )


def _ambiguous(keep: Mask, stamps: Int, origin: Origin) -> Finding:
    row = int(np.argmin(keep))
    return Finding(
        "ambiguous_time",
        Severity.INFO,
        "time that occurred twice, dropped as told",
        int((~keep).sum()),
        origin.at(row),
        readable(int(stamps[row])),
    )
