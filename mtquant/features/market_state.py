"""The regime of a market: a state that only persistent evidence ends or begins.

Each bar gives evidence of a trend up, a trend down, or a quiet or a restless market without one. A
small state machine reads the evidence: a candle or two that disagree change nothing, a sustained
disagreement opens TRANSITION, and only a whole confirmation window of one kind closes it. The
machine starts afresh for every row, so that a row never depends on where the history began.

What is known of the account belongs elsewhere: the risk state SAFE, CAUTION or DANGER follows from
drawdown and breaker and stands in the account part of the observation. Bars hold no funding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import IntEnum
from typing import Annotated, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field
from pydantic.dataclasses import dataclass

from mtquant.features.base import PARAMETERS, Column, Params, SymbolFeature
from mtquant.features.returns import log_return
from mtquant.features.windows import median
from mtquant.jit import kernel
from mtquant.market.bars import Bars, Float

Codes = npt.NDArray[np.int64]
Period = Annotated[int, Field(ge=2, le=2000)]
Score = Annotated[float, Field(gt=0.0, le=20.0, allow_inf_nan=False)]


class State(IntEnum):
    """What a market is doing; the order is that of the ``state_*`` columns."""

    BULL_TREND = 0
    BEAR_TREND = 1
    SIDEWAYS_LOW_VOL = 2
    SIDEWAYS_HIGH_VOL = 3
    TRANSITION = 4


VOLATILITIES = ("LOW", "NORMAL", "HIGH")
STRENGTHS = ("WEAK", "MODERATE", "STRONG")

_STATES = tuple(state.name for state in State)
_TRANSITION = int(State.TRANSITION)
_LOW, _NORMAL, _HIGH = range(3)
_WEAK, _MODERATE = range(2)


def _share(name: str, meaning: str) -> Column:
    return Column(name, meaning, 0.0, 1.0, fitted=False)


_COLUMNS = (
    _share("state_bull", "1 in a trend up"),
    _share("state_bear", "1 in a trend down"),
    _share("state_sideways_low", "1 in a sideways market of low volatility"),
    _share("state_sideways_high", "1 in a sideways market of high volatility"),
    _share("state_transition", "1 while no state is confirmed"),
    _share("previous_bull", "1 if the last state that ended was a trend up"),
    _share("previous_bear", "1 if the last state that ended was a trend down"),
    _share("previous_sideways_low", "1 if it was sideways of low volatility"),
    _share("previous_sideways_high", "1 if it was sideways of high volatility"),
    _share("transition_confidence", "share of the way to another confirmed state"),
    _share("state_volatility", "volatility LOW 0, NORMAL 0.5, HIGH 1"),
    _share("state_trend", "trend WEAK 0, MODERATE 0.5, STRONG 1"),
)


def state_of(flags: Sequence[float] | Float) -> State:
    """The state that the five ``state_*`` columns of one row name."""
    return State(int(np.argmax(flags)))


def describe(state: State, volatility: float, strength: float) -> str:
    """A state and its levels (0, 0.5 or 1) in words, for reports."""
    levels = f"volatility {VOLATILITIES[round(2 * volatility)]}"
    return f"{_STATES[state]}, {levels}, trend {STRENGTHS[round(2 * strength)]}"


def consistent(state: State, volatility: float, strength: float) -> bool:
    """Whether the levels (0, 0.5 or 1) can stand beside the state.

    A trend is at least MODERATE and a sideways market WEAK; volatility is HIGH in
    SIDEWAYS_HIGH_VOL and nothing else than HIGH in SIDEWAYS_LOW_VOL. TRANSITION goes with all.
    """
    if state == State.TRANSITION:
        return True
    if state in (State.BULL_TREND, State.BEAR_TREND):
        return strength > 0.0
    return strength == 0.0 and (volatility == 1.0) == (state == State.SIDEWAYS_HIGH_VOL)


@dataclass(frozen=True, config=PARAMETERS)
class MarketState(SymbolFeature):
    """Regime of the market with its volatility and trend, changed by persistent evidence only.

    Returns are cut at a multiple of the usual range and volatility is a median, so one monstrous
    candle counts as one large candle. The levels beside a confirmed state are those of the newest
    bar that agreed with it, hence a state and its levels never contradict each other: a trend is
    never WEAK, a sideways market always, SIDEWAYS_LOW_VOL never HIGH, SIDEWAYS_HIGH_VOL always.

    Formula:
        range = ln(max(high, close[-1]) / min(low, close[-1])); usual = median of ``long`` ranges
        score = sum(r) / sqrt(sum(r^2)) over ``trend`` log returns r, cut to +-cut * usual
        strength: MODERATE at ``|score| >= moderate``, STRONG at ``strong``; a trend from MODERATE
        volatility: median of ``short`` ranges above high * usual is HIGH, below low * usual LOW
        ``patience`` bars against the state open TRANSITION; it lasts ``confirm`` bars or more,
        until ``confirm`` bars in a row agree; started afresh on the last ``memory`` bars
    Source:
        mtquant; the score is the self-normalised sum of de la Pena, Lai and Shao (2009).
    Weakness:
        It is late by design: ``patience + confirm`` bars plus half the trend window. On a random
        walk one bar in five still scores beyond 1.25, so there are trends where there is no drift.
        A state tells what has been, not what comes. Levels lag while single candles disagree.

    Attributes:
        trend: Returns in the trend score.
        moderate: Score of a MODERATE trend; below, the market goes sideways.
        strong: Score of a STRONG trend.
        cut: Largest return that counts in full, in usual ranges.
        short: Bars of the volatility now.
        long: Bars of the usual volatility.
        low: Share of the usual volatility below which it is LOW.
        high: Multiple of the usual volatility above which it is HIGH.
        patience: Bars in a row against a state that end it.
        confirm: Bars in a row of one kind that a new state takes.
        memory: Bars that the state machine reads; a previous state further back is unknown.
    """

    key: ClassVar[str] = "market_state"
    group: ClassVar[str] = "regime"

    trend: Period = 48
    moderate: Score = 1.25
    strong: Score = 2.0
    cut: Score = 3.0
    short: Period = 24
    long: Period = 240
    low: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.7
    high: Annotated[float, Field(gt=1.0, le=20.0)] = 1.4
    patience: Annotated[int, Field(ge=3, le=100)] = 3
    confirm: Annotated[int, Field(ge=2, le=100)] = 6
    memory: Annotated[int, Field(ge=10, le=2000)] = 120

    def __post_init__(self) -> None:
        if self.short >= self.long:
            raise ValueError(f"short {self.short} must be below long {self.long}")
        if self.moderate >= self.strong:
            raise ValueError(f"moderate {self.moderate} must be below strong {self.strong}")
        if self.memory < 2 * (self.patience + self.confirm):
            raise ValueError(
                f"memory {self.memory} must be at least twice patience {self.patience} and "
                f"confirm {self.confirm} together"
            )

    @property
    def columns(self) -> tuple[Column, ...]:
        """A flag per state, now and before, how far a change has come, and both levels."""
        return _COLUMNS

    @property
    def lookback(self) -> int:
        """The machine's bars, the longest window behind the oldest, and the close before it."""
        return self.memory + max(self.trend, self.long)

    def on_bars(self, bars: Bars, params: Params) -> Sequence[Float]:
        """The columns, see the class."""
        evidence, volatility, strength = self._evidence(bars)
        first = max(self.trend, self.long)
        found = follow(
            evidence, volatility, strength, first, self.memory, self.patience, self.confirm
        )
        return list(found.T)

    def _evidence(self, bars: Bars) -> tuple[Codes, Codes, Codes]:
        """What each bar alone says: a state, a volatility and a strength, as codes."""
        before = np.concatenate([[np.nan], bars.close[:-1]])
        ranges = np.log(np.maximum(bars.high, before) / np.minimum(bars.low, before))
        usual, now = median(ranges, self.long), median(ranges, self.short)
        score = trend_score(log_return(bars.close, 1), self.cut * usual, self.trend)
        size = np.abs(score)
        strength = (size >= self.moderate).astype(np.int64) + (size >= self.strong)
        above, below = now > self.high * usual, now < self.low * usual
        volatility = _NORMAL + above.astype(np.int64) - below
        sideways = np.where(above, State.SIDEWAYS_HIGH_VOL, State.SIDEWAYS_LOW_VOL)
        trending = np.where(score > 0.0, State.BULL_TREND, State.BEAR_TREND)
        evidence = np.where(strength >= _MODERATE, trending, sideways)
        return evidence.astype(np.int64), volatility, strength


@kernel(allocates=True)
def trend_score(returns: Float, limit: Float, period: int) -> Float:
    """Sum of the last returns over the root of their sum of squares, within ``+-sqrt(period)``.

    A market without direction scores about a standard normal. However large, one return among
    zeros scores 1.

    Args:
        returns: ``[T]``, the first not known.
        limit: Largest return that counts in full at each row, ``[T]``.
        period: Returns in the window.

    Returns:
        ``[T]``, NaN for the first ``period`` rows, 0 where nothing moved.
    """
    result = np.full(returns.size, np.nan)
    for row in range(period, returns.size):
        total = square = 0.0
        for i in range(row - period + 1, row + 1):
            move = min(max(returns[i], -limit[row]), limit[row])
            total += move
            square += move * move
        result[row] = total / math.sqrt(square) if square > 0.0 else 0.0
    return result


@kernel(allocates=True)
def follow(
    evidence: Codes,
    volatility: Codes,
    strength: Codes,
    first: int,
    memory: int,
    patience: int,
    confirm: int,
) -> Float:
    """Run the state machine for every row over its last ``memory`` bars.

    Args:
        evidence: State that each bar alone speaks for, never TRANSITION, ``[T]``.
        volatility: Level of each bar, 0 to 2, ``[T]``.
        strength: Level of each bar, 0 to 2, ``[T]``.
        first: First row whose evidence is known.
        memory: Bars of one run; it begins in TRANSITION with nothing known.
        patience: Bars in a row against a state that end it.
        confirm: Least bars in TRANSITION, and bars in a row of one kind that end it.

    Returns:
        The feature's columns, ``[T, 12]``; NaN before the first full run.
    """
    result = np.full((evidence.size, 12), np.nan)
    for row in range(first + memory - 1, evidence.size):
        current = previous = _TRANSITION
        run = waited = against = 0
        shown = row
        for i in range(row - memory + 1, row + 1):
            run = run + 1 if evidence[i] == evidence[i - 1] else 1
            if current == _TRANSITION and run >= confirm and waited >= confirm:
                current = evidence[i]
            elif current == _TRANSITION:
                waited += 1
            elif evidence[i] != current:
                against += 1
                if against == patience:
                    previous, current, waited = current, _TRANSITION, 1
            if evidence[i] == current or current == _TRANSITION:
                against, shown = 0, i
        done = against if current != _TRANSITION else patience + min(run, waited, confirm)
        result[row] = 0.0
        result[row, current] = 1.0
        if previous != _TRANSITION:
            result[row, 5 + previous] = 1.0
        result[row, 9] = done / (patience + confirm)
        result[row, 10], result[row, 11] = volatility[shown] / 2.0, strength[shown] / 2.0
    return result
