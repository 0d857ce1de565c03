"""How a column goes with the move that follows: by rank, so that no monstrous bar decides.

The information coefficient is Spearman's correlation with the forward return (direction) and with
its absolute value (size: what a volatility column is good for). The AUC asks for the sign alone:
how often the column is higher before a rise than before a fall. Ranks are taken once a column.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mtquant.market.bars import Float, Int
from mtquant.research.intervals import Estimates

#: What a column may foretell about a return: its sign, or how large it is.
KINDS = ("direction", "size")


@dataclass(frozen=True, eq=False)
class Association:
    """Measures of ``k`` columns against returns over ``H`` horizons.

    Attributes:
        ic: Spearman's correlation, by kind of target, ``[k, 2, H]``.
        auc: Of the sign, 0.5 says nothing, ``[k, H]``.
        folds: ``ic`` within consecutive runs of rows, ``[k, 2, H, folds]``; 0 where a column or a
            target is constant.
    """

    ic: Estimates
    auc: Estimates
    folds: Float


def measure(values: Float, returns: Float, folds: int, block: int) -> Association:
    """Information coefficients and AUC of columns.

    Args:
        values: Finite columns, ``[n, k]``.
        returns: What follows each row, ``[n, H]``.
        folds: Consecutive runs of rows for the stability.
        block: Rows up to which rows depend on each other.
    """
    horizons = returns.shape[1]
    targets = np.stack([scores(y) for y in (*returns.T, *np.abs(returns).T)], axis=1)
    parts = np.array_split(np.arange(len(values)), folds)
    within = [_standard(targets[part]) for part in parts]
    ic, auc, fold_ic = [], [], []
    for column in values.T:
        places = _places(column)
        score = _standard(_midranks(places))
        ic.append(correlation(score, targets, block))
        by_horizon = [_auc(places, y, block) for y in returns.T]
        auc.append(Estimates.joined(by_horizon))
        fold_ic.append(
            [_standard(score[p]) @ y / len(p) for p, y in zip(parts, within, strict=True)]
        )
    shape = (len(ic), len(KINDS), horizons)
    return Association(
        Estimates.joined(ic).reshaped(*shape),
        Estimates.joined(auc),
        np.moveaxis(np.array(fold_ic), 1, 2).reshape(*shape, folds),
    )


def correlation(score: Float, targets: Float, block: int) -> Estimates:
    """Spearman's correlation of one column with others.

    Args:
        score: Standardised ranks, ``[n]``.
        targets: Standardised ranks, ``[n, m]``.
        block: Rows up to which rows depend on each other.

    Returns:
        ``[m]``; 0 with no error where either is constant.
    """
    product = score[:, None] * targets
    value = product.mean(axis=0)
    product -= value / 2.0 * (score[:, None] ** 2 + targets**2)
    return Estimates.of(value, product, block)


def scores(values: Float) -> Float:
    """Ranks with mean 0 and variance 1, ties sharing theirs; all 0 where constant, ``[n]``."""
    return _standard(_midranks(_places(values)))


def rank_correlation(values: Float) -> Float:
    """Spearman's correlation of every two columns of ``[n, k]``, ``[k, k]``; 0 with a constant."""
    ranked = np.stack([scores(column) for column in values.T], axis=1)
    product: Float = ranked.T @ ranked / len(ranked)
    return product


def groups_of_alike(correlation: Float, threshold: float) -> tuple[tuple[int, ...], ...]:
    """Columns that are linked, also through others, by more than ``threshold`` either way.

    Args:
        correlation: ``[k, k]``.
        threshold: Absolute correlations above it link.

    Returns:
        Column numbers; every column is in one group, in the order of first members.
    """
    parent = list(range(len(correlation)))

    def root(k: int) -> int:
        while parent[k] != k:
            parent[k] = parent[parent[k]]
            k = parent[k]
        return k

    for i, j in np.argwhere(np.triu(np.abs(correlation) > threshold, 1)).tolist():
        first, second = sorted((root(i), root(j)))
        parent[second] = first
    found: dict[int, tuple[int, ...]] = {}
    for k in range(len(parent)):
        found[root(k)] = (*found.get(root(k), ()), k)
    return tuple(found.values())


def _places(values: Float) -> Int:
    """Place of each value among the different ones, from 0."""
    return np.unique(values, return_inverse=True)[1].astype(np.int64)


def _midranks(places: Int) -> Float:
    counts = np.bincount(places)
    ranks: Float = np.cumsum(counts) - counts / 2.0
    return ranks[places]


def _standard(values: Float) -> Float:
    """Each column with mean 0 and variance 1; 0 where constant."""
    centred = values - values.mean(axis=0)
    width = np.sqrt(np.mean(centred**2, axis=0))
    # Equal ranks leave a rounding error of their mean, not a spread.
    usable = width > 1e-12 * len(values)
    standard: Float = np.divide(centred, width, out=np.zeros_like(centred), where=usable)
    return standard


def _auc(places: Int, returns: Float, block: int) -> Estimates:
    """AUC of a return's sign; the error by the placements of DeLong et al. (1988)."""
    up, down = returns > 0.0, returns < 0.0
    rows, ups, downs = len(places), int(up.sum()), int(down.sum())
    if not ups or not downs or not places.any():
        return Estimates(np.array(0.5), np.array(0.0), np.array(1.5 * rows / block), null=0.5)
    lower_downs = _share_below(places, down)
    higher_ups = 1.0 - _share_below(places, up)
    auc = lower_downs[up].mean()
    influence = np.zeros(rows)
    influence[up] = (lower_downs[up] - auc) * (rows / ups)
    influence[down] = (higher_ups[down] - auc) * (rows / downs)
    return Estimates.of(auc, influence, block, null=0.5)


def _share_below(places: Int, chosen: npt.NDArray[np.bool_]) -> Float:
    """For each row the share of the chosen ones whose value is lower, ties counting half."""
    counts = np.bincount(places[chosen], minlength=int(places.max()) + 1)
    shares: Float = (np.cumsum(counts) - counts / 2.0) / chosen.sum()
    return shares[places]
