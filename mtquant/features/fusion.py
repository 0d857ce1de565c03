"""Fusion: one score from several analysers, and where each part of it comes from.

Every analyser gives a signal in [-1, 1] and a confidence in [0, 1]. The score is the weighted sum
of the signals, the confidence the weighted sum of the confidences, less where the score is small.
Compression adds confidence and never direction, so no score lies beyond the others' weights. What
a model learns (``lstm``, ``base``) comes in by the same door and counts 0 until it does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass as plain_dataclass
from functools import cached_property
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from mtquant.errors import ConfigError, unknown
from mtquant.features.bars3d import Bars3D
from mtquant.features.base import PARAMETERS, BaseFeature, Column, Params, in_stretches
from mtquant.features.compression import CompressionRegime
from mtquant.features.phase import PhaseEstimation
from mtquant.features.strength import CurrencyStrength
from mtquant.features.volatility import VolatilityAnalyser
from mtquant.market.bars import Float
from mtquant.market.panel import Panel

#: Analysers that have a direction; ``lstm`` and ``base`` are learned.
DIRECTIONAL = ("lstm", "bars3d", "qpe", "volatility", "strength", "base")

COMPRESSION = "compression"

#: The documents' weights.
WEIGHTS: Mapping[str, float] = {
    COMPRESSION: 0.25,
    "lstm": 0.20,
    "bars3d": 0.15,
    "qpe": 0.15,
    "volatility": 0.10,
    "strength": 0.05,
    "base": 0.10,
}

MOST_CONFIDENT = 0.95

_ANALYSERS: Mapping[str, type[BaseFeature]] = {
    COMPRESSION: CompressionRegime,
    "bars3d": Bars3D,
    "qpe": PhaseEstimation,
    "volatility": VolatilityAnalyser,
}

Weight = Annotated[float, Field(ge=0.0, le=1.0)]
Threshold = Annotated[float, Field(ge=0.0, lt=1.0)]


@plain_dataclass(frozen=True)
class Fused:
    """What :func:`fuse` found; all arrays of one shape.

    Attributes:
        score: Weighted sum of the signals, within the sum of the directional weights.
        action: -1 sell, 0 nothing, 1 buy.
        confidence: 0 to 0.95.
        act: 1 where there is an action with confidence enough, else 0.
        contributions: By analyser, what it adds to the score; ``compression``, what it adds to the
            confidence before that is scaled by the score.
    """

    score: Float
    action: Float
    confidence: Float
    act: Float
    contributions: Mapping[str, Float]


def fuse(
    signals: Mapping[str, Float],
    confidences: Mapping[str, Float],
    trade_allowed: Float,
    weights: Mapping[str, float] = WEIGHTS,
    act_beyond: float = 0.15,
    act_from: float = 0.55,
) -> Fused:
    """Weigh signals and confidences into a score, an action and a confidence.

    ``score = sum w * signal``; ``confidence = min(sum w * confidence * min(2 |score|, 1), 0.95)``;
    the action is the score's sign beyond ``act_beyond``, and 0 where trading is not allowed.

    Args:
        signals: Some of :data:`DIRECTIONAL`, cut to [-1, 1]; an analyser that is absent adds 0.
        confidences: Some of :data:`WEIGHTS`, cut to [0, 1].
        trade_allowed: 1 or 0; its shape is that of every array here.
        weights: By analyser, not negative, 1 in all; an analyser that is absent weighs 0.
        act_beyond: An action takes a score beyond this, on either side.
        act_from: Least confidence to act with.

    Returns:
        Arrays of the shape of ``trade_allowed``.

    Raises:
        ConfigError: A name is no analyser, compression is given a signal, or the weights do not
            sum to 1.
    """
    check_weights(weights)
    for name in signals:
        if name not in DIRECTIONAL:
            raise ConfigError(unknown("signal", name, DIRECTIONAL))
    for name in confidences:
        if name not in WEIGHTS:
            raise ConfigError(unknown("confidence", name, WEIGHTS))
    zeros = np.zeros(np.shape(trade_allowed))
    score, weighted = zeros, zeros
    contributions = dict.fromkeys((*DIRECTIONAL, COMPRESSION), zeros)
    for name in DIRECTIONAL:
        if name in signals:
            signal = np.minimum(np.maximum(signals[name], -1.0), 1.0)
            contributions[name] = weights.get(name, 0.0) * signal
            score = score + contributions[name]
    for name in WEIGHTS:
        if name in confidences:
            confidence = np.minimum(np.maximum(confidences[name], 0.0), 1.0)
            share = weights.get(name, 0.0) * confidence
            weighted = weighted + share
            if name == COMPRESSION:
                contributions[name] = share
    size = np.abs(score)
    total = np.minimum(weighted * np.minimum(2.0 * size, 1.0), MOST_CONFIDENT)
    action = np.where((size > act_beyond) & (trade_allowed > 0.0), np.sign(score), 0.0)
    act = np.where((action != 0.0) & (total >= act_from), 1.0, 0.0)
    return Fused(score, action, total, act, contributions)


def check_weights(weights: Mapping[str, float]) -> None:
    """Refuse weights of unknown analysers, and such as do not sum to 1.

    Raises:
        ConfigError: Names the analyser, or the sum.
    """
    for name in weights:
        if name not in WEIGHTS:
            raise ConfigError(unknown("weight of the fusion", name, WEIGHTS))
        if not 0.0 <= weights[name] <= 1.0:
            raise ConfigError(
                f"the weight of '{name}' in the fusion is {weights[name]}; give 0 to 1"
            )
    total = math.fsum(weights.values())
    if not math.isclose(total, 1.0, abs_tol=1e-9):
        raise ConfigError(f"the fusion's weights sum to {total:g}; give weights that sum to 1")


def analysers(against: tuple[str, ...], seed: bool) -> dict[str, BaseFeature]:
    """The analysers that read bars, by the name of their weight.

    Args:
        against: Context symbols for the currency strength, which is left out without any.
        seed: Whether each takes its preset ``seed``, where it has one.
    """
    parts = {name: build(kind, seed) for name, kind in _ANALYSERS.items()}
    if against:
        parts["strength"] = build(CurrencyStrength, seed, against=against)
    return parts


def build(kind: type[BaseFeature], seed: bool, **given: Any) -> BaseFeature:
    """A feature with its defaults or, where it has one, its preset ``seed``."""
    preset = kind.presets.get("seed", {}) if seed else {}
    return kind(**{**preset, **given})


def compute_parts(
    parts: Mapping[str, BaseFeature], panel: Panel, params: Params, last: int | None
) -> dict[str, Float]:
    """Every column of some features by its name, each ``[T, S]``."""
    columns: dict[str, Float] = {}
    for name, part in parts.items():
        values = part.compute(panel, params.get(name, {}), last)
        columns |= {column: values[:, :, k] for k, column in enumerate(part.names)}
    return columns


def fuse_columns(
    columns: Mapping[str, Float],
    weights: Mapping[str, float],
    act_beyond: float = 0.15,
    act_from: float = 0.55,
) -> Fused:
    """:func:`fuse` of the columns ``NAME_signal``, ``NAME_confidence`` and ``trade_allowed``."""
    signals = {n: columns[f"{n}_signal"] for n in DIRECTIONAL if f"{n}_signal" in columns}
    confidences = {n: columns[f"{n}_confidence"] for n in WEIGHTS if f"{n}_confidence" in columns}
    allowed = columns["trade_allowed"]
    return fuse(signals, confidences, allowed, weights, act_beyond, act_from)


@dataclass(frozen=True, config=PARAMETERS)
class Fusion(BaseFeature):
    """One score of all analysers, its action, its confidence, and each analyser's part in it.

    The score is not divided by the weights that are present, so that it means the same whichever
    analysers there are: at most 0.75 with all six directions, 0.45 without the learned ones.

    Formula:
        score = sum of weight * signal over lstm, bars3d, qpe, volatility, strength, base
        confidence = min(sum of weight * confidence over all seven * min(2 |score|, 1), 0.95)
        action = sign(score) where ``|score| > act_beyond`` and trading is allowed, else 0
        act = 1 where there is an action and ``confidence >= act_from``
    Source:
        The seed documents.
    Weakness:
        The weights were never estimated. Without the learned analysers the confidence cannot pass
        0.63, and without context symbols for the strength 0.52: then ``fusion_act`` is never 1 at
        the threshold of 0.55. The score alone is the more useful input.

    Attributes:
        weights: By analyser, 1 in all; what is not named weighs 0.
        against: Context symbols for the currency strength; without any it adds 0.
        act_beyond: An action takes a score beyond this.
        act_from: Least confidence to act with.
        seed: Whether every analyser takes the documents' constants.
    """

    key: ClassVar[str] = "fusion"
    group: ClassVar[str] = "fusion"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"seed": {"seed": True}}

    weights: dict[str, Weight] = Field(default_factory=lambda: dict(WEIGHTS))
    against: tuple[str, ...] = ()
    act_beyond: Threshold = 0.15
    act_from: Threshold = 0.55
    seed: bool = False

    def __post_init__(self) -> None:
        check_weights(self.weights)
        _ = self.parts  # their parameters are checked here too

    @cached_property
    def parts(self) -> dict[str, BaseFeature]:
        """The analysers it reads, by the name of their weight."""
        return analysers(self.against, self.seed)

    @property
    def columns(self) -> tuple[Column, ...]:
        """Score, action, confidence, flag, and one contribution per analyser."""
        return (
            Column("fusion_score", "weighted signals", -1.0, 1.0, fitted=False),
            Column("fusion_action", "sell -1, nothing 0, buy 1", -1.0, 1.0, fitted=False),
            Column("fusion_confidence", "of the score", 0.0, MOST_CONFIDENT, fitted=False),
            Column("fusion_act", "1 if confident enough to act", 0.0, 1.0, fitted=False),
            *(contribution(name, self.weights, "fusion_from_") for name in DIRECTIONAL),
            contribution(COMPRESSION, self.weights, "fusion_from_", low=0.0),
        )

    @property
    def lookback(self) -> int:
        """That of the analyser that reads most."""
        return max(part.lookback for part in self.parts.values())

    @property
    def context(self) -> tuple[str, ...]:
        """The symbols of the currency strength."""
        return self.against

    def fit(self, train: Panel) -> Params:
        """What each analyser learns, by its name."""
        return {name: part.fit(train) for name, part in self.parts.items()}

    @in_stretches
    def compute(self, panel: Panel, params: Params, last: int | None = None) -> Float:
        """The columns of every symbol, NaN until the last analyser has warmed up."""
        columns = compute_parts(self.parts, panel, params, last)
        fused = fuse_columns(columns, self.weights, self.act_beyond, self.act_from)
        parts = [fused.contributions[name] for name in (*DIRECTIONAL, COMPRESSION)]
        values = np.stack([fused.score, fused.action, fused.confidence, fused.act, *parts], axis=2)
        return blank_warm_up(values, columns)


def contribution(
    name: str, weights: Mapping[str, float], prefix: str, low: float | None = None
) -> Column:
    """The column of what an analyser adds, bounded by its weight."""
    bound = weights.get(name, 0.0) or 1.0
    text = "confidence" if name == COMPRESSION else "score"
    lowest = -bound if low is None else low
    return Column(f"{prefix}{name}", f"what {name} adds to the {text}", lowest, bound, fitted=False)


def blank_warm_up(values: Float, columns: Mapping[str, Float]) -> Float:
    """NaN, in place, in every row of ``values`` in which one of the columns still is."""
    for column in columns.values():
        values[np.isnan(column)] = np.nan
    return values
