"""Rank columns by what they are worth, so that a selection can be cut to those that say something.

Each column is measured against the move from the next open on, over several horizons and in two
ways: does it go with the direction, or with the size? Whatever is learned (parameters, scaler, the
ridge that columns are left out of) is learned from the first part of the bars. Columns of features
that learn are measured on the later part alone. Many columns are tried, so some look good by
chance: the record says how many, and marks those that survive a correction for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mtquant.errors import ConfigError, DataError, unknown
from mtquant.features.pipeline import FeaturePipeline, FittedPipeline
from mtquant.features.registry import Entry
from mtquant.market.bars import Float
from mtquant.market.panel import Panel
from mtquant.market.simulated import SimulatedMarket
from mtquant.market.symbols import SymbolSpec
from mtquant.market.timeframe import Timeframe
from mtquant.research.ablation import ablate
from mtquant.research.association import (
    KINDS,
    Association,
    groups_of_alike,
    measure,
    rank_correlation,
)
from mtquant.research.forward_returns import check_horizons, forward_returns
from mtquant.research.intervals import Estimates, block_length
from mtquant.research.worth import ALIKE, Ranking

HORIZONS = (1, 5, 20)
FIRST_PART = 0.6
FOLDS = 5
EMBARGO = 24  # bars at least, as between training and validation

_BLOCKS = 10  # in the later part at least; with fewer no error can be told
_SEEDS_APART = 1_000  # of the symbols of one simulated panel


def rank(
    features: FeaturePipeline | Sequence[Entry],
    panel: Panel,
    horizons: Sequence[int] = HORIZONS,
    *,
    symbol: str | None = None,
    first_part: float = FIRST_PART,
    folds: int = FOLDS,
) -> Ranking:
    """Measure what every column is worth for one symbol.

    Args:
        features: A pipeline of the panel's symbols, or a selection.
        panel: Closed bars, with those of the symbols that the features read besides.
        horizons: Bars that a forward return spans.
        symbol: Whose moves; the panel's first.
        first_part: Share of the usable bars that everything is learned from.
        folds: Consecutive runs of bars in which the sign of a column's worth must be the same.

    Returns:
        The record; the same for the same input.

    Raises:
        ConfigError: The selection, the symbol, a horizon or a share is wrong.
        DataError: There are too few bars.
    """
    chosen = check_horizons(horizons)
    whose = panel.symbols[0] if symbol is None else symbol
    _check(panel, whose, first_part, folds)
    pipeline = _pipeline(features, panel)
    first = pipeline.first_valid(panel)
    cut = first + int((len(panel) - first) * first_part)
    fitted = pipeline.fit(panel[:cut])
    own = panel.of(whose)
    returns = forward_returns(own, chosen)
    begin, split = (int(np.searchsorted(own.time, panel.time[row])) for row in (first, cut))
    values, scaled = _own_columns(fitted, panel, whose)
    rows = slice(begin, len(returns))
    return rank_columns(
        _names(pipeline),
        values[rows],
        scaled[rows],
        returns[rows],
        chosen,
        split - begin,
        learned=_learned(fitted),
        folds=folds,
        market=f"{whose} {panel.timeframe.name} {own.when(begin)} to {own.when(-1)}",
    )


def rank_columns(
    names: Sequence[str],
    values: Float,
    scaled: Float,
    returns: Float,
    horizons: Sequence[int],
    split: int,
    *,
    learned: npt.NDArray[np.bool_] | None = None,
    folds: int = FOLDS,
    market: str = "",
) -> Ranking:
    """Measure columns that are already computed.

    Args:
        names: Of the ``k`` columns.
        values: Finite, ``[n, k]``; row ``t`` is known before the returns of row ``t`` begin.
        scaled: The same for the ridge, scaled by what the first part taught, ``[n, k]``.
        returns: Forward log returns, ``[n, H]``.
        horizons: Bars that each return spans.
        split: Rows of the first part.
        learned: Columns that were made by what the first part taught, ``[k]``.
        folds: See :func:`rank`.
        market: What the columns describe, for tables.

    Raises:
        DataError: There are too few rows.
    """
    embargo, block = _distances(len(values), split, max(horizons), market)
    taught = np.zeros(len(names), np.bool_) if learned is None else learned
    alike = rank_correlation(values[split + embargo if taught.any() else 0 :])
    found = _measured(values, returns, taught, split + embargo, folds, block)
    groups = groups_of_alike(alike, ALIKE)
    return Ranking(
        market=market,
        names=tuple(names),
        horizons=tuple(horizons),
        rows=len(values),
        ic=found.ic,
        auc=found.auc,
        folds=found.folds,
        alike=alike,
        **_losses(scaled, returns, split, embargo, groups, block),
    )


def simulated_panel(
    specs: Sequence[SymbolSpec],
    timeframe: Timeframe,
    n_bars: int,
    seed: int,
    context: Sequence[SymbolSpec] = (),
    **law: Any,
) -> Panel:
    """Bars of the simulated market, symbols independent of each other.

    Args:
        specs: Contracts of the traded symbols.
        timeframe: Bar length.
        n_bars: Of every symbol.
        seed: Of the first symbol.
        context: Contracts of the symbols that features read besides.
        law: Such as ``drift=0.0``, see :class:`mtquant.market.simulated.SimulatedMarket`.
    """
    bars = [
        SimulatedMarket(spec.name, timeframe.name, n_bars, seed + _SEEDS_APART * s, **law).bars(
            spec
        )
        for s, spec in enumerate((*specs, *context))
    ]
    return Panel(bars[: len(specs)], bars[len(specs) :])


def _check(panel: Panel, symbol: str, first_part: float, folds: int) -> None:
    if not (0.0 < first_part < 1.0 and folds >= 2):
        raise ConfigError(
            f"a ranking needs a first part between 0 and 1 and 2 folds or more, not {first_part} "
            f"and {folds}"
        )
    if symbol not in panel.symbols:
        raise ConfigError(unknown("symbol of the panel", symbol, panel.symbols))


def _distances(rows: int, split: int, horizon: int, market: str) -> tuple[int, int]:
    """Rows between the two parts, and rows up to which rows depend on each other."""
    embargo = max(EMBARGO, horizon + 1)
    later = max(rows - split - embargo, 0)
    if later < _BLOCKS * block_length(later, horizon) or split < 2 * embargo:
        raise DataError(
            f"{market or 'the ranking'}: {later} rows after the first part are too few for "
            f"returns over {horizon} bars; give more bars or shorter horizons"
        )
    return embargo, block_length(rows, horizon)


def _pipeline(features: FeaturePipeline | Sequence[Entry], panel: Panel) -> FeaturePipeline:
    if isinstance(features, FeaturePipeline):
        return features
    return FeaturePipeline(features, panel.symbols)


def _names(pipeline: FeaturePipeline) -> list[str]:
    """Names of one symbol's columns."""
    return [name for feature in pipeline.features for name in feature.names]


def _learned(fitted: FittedPipeline) -> npt.NDArray[np.bool_]:
    pairs = zip(fitted.pipeline.features, fitted.params, strict=True)
    return np.array([bool(params) for feature, params in pairs for _ in feature.names], np.bool_)


def _own_columns(fitted: FittedPipeline, panel: Panel, symbol: str) -> tuple[Float, Float]:
    """Raw and scaled columns of one symbol on its own bars, each ``[T_s, k]``."""
    s, count = panel.symbols.index(symbol), len(_names(fitted.pipeline))
    raw = fitted.raw(panel)[panel.tradable[:, s]]
    own = slice(s * count, (s + 1) * count)
    scaled = fitted.scaler.transform(raw)[:, own].astype(np.float64)
    return raw[:, own], scaled


def _measured(
    values: Float,
    returns: Float,
    taught: npt.NDArray[np.bool_],
    later: int,
    folds: int,
    block: int,
) -> Association:
    """Worth of each column: over all rows, or over the later ones where a feature has learned."""
    parts = [
        (np.flatnonzero(chosen), measure(values[begin:, chosen], returns[begin:], folds, block))
        for chosen, begin in ((~taught, 0), (taught, later))
        if chosen.any()
    ]
    order = np.argsort(np.concatenate([columns for columns, _ in parts]))
    return Association(
        Estimates.concatenated([part.ic for _, part in parts])[order],
        Estimates.concatenated([part.auc for _, part in parts])[order],
        np.concatenate([part.folds for _, part in parts])[order],
    )


def _losses(
    scaled: Float,
    returns: Float,
    split: int,
    embargo: int,
    groups: Sequence[Sequence[int]],
    block: int,
) -> dict[str, Estimates]:
    """What a ridge regression of every target explains, and loses without a column or its group."""
    count = scaled.shape[1]
    left_out = [*((k,) for k in range(count)), *groups]
    targets = (*returns.T, *np.abs(returns).T)
    found = [ablate(scaled, y, split, embargo, left_out, block) for y in targets]
    loss = Estimates.joined([one.loss for one in found], axis=-1)
    group = {k: number for number, members in enumerate(groups) for k in members}
    of_column = [count + group[k] for k in range(count)]
    shape = (len(KINDS), returns.shape[1])
    return {
        "loss": loss[:count].reshaped(count, *shape),
        "group_loss": loss[of_column].reshaped(count, *shape),
        "model_r2": Estimates.joined([one.r2 for one in found]).reshaped(*shape),
        "model_ic": Estimates.joined([one.ic for one in found]).reshaped(*shape),
    }
