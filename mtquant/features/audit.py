"""The audit of computed columns: numbers that an agent cannot use, or cannot trust, on given bars.

A leak is a fault of a feature's code (see :mod:`mtquant.features.leaks`); here the code may be
right and the column still useless: constant on these bars, the same as another, outside the range
that its scaling assumes, or distributed otherwise in the test split than where it was learned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mtquant.errors import ConfigError
from mtquant.features.base import Column
from mtquant.features.pipeline import FeaturePipeline
from mtquant.market.bars import Float
from mtquant.market.clock import Mask
from mtquant.market.panel import Panel

#: Two columns of a larger absolute rank correlation say the same.
SAME = 0.98

#: Population stability index: from the first on worth a note, beyond the second another market.
SHIFTED, DRIFTED = 0.10, 0.25

#: A difference of values below this is rounding, as in the scaler.
NEGLIGIBLE = 1e-12

_MOST_RANKED = 20_000  # rows; more do not move a rank correlation
_FEWEST_TESTED = 100  # rows, below which chance alone moves the index that far
_FEW_VALUES = 10  # a column with no more is counted value by value


@dataclass(frozen=True)
class Finding:
    """One thing to know about a column.

    Attributes:
        kind: ``not finite``, ``range``, ``gate``, ``constant``, ``duplicate``, ``drift`` or
            ``shift`` (a small drift).
        column: Its name.
        value: The measure: a share of rows, a value, a correlation or an index.
        sentence: What a reader must know.
        grave: Whether the column should not be used as it is.
    """

    kind: str
    column: str
    value: float
    sentence: str
    grave: bool = True

    def row(self) -> tuple[str, str, str]:
        """Kind, column and sentence, for a table."""
        return self.kind, self.column, self.sentence


def audit(pipeline: FeaturePipeline, panel: Panel, train_rows: int) -> list[Finding]:
    """Fit on the training split and judge the columns of the whole history.

    Args:
        pipeline: The features, not fitted.
        panel: Bars of its symbols, training split first.
        train_rows: Rows of the panel's clock that are the training split.

    Raises:
        ConfigError: There are no such rows, or the panel holds other symbols.
        DataError: The training split is shorter than the warm-up.
    """
    if not 0 < train_rows <= len(panel):
        raise ConfigError(
            f"train_rows is {train_rows} and the panel has {len(panel)} rows; give 1 to all of them"
        )
    train = panel[:train_rows]
    first = pipeline.first_valid(train)
    params = [feature.fit(train) for feature in pipeline.features]
    values = pipeline.compute(panel, params)[first:]
    return audit_columns(values, pipeline.columns, train_rows - first, len(pipeline.symbols))


def audit_columns(
    values: Float, columns: Sequence[Column], train_rows: int, symbols: int = 1
) -> list[Finding]:
    """Findings on columns, in their order; then pairs, then drift.

    Args:
        values: Rows past the warm-up, ``[N, k]``.
        columns: What each of them is, symbol-major.
        train_rows: How many of the first rows are the training split.
        symbols: How many symbols share the columns; only columns of one symbol are compared.
    """
    findings = [f for k, c in enumerate(columns) for f in _one_column(values[:, k], c)]
    unusable = {f.column for f in findings if f.kind in {"not finite", "gate", "constant"}}
    varied = [k for k, column in enumerate(columns) if column.name not in unusable]
    each = len(columns) // symbols
    for s in range(symbols):
        own = [k for k in varied if k // each == s]
        findings += _duplicates(values[:, own], [columns[k].name for k in own])
    finite = [k for k in range(len(columns)) if np.isfinite(values[:, k]).all()]
    if min(train_rows, len(values) - train_rows) >= _FEWEST_TESTED:
        for k in finite:
            findings += _drift(values[:train_rows, k], values[train_rows:, k], columns[k].name)
    return findings


def stability_index(train: Float, test: Float) -> float:
    """Population stability index of two samples over the deciles of the first.

    ``sum((q - p) * ln(q / p))`` with the shares p and q in each bin, none taken below 0.0001. A
    column of at most ten values is counted by its values instead.

    Args:
        train: Finite, ``[N]``.
        test: Finite, ``[M]``.
    """
    edges = np.unique(train)
    if edges.size > _FEW_VALUES:
        edges = np.unique(np.quantile(train, np.arange(1, 10) / 10))
        bins = [np.searchsorted(edges, sample) for sample in (train, test)]
    else:
        # Each value has a bin of its own, with bins for what lies between, below and above.
        bins = [
            np.searchsorted(edges, sample, "left") + np.searchsorted(edges, sample, "right")
            for sample in (train, test)
        ]
    shares = [np.bincount(b, minlength=2 * edges.size + 1) / b.size for b in bins]
    p, q = (np.maximum(share, 1e-4) for share in shares)
    return float(np.sum((q - p) * np.log(q / p)))


def rank_correlation(values: Float) -> Float:
    """Spearman's correlation of each pair of columns, ties at their mean rank.

    Args:
        values: Finite, no column constant, ``[N, k]``.

    Returns:
        ``[k, k]``.
    """
    ranks = np.empty(values.shape)
    for k in range(values.shape[1]):
        _, place, counts = np.unique(values[:, k], return_inverse=True, return_counts=True)
        ranks[:, k] = (np.cumsum(counts) - (counts - 1) / 2)[place]
    ranks -= ranks.mean(axis=0)
    ranks /= np.sqrt((ranks**2).sum(axis=0))
    return np.asarray(ranks.T @ ranks)


def _one_column(series: Float, column: Column) -> list[Finding]:
    name, finite = column.name, np.isfinite(series)
    if not finite.all():
        row, share = int(np.argmin(finite)), float(1 - finite.mean())
        return [
            Finding(
                "not finite",
                name,
                share,
                f"{series[row]} at row {row} after the warm-up, and at {share:.1%} of the rows",
            )
        ]
    found = []
    outside: Mask = (series < column.low) | (series > column.high)
    if outside.any():
        worst = float(series[np.argmax(np.where(outside, np.abs(series), -1.0))])
        bounds = f"[{column.low:g}, {column.high:g}]"
        sentence = f"{worst:g} lies outside its declared {bounds}, as do {outside.sum()} rows"
        found.append(Finding("range", name, worst, sentence))
    if series.max() - series.min() <= NEGLIGIBLE:
        value = float(series[0])
        if (column.low, column.high) == (0.0, 1.0) and value in {0.0, 1.0}:
            sentence = "the gate never closes" if value else "the gate never opens"
            found.append(Finding("gate", name, value, f"{sentence} on these bars"))
        else:
            found.append(Finding("constant", name, value, f"it is {value:g} on all of these bars"))
    return found


def _duplicates(values: Float, names: Sequence[str]) -> list[Finding]:
    if len(names) < 2:
        return []
    sample = values[:: -(-len(values) // _MOST_RANKED)]
    usable = np.ptp(sample, axis=0) > 0.0
    values, names = values[:, usable], [n for n, u in zip(names, usable, strict=True) if u]
    sample = sample[:, usable]
    correlation = rank_correlation(sample)
    found = []
    for i, j in np.argwhere(np.triu(np.abs(correlation) > SAME, 1)):
        if not _same_beside_the_usual(sample[:, [i, j]]):
            continue
        value, other = float(correlation[i, j]), names[i]
        same = np.array_equal(values[:, i], values[:, j])
        how = "row for row" if same else f"with a rank correlation of {value:.3f}"
        sentence = f"it says the same as '{other}', {how}; one of them is enough"
        found.append(Finding("duplicate", names[j], value, sentence, grave=same))
    return found


def _same_beside_the_usual(pair: Float) -> bool:
    """Whether two columns agree where either leaves its usual value; rare events share the rest."""
    off = np.zeros(len(pair), np.bool_)
    for column in pair.T:
        kinds, counts = np.unique(column, return_counts=True)
        off |= column != kinds[counts.argmax()]
    rare = pair[off]
    if 2 * len(rare) > len(pair) or not (np.ptp(rare, axis=0) > 0.0).all():
        return True
    return bool(abs(rank_correlation(rare)[0, 1]) > SAME)


def _drift(train: Float, test: Float, name: str) -> list[Finding]:
    index = stability_index(train, test)
    if index < SHIFTED:
        return []
    grave = index > DRIFTED
    sentence = (
        f"its distribution after the training split differs, PSI {index:.2f} "
        f"(median {np.median(train):.4g}, then {np.median(test):.4g})"
    )
    return [Finding("drift" if grave else "shift", name, index, sentence, grave)]
