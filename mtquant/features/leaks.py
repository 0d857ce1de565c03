"""The leak detector: does a feature know later bars, or more of the past than it says?

It takes a feature as a stranger's code and looks at its answers alone. Each row of a whole history
is compared with the same row after the later bars were cut, replaced, or left out one at a time,
and after the history began later. Cuts lie where leaks show: at the ends of days, months and
years, around halts, records and unrecorded stretches, and at every hour of the week.
"""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass

import numpy as np

from mtquant.features import trial_market as market
from mtquant.features.base import Feature
from mtquant.features.on_trial import Failed, History, Subject, as_text, fingerprints
from mtquant.market.bars import Float
from mtquant.market.clock import Mask
from mtquant.market.panel import Panel

#: The contract's agreement of a short with an infinite history, in units of ``max(1, |x|)``; and
#: the same for columns that hold single precision.
TOLERANCE, SINGLE = 1e-9, 5e-7

#: Up to here a change is rounding (a matrix product's order of summation depends on its size),
#: unless it grows with the later prices.
ROUNDING = 1e-12

#: A running sum's rounding, divided by a small deviation, may differ by this much between two
#: starts, at a small share of the rows; what a lookback leaves out differs at most rows.
AMPLIFIED, RARELY = 1e-6, 0.02

#: Numbers that fit may learn from one more bar before it counts as keeping the bars.
KEPT = 0.2

_LONGEST_LEFT_OUT = 100  # with a longer lookback, cutting tries more rows in the same time
_SPREAD = 24  # rows of the trials on whole histories
_NEWEST = 1500  # rows of a given panel
_CUT = "when the bars after {} are cut"


@dataclass(frozen=True)
class Leak:
    """One broken promise of a feature.

    Attributes:
        kind: ``future`` (later bars change a row), ``lookback`` (older bars than it declares do),
            ``last`` (asked for the newest rows only, it answers otherwise), ``random``, ``state``
            (earlier calls change it), ``fit`` (it learns from other bars than the training split,
            or keeps these), ``input`` (it alters the bars), ``shape``, ``error``.
        column: Its name; the feature's key where it is about all.
        row: Of the trial's clock; None where it is about all.
        time: Opening time of that bar, UTC; empty where it is about all.
        sentence: What a reader must know.
    """

    kind: str
    column: str
    row: int | None
    time: str
    sentence: str


class _AllFound(Exception):
    """Every column has a finding."""


def find_leaks(
    feature: Feature, panel: Panel | None = None, train: Panel | None = None, cuts: int = 2
) -> list[Leak]:
    """Try a feature on hostile bars, or on given ones.

    It takes some 300 calls whatever the machine, about a second of a cheap feature.

    Args:
        feature: Anybody's.
        panel: Bars to try it on, the newest 1,500 rows of them; the hostile trial market if None.
        train: What it learns from; the first part of the panel if None.
        cuts: Cuts at each kind of moment, such as the last bar of a month.

    Returns:
        At most one finding for each column, and one about all; none for an honest feature.

    Raises:
        DataError: The given panel is too short for the feature.
    """
    found: list[Leak] = []
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            _Trial(Subject(feature), panel, train, found).run(cuts)
        except Failed as problem:
            key = str(getattr(feature, "key", type(feature).__name__))
            found.append(Leak(problem.kind, key, None, "", f"'{key}': {problem}"))
        except _AllFound:
            pass
    return found


class _Trial:
    """One feature before one history."""

    def __init__(
        self, subject: Subject, panel: Panel | None, train: Panel | None, found: list[Leak]
    ) -> None:
        self.subject, self.found = subject, found
        self.open = np.ones(len(subject.names), np.bool_)
        self.doubts: dict[int, list[Leak]] = {}
        given = panel or market.trial_panel(subject.lookback, subject.context)
        self.history = History(given, subject.lookback)
        if panel and self.history.end - self.history.first > _NEWEST:
            end = self.history.end
            self.history = History(self.history.window(end - _NEWEST, end), subject.lookback)
        self.panel = self.history.panel
        self.first, self.end = self.history.first, self.history.end
        learning = self.first + (self.end - self.first) * 2 // 5
        self.train = train or self.history.until(learning)
        self.slice = train or self.panel[: learning + 1]

    def run(self, cuts: int) -> None:
        """All trials, until every column is found out."""
        self._learn()
        self._compute_all()
        rows, few = (market.telling_rows(self.panel, self.first, n) for n in (cuts, 1))
        spread = few[np.linspace(0, few.size - 1, min(_SPREAD, few.size)).astype(int)]
        self._remember(int(spread[spread.size // 2]))
        futures = [name for name in market.FUTURES if name != "huge"]
        for k, row in enumerate(spread):
            self._cut(int(row))
            self._replace(int(row), futures[k % len(futures)])
        leave_out = self.subject.lookback <= _LONGEST_LEFT_OUT and not self.panel.context
        first = self.first
        for k, row in enumerate(np.append(few if leave_out else rows, self.end)):
            self._start_late(first, int(row), with_last=k % 3 == 2)
            first = int(row) + 1
        if leave_out:
            self._leave_out()
        self._weigh_doubts()

    def _learn(self) -> None:
        """Fit is a function of the training bars, and not a copy of them."""
        fit, train = self.subject.fit, self.train
        self.params = fit(train)
        learned = as_text(self.params)
        if as_text(fit(train)) != learned:
            raise Failed("random", "fit learns something else from the same bars")
        half = train[len(train) // 2 :]
        more = learned.count(",") - as_text(fit(half)).count(",")
        if more > KEPT * (len(train) - len(half)):
            raise Failed("fit", "fit learns more numbers the more bars it is given: it keeps them")

    def _compute_all(self) -> None:
        """The reference; before it a cut history, while nothing later has ever been seen."""
        middle = (self.first + self.end) // 2
        early = self._compute(self.history.until(middle))
        before = fingerprints(self.panel)
        self.values = self._compute(self.panel)
        if fingerprints(self.panel) != before:
            raise Failed("input", "compute alters the bars that it is given")
        self.allowed = np.array([_precision(self.values[..., k]) for k in range(self.open.size)])
        self._note("random", self._compute(self.panel), 0, "when it is computed once more")
        self._later(early, middle, _CUT)
        if as_text(self.subject.fit(self.slice)) != as_text(self.params):
            raise Failed("fit", "fit learns something else where later bars are within its reach")

    def _remember(self, row: int) -> None:
        """One copy is called again and again, with other bars in between."""
        one, params, head = (
            self.subject.fresh(),
            copy.deepcopy(self.params),
            self.history.until(row),
        )
        other = market.turned(self.panel)
        self._later(self.subject.compute(head, params, by=one), row, _CUT)
        answer = self.subject.compute(other, params, by=one)
        self.subject.fit(other[: len(self.train)], by=one)
        again = self.subject.compute(head, params, by=one)
        self._note("state", again, 0, "after it computed and fitted other bars")
        if as_text(self.subject.fit(self.train, by=one)) != as_text(self.params):
            raise Failed("fit", "fit learns something else after other bars were computed")
        if _equal(answer, self.values, 0.0).all():
            # Only times matter, or answers are kept by time; then a moment later they are not.
            moment = self._compute(market.shifted(self.panel, 1000))
            others = self._compute(market.shifted(other, 2000))
            if not _equal(others, moment, 1e-6).all():
                raise Failed(
                    "state", "other bars of the same times get the answers of earlier ones"
                )

    def _cut(self, row: int) -> None:
        head = self.history.until(row)
        self._later(self._compute(head), row, _CUT)
        self._note("last", self._compute(head, 3), row - 2, "when only last=3 rows are asked for")

    def _replace(self, row: int, future: str) -> None:
        values = self._compute(market.with_future(self.panel, row, future))
        self._later(values, row, f"when the bars after {{}} are {future}")

    def _start_late(self, first: int, row: int, with_last: bool) -> None:
        """Rows from no more bars than their lookback, as when live."""
        window, rows = self.history.window(first, row), row + 1 - first
        values = self._compute(window, rows if with_last else None)[-rows:]
        if self._as_before(values, first):
            return
        if with_last:
            whole = self._compute(window)[-rows:]
            differs = ~_equal(values, whole, self.allowed)
            self._note("last", values, first, f"when only last={rows} rows are asked for", differs)
            values = whole
        self._later(self._compute(self.history.until(row)), row, _CUT)
        start = min(bars.when(0) for bars in window.bars)
        how = f"when the history begins at {start}, with all of the declared lookback"
        self._note("lookback", values, first, how)

    def _leave_out(self) -> None:
        """Each row without its next bar, many rows in one call."""
        unseen = set(range(self.first, self.end))
        while unseen:
            panel, rows = self.history.left_out(unseen)
            values = self._compute(panel)[rows - np.arange(rows.size)]
            for k, row in enumerate(rows):
                if not self._as_before(values[k : k + 1], int(row)):
                    self._blame(int(row), values[k : k + 1])

    def _blame(self, row: int, values: Float) -> None:
        """A row without its next bar differs; is it for that bar, or for an older one?"""
        self._later(self._compute(self.history.until(row)), row, _CUT)
        alone = market.without(self.panel, self.panel.time[row + 1 : row + 2])
        self._later(self._compute(alone), row, "when the bar after {} is missing")
        self._note("lookback", values, row, "when a bar before its declared lookback is missing")

    def _compute(self, panel: Panel, last: int | None = None) -> Float:
        return self.subject.compute(panel, self.params, last)

    def _as_before(self, values: Float, first: int) -> bool:
        expected = self.values[first : first + len(values)]
        return bool(_equal(values, expected, self.allowed)[..., self.open].all())

    def _later(self, values: Float, row: int, how: str) -> None:
        """No row up to ``row`` differs by a bit, or else by rounding."""
        expected = self.values[: row + 1]
        how = how.format(f"row {row}")
        differs = ~_equal(values[: row + 1], expected, 0.0)
        large = differs & ~_equal(values[: row + 1], expected, ROUNDING)
        self._note("future", values[: row + 1], 0, how, large)
        if differs[..., self.open].any():
            huge = self._compute(market.with_future(self.panel, row, "huge"))[: row + 1]
            self._note("future", huge, 0, f"when the prices after row {row} are huge")

    def _note(
        self, kind: str, values: Float, first: int, how: str, differs: Mask | None = None
    ) -> None:
        """A finding for each column that is not yet found out, at its first other row."""
        expected = self.values[first : first + len(values)]
        by_start = kind in {"lookback", "last"}
        if differs is None:
            differs = ~_equal(values, expected, self.allowed if by_start else ROUNDING)
        for k in np.flatnonzero(differs.any(axis=(0, 1)) & self.open):
            at, s = np.argwhere(differs[..., k])[0]
            leak = self._leak(kind, first + int(at), int(s), int(k), float(values[at, s, k]), how)
            if by_start and self._nearly(values[..., k], expected[..., k], int(k)):
                self.doubts.setdefault(int(k), []).extend([leak] * int(differs[..., k].sum()))
            else:
                self.found.append(leak)
                self.open[k] = False
        if not self.open.any():
            raise _AllFound

    def _nearly(self, values: Float, expected: Float, k: int) -> bool:
        near = _equal(values, expected, AMPLIFIED)
        if np.isnan(self.values[self.first :, :, k]).any():
            near |= np.isnan(values) | np.isnan(expected)  # 0 / 0 here, 0 / rounding there
        return bool(near.all())

    def _leak(self, kind: str, row: int, s: int, k: int, now: float, how: str) -> Leak:
        name, was = self.subject.names[k], float(self.values[row, s, k])
        when = f"{np.datetime64(int(self.panel.time[row]), 'ns').astype('datetime64[s]')}Z"
        of = f"row {row} ({when}) of '{name}' of {self.panel.symbols[s]}"
        return Leak(kind, name, row, when, f"{of} changes from {was!r} to {now!r} {how}")

    def _weigh_doubts(self) -> None:
        """Small differences at many rows are no rounding."""
        tried = (self.end - self.first) * len(self.panel.symbols)
        for k, doubts in self.doubts.items():
            if self.open[k] and len(doubts) > RARELY * tried:
                self.found.append(doubts[0])


def _equal(found: Float, expected: Float, allowed: float | Float) -> Mask:
    equal = (found == expected) | (np.isnan(found) & np.isnan(expected))
    near = np.abs(found - expected) <= allowed * np.maximum(1.0, np.abs(expected))
    return np.asarray(equal | (near & np.isfinite(expected)), np.bool_)


def _precision(values: Float) -> float:
    finite = values[np.isfinite(values)]
    return SINGLE if (finite == finite.astype(np.float32)).all() else TOLERANCE
