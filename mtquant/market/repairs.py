"""Repairs: done only when told, and counted.

Each switch removes or orders rows; none invents a price. What was done is itself a finding, so the
import shows it and the store can tell it later.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from mtquant.errors import DataError
from mtquant.market.bars import PRICE_COLUMNS
from mtquant.market.clock import Mask
from mtquant.market.quality import (
    impossible_values,
    missing_values,
    repeated_rows,
    unfinished,
)
from mtquant.market.raw import Finding, RawBars, Severity
from mtquant.market.spikes import reverting_spikes


@dataclass(frozen=True)
class Repairs:
    """What an import may repair; the command line's ``--drop-duplicates`` is ``drop_duplicates``.

    Attributes:
        sort: Put the bars in order of time.
        drop_duplicates: Drop exact repeats of a bar; contradicting ones stay errors.
        drop_bad: Drop bars with a missing or impossible price.
        drop_spikes: Drop bars whose high or low jumps away and comes back at once.
        drop_unfinished: Drop bars that are not closed yet.
        drop_ambiguous: Drop times that occurred twice when the clock went back.
    """

    sort: bool = False
    drop_duplicates: bool = False
    drop_bad: bool = False
    drop_spikes: bool = False
    drop_unfinished: bool = False
    drop_ambiguous: bool = False

    @property
    def chosen(self) -> tuple[str, ...]:
        """Names of the repairs that are switched on."""
        return tuple(f.name for f in fields(self) if getattr(self, f.name))


def repair(raw: RawBars, repairs: Repairs, now_ns: int | None = None) -> RawBars:
    """Do the repairs that were asked for.

    Args:
        raw: Bars as read; ``drop_ambiguous`` is the reader's business and done by then.
        repairs: Which repairs.
        now_ns: The present, ns UTC, for ``drop_unfinished``.

    Returns:
        The bars that remain, with a finding for each repair that did something.

    Raises:
        DataError: No bar remains.
    """
    if repairs.sort and (np.diff(raw.time) < 0).any():
        moved = int((np.diff(raw.time) < 0).sum())
        raw = raw.take(np.argsort(raw.time, kind="stable"))
        raw = _note(raw, "sorted", "bars put in order of time", moved, 0)
    if repairs.drop_bad:
        raw = _drop(raw, missing_values(raw) | impossible_values(raw), "bad bar dropped")
    if repairs.drop_duplicates:
        raw = _drop(raw, repeated_rows(raw)[0], "repeated bar dropped")
    if repairs.drop_unfinished and now_ns is not None:
        raw = _drop(raw, unfinished(raw, now_ns), "unfinished bar dropped")
    if repairs.drop_spikes and (np.diff(raw.time) > 0).all() and not missing_values(raw).any():
        raw = _drop(raw, reverting_spikes(raw), "spike dropped")
    return raw


def _drop(raw: RawBars, rows: Mask, what: str) -> RawBars:
    if not rows.any():
        return raw
    if rows.all():
        raise DataError(f"{raw.origin.name}: no bar is left after the repairs; get other data")
    return _note(raw, "repaired", what, int(rows.sum()), int(np.argmax(rows))).take(~rows)


def _note(raw: RawBars, code: str, what: str, count: int, row: int) -> RawBars:
    prices = (f"{name[0]}={getattr(raw, name)[row]:.10g}" for name in PRICE_COLUMNS)
    value = " ".join(prices)
    finding = Finding(code, Severity.INFO, what, count, raw.place(row), value)
    return replace(raw, noted=(*raw.noted, finding))
