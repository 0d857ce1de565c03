"""Anybody's feature on trial: called as if for the first time, on histories cut to measure.

A feature may keep what it saw in earlier calls, so each call goes to a copy that was never called;
it may reach for the array behind a slice, so bars are handed over in memory of their own.
"""

from __future__ import annotations

import contextlib
import copy
import json
from typing import Any

import numpy as np

from mtquant.errors import DataError
from mtquant.features.base import Feature, Params
from mtquant.features.trial_market import each_symbol, owned, without
from mtquant.market.bars import Bars, Float, Int
from mtquant.market.panel import Panel

#: Rows after the warm-up that a trial needs at least.
FEWEST = 64


class Failed(Exception):
    """The feature gave no usable answer."""

    def __init__(self, kind: str, sentence: str) -> None:
        super().__init__(sentence)
        self.kind = kind


class Subject:
    """A feature that is called each time as if for the first time.

    Attributes:
        names: Its columns.
        lookback: Bars that it says it reads.
        context: Symbols that it reads besides.
    """

    def __init__(self, feature: Feature) -> None:
        self._pristine = feature
        try:
            self.names, self.context = tuple(feature.names), tuple(feature.context)
            self.lookback = int(feature.lookback)
        except Exception as problem:
            raise Failed("error", f"names, context or lookback fail: {problem!r}") from None
        if self.lookback < 1 or not self.names:
            raise Failed("error", f"it has a lookback of {self.lookback} and columns {self.names}")

    def fresh(self) -> Feature:
        """A copy that was never called."""
        try:
            return copy.deepcopy(self._pristine)
        except Exception:
            return _copied_by_part(self._pristine)

    def fit(self, train: Panel, by: Feature | None = None) -> Params:
        """What it learns, by a fresh copy unless one is given.

        Raises:
            Failed: It raises.
        """
        try:
            return copy.deepcopy((by or self.fresh()).fit(train))
        except Exception as problem:
            raise Failed("error", f"fit raises {problem!r} on {_range(train)}") from None

    def compute(
        self, panel: Panel, params: Params, last: int | None = None, by: Feature | None = None
    ) -> Float:
        """Its columns ``[T, S, k]``, by a fresh copy and fresh params unless a copy is given.

        Raises:
            Failed: It raises, or its answer has another shape.
        """
        asked = f"compute(last={last})" if last else "compute"
        try:
            given = params if by else copy.deepcopy(params)
            values = np.array((by or self.fresh()).compute(panel, given, last), np.float64)
        except Exception as problem:
            raise Failed("error", f"{asked} raises {problem!r} on {_range(panel)}") from None
        due = (last or len(panel), len(panel.symbols), len(self.names))
        if values.shape != due:
            raise Failed("shape", f"{asked} returns {values.shape} instead of [T, S, k] = {due}")
        return values


class History:
    """Bars with the rows at which a feature has all that it says it reads.

    Attributes:
        panel: The bars.
        first: First such row; all later ones are too.
        end: The last row.
    """

    def __init__(self, panel: Panel, lookback: int) -> None:
        self.panel, self._lookback, self.end = panel, lookback, len(panel) - 1
        oldest = np.maximum(panel.row - lookback + 1, 0)
        own = [bars.time[rows] for bars, rows in zip(panel.bars, oldest.T, strict=True)]
        self._oldest = np.min(own, axis=0)
        ready = (panel.row >= lookback - 1).all(axis=1)
        for bars in panel.context:
            ready &= np.searchsorted(bars.time, self._oldest, "right") >= lookback
        self.first = int(np.argmax(ready))
        if not ready.any() or self.end - self.first < FEWEST:
            held = ", ".join(f"{b.symbol} has {len(b)}" for b in (*panel.bars, *panel.context))
            raise DataError(
                f"a trial needs {FEWEST} bars after a warm-up of {lookback} (twice that of a "
                f"context symbol) and {held}; give more bars"
            )

    def until(self, row: int) -> Panel:
        """All up to a row."""
        end = int(self.panel.time[row]) + 1
        return each_symbol(self.panel, lambda bars: owned(bars.between(None, end)))

    def window(self, first: int, last: int) -> Panel:
        """Rows ``first`` to ``last`` behind no more bars than the lookback of ``first``.

        All traded symbols begin by the oldest bar that one of them reads, a context symbol its
        lookback before it.
        """
        oldest, end = self._oldest[first], int(self.panel.time[last]) + 1

        def cut(bars: Bars, start: int) -> Bars:
            return owned(bars[max(start, 0) : int(np.searchsorted(bars.time, end))])

        def known(bars: Bars) -> int:
            return int(np.searchsorted(bars.time, oldest, "right"))

        return Panel(
            [cut(b, known(b) - 1) for b in self.panel.bars],
            [cut(b, known(b) - self._lookback) for b in self.panel.context],
        )

    def left_out(self, unseen: set[int]) -> tuple[Panel, Int]:
        """Many histories in one: bars are left out so far apart that no lookback reaches two.

        Args:
            unseen: Rows whose next bar is to be left out; those that are done are taken away.

        Returns:
            The panel, and the rows of the whole one after which a bar is missing.
        """
        rows: list[int] = []
        waiting = np.array(sorted(unseen))
        clear = int(waiting[0])
        while (k := int(np.searchsorted(waiting, clear))) < waiting.size:
            rows.append(int(waiting[k]))
            # All symbols' lookbacks have to lie behind the bar that is missing.
            after = (self.panel.row[rows[-1] + 1] + self._lookback)[None, :]
            whole = (self.panel.row >= after).all(axis=1)
            clear = int(np.argmax(whole)) if whole.any() else len(self.panel)
        unseen.difference_update(rows)
        gone = self.panel.time[np.array(rows) + 1]
        return without(self.panel, gone), np.array(rows)


def as_text(params: Params) -> str:
    """Params in one spelling, to compare them."""
    try:
        return json.dumps(params, sort_keys=True, default=_plain)
    except (TypeError, ValueError):
        return repr(params)


def fingerprints(panel: Panel) -> list[str]:
    """Of every symbol's bars, to see whether they were altered."""
    return [bars.fingerprint() for bars in (*panel.bars, *panel.context)]


def _copied_by_part(feature: Feature) -> Feature:
    """A copy of a feature of which some part, such as an open file, cannot be copied."""
    try:
        copied = copy.copy(feature)
        parts = vars(feature).items()
    except Exception:
        return feature
    for name, part in parts:
        with contextlib.suppress(Exception):
            object.__setattr__(copied, name, copy.deepcopy(part))
    return copied


def _plain(value: Any) -> Any:
    tolist = getattr(value, "tolist", None)
    return tolist() if tolist else type(value).__name__


def _range(panel: Panel) -> str:
    longest = max(panel.bars, key=len)
    return f"{len(panel)} bars from {longest.when(0)} to {longest.when(-1)}"
