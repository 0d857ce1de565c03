"""Checks: what would corrupt training is an error, what a user should see a warning.

The contract of ``Bars`` decides which is which. Closed candles in strict order with possible
prices can be trained on, however many are missing; a repeated, impossible or unfinished bar cannot,
and an unfinished one would also contradict the next export of the same bar for ever. Nothing is
repaired here: see :mod:`mtquant.market.repairs`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from mtquant.errors import DataError
from mtquant.market.bars import PRICE_COLUMNS
from mtquant.market.clock import Mask, readable
from mtquant.market.hours import TradingHours
from mtquant.market.raw import COLUMNS, Finding, RawBars, Severity
from mtquant.market.spikes import reverting_spikes, split_jumps
from mtquant.market.symbols import SymbolSpec
from mtquant.market.timeframe import Timeframe

ERROR, WARNING, INFO = Severity.ERROR, Severity.WARNING, Severity.INFO


def check(raw: RawBars, spec: SymbolSpec, now_ns: int | None = None) -> list[Finding]:
    """Everything that is wrong or odd about bars.

    Args:
        raw: The bars, in any state.
        spec: Gives the trading hours and the asset class.
        now_ns: The present, ns UTC, to tell an unfinished last bar; None leaves that out.

    Returns:
        One finding per kind of defect, errors first. Checks that look from bar to bar (spikes,
        gaps) run only once the bars are in order and complete.
    """
    findings = [*raw.noted, *_values(raw), *_order(raw)]
    if now_ns is not None:
        findings += _present(raw, now_ns)
    if not any(finding.severity is ERROR for finding in findings):
        findings += [*_shapes(raw, spec), *_calendar(raw, spec)]
    findings += _records(raw)
    rank = list(Severity)
    return sorted(findings, key=lambda finding: rank.index(finding.severity))


def refuse_errors(findings: Iterable[Finding]) -> None:
    """Stop at findings that would corrupt training.

    Raises:
        DataError: The first error as a sentence, and how many other kinds there are.
    """
    errors = [finding for finding in findings if finding.severity is ERROR]
    if errors:
        others = f" [and {len(errors) - 1} more kinds of error]" if len(errors) > 1 else ""
        raise DataError(errors[0].sentence() + others)


def missing_values(raw: RawBars) -> Mask:
    """Rows without a finite price in some column, bool ``[T]``."""
    finite = [np.isfinite(getattr(raw, name)) for name in PRICE_COLUMNS]
    return np.asarray(~np.logical_and.reduce(finite))


def impossible_values(raw: RawBars) -> Mask:
    """Rows with a price or volume that no bar can have, bool ``[T]``; not the missing ones."""
    highest = np.fmax(raw.open, raw.close)
    lowest = np.fmin(raw.open, raw.close)
    wrong = (raw.low <= 0) | (raw.high < highest) | (raw.low > lowest) | (raw.high < raw.low)
    return (wrong | (raw.volume < 0)) & ~missing_values(raw)


def repeated_rows(raw: RawBars) -> tuple[Mask, Mask]:
    """Rows whose time another row has before them: exact repeats, and those that contradict it.

    Returns:
        ``(identical, conflicting)``, bool ``[T]`` each.
    """
    order = np.argsort(raw.time, kind="stable")
    again = np.concatenate([[False], np.diff(raw.time[order]) == 0])
    first = np.maximum.accumulate(np.where(again, 0, np.arange(order.size)))
    same = np.all(
        [getattr(raw, name)[order] == getattr(raw, name)[order[first]] for name in COLUMNS], axis=0
    )
    identical, conflicting = np.zeros((2, order.size), np.bool_)
    identical[order], conflicting[order] = again & same, again & ~same
    return identical, conflicting


def unfinished(raw: RawBars, now_ns: int) -> Mask:
    """Bars whose period is not over, bool ``[T]``."""
    longest = 31 * 24 * 60 if raw.timeframe is Timeframe.MN1 else raw.timeframe.minutes
    return np.asarray(raw.time + longest * 60 * 10**9 > now_ns)


def _finding(
    raw: RawBars, rows: Mask, code: str, severity: Severity, what: str, cure: str, value: str = ""
) -> Iterator[Finding]:
    if rows.any():
        row = int(np.argmax(rows))
        value = value or " ".join(f"{n[0]}={getattr(raw, n)[row]:.10g}" for n in PRICE_COLUMNS)
        yield Finding(code, severity, what, int(rows.sum()), raw.place(row), value, cure)


def _values(raw: RawBars) -> Iterator[Finding]:
    drop = "correct the rows or use --drop-bad"
    missing, wrong = missing_values(raw), impossible_values(raw)
    yield from _finding(raw, missing, "missing_price", ERROR, "price missing", drop)
    positive = raw.low > 0
    yield from _finding(raw, wrong & ~positive, "non_positive", ERROR, "price not above zero", drop)
    crossed = wrong & positive & (raw.high < raw.low)
    yield from _finding(raw, crossed, "high_below_low", ERROR, "high below low", drop)
    negative = wrong & (raw.volume < 0)
    yield from _finding(raw, negative, "negative_volume", ERROR, "negative volume", drop)
    outside = wrong & positive & ~crossed & ~negative
    what = "open or close outside high and low"
    yield from _finding(raw, outside, "outside_range", ERROR, what, drop)


def _order(raw: RawBars) -> Iterator[Finding]:
    identical, conflicting = repeated_rows(raw)
    for rows, code, what, cure in (
        (identical, "duplicate", "bar repeated", "use --drop-duplicates"),
        (
            conflicting,
            "conflict",
            "second bar of the same time with other values",
            "delete the wrong one",
        ),
    ):
        yield from _finding(raw, rows, code, ERROR, what, cure)
    back = np.concatenate([[False], np.diff(raw.time) < 0])
    if back.any():
        row = int(np.argmax(back))
        value = f"{readable(raw.time[row])} after {readable(raw.time[row - 1])}"
        yield from _finding(raw, back, "order", ERROR, "times run backwards", "use --sort", value)


def _present(raw: RawBars, now_ns: int) -> Iterator[Finding]:
    future = raw.time > now_ns
    value = f"now is {readable(now_ns)}Z"
    cure = "correct the clock, or use --drop-unfinished"
    yield from _finding(raw, future, "future", ERROR, "bar opens in the future", cure, value)
    rows = unfinished(raw, now_ns) & ~future
    cure = "use --drop-unfinished"
    yield from _finding(raw, rows, "unfinished", ERROR, "bar is not closed yet", cure, value)


def _shapes(raw: RawBars, spec: SymbolSpec) -> Iterator[Finding]:
    cure = "look at it; --drop-spikes leaves such bars out"
    what = "spike that reverts at once"
    yield from _finding(raw, reverting_spikes(raw), "spike", WARNING, what, cure)
    if spec.asset_class in ("stock", "index"):
        jumps = split_jumps(raw)
        row = int(np.argmax(jumps))
        value = f"{raw.close[row - 1]:g} to {raw.open[row]:g}"
        cure = "import split-adjusted prices: a position held here shows a false profit or loss"
        yield from _finding(raw, jumps, "split", WARNING, "looks like a stock split", cure, value)


def _calendar(raw: RawBars, spec: SymbolSpec) -> Iterator[Finding]:
    hours = TradingHours.of(spec)
    closed = ~hours.trades_in(raw.time, raw.timeframe)
    cure = f"compare the clock ({raw.clock.name}) and the hours of {spec.name}"
    yield from _finding(raw, closed, "outside_hours", WARNING, "bar outside trading hours", cure)
    missing = hours.missing_between(raw.time, raw.timeframe)
    gaps = np.concatenate([[False], missing > 0])
    if gaps.any():
        row = int(np.argmax(missing)) + 1
        yield Finding(
            "gap",
            WARNING,
            f"gap within trading hours, {int(missing.sum())} bars missing; the largest",
            int(gaps.sum()),
            raw.place(row),
            f"{int(missing.max())} bars after {readable(raw.time[row - 1])}Z",
            "holidays are among them; nothing is filled in",
        )


def _records(raw: RawBars) -> Iterator[Finding]:
    typical = "nothing to do; the symbol's typical spread is charged"
    unrecorded = raw.spread == 0
    what = "spread not recorded" if unrecorded.all() else "zero spread, taken as not recorded"
    severity = INFO if unrecorded.all() else WARNING
    yield from _finding(raw, unrecorded, "zero_spread", severity, what, typical, "0")
    cure = "volume features mean nothing there"
    yield from _finding(
        raw, raw.volume == 0, "zero_volume", INFO, "volume zero or not recorded", cure, "0"
    )
    yield from _finding(raw, raw.high == raw.low, "flat", INFO, "flat bar", "nothing to do")
