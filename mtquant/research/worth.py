"""The record of a ranking: what each column is worth, and which ones may be cut.

A column counts as worth something for direction or for size where its information coefficient
survives the correction for all columns and horizons of that kind. Of columns that say the same
(rank correlation above ``ALIKE``, also through others) the one that stands out most leads. Costs
are not counted: quotes that bounce between bid and ask foretell moves that no order can collect.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np

from mtquant.errors import ConfigError
from mtquant.market.bars import Float
from mtquant.market.clock import Mask
from mtquant.research.association import KINDS, groups_of_alike
from mtquant.research.intervals import LEVEL, Estimates, benjamini_hochberg

#: Columns whose rank correlation exceeds this, either way, say the same.
ALIKE = 0.9

Row: TypeAlias = dict[str, str | float | bool]


@dataclass(frozen=True, eq=False)
class Ranking:
    """What ``k`` columns are worth over ``H`` horizons, for direction and for size.

    Attributes:
        market: What was measured.
        names: The columns.
        horizons: Bars that a forward return spans.
        rows: Bars that were measured, of all markets together.
        ic: Spearman's correlation with the forward return and with its size, ``[k, 2, H]``.
        auc: Of the forward return's sign, 0.5 says nothing, ``[k, H]``.
        folds: ``ic`` within consecutive runs of bars, ``[k, 2, H, folds]``.
        alike: Rank correlation of the columns, ``[k, k]``.
        loss: Share of the later part's variance that a ridge regression no longer explains
            without the column, ``[k, 2, H]``.
        group_loss: The same without the column and all that are like it, ``[k, 2, H]``.
        model_r2: Share that all columns together explain, ``[2, H]``.
        model_ic: Spearman's correlation of their forecast with the target, ``[2, H]``.
    """

    market: str
    names: tuple[str, ...]
    horizons: tuple[int, ...]
    rows: int
    ic: Estimates
    auc: Estimates
    folds: Float
    alike: Float
    loss: Estimates
    group_loss: Estimates
    model_r2: Estimates
    model_ic: Estimates

    #: Share of worthless columns whose interval leaves 0 out by chance.
    expected_by_chance = 1.0 - LEVEL

    @property
    def found_beyond(self) -> Float:
        """Share of the columns whose interval leaves 0 out, ``[2, H]``."""
        share: Float = self.ic.beyond.mean(axis=0)
        return share

    @cached_property
    def survives(self) -> Mask:
        """Findings left when at most a tenth of them may be false, by kind, ``[k, 2, H]``."""
        by_kind = [benjamini_hochberg(self.ic.p[:, kind]) for kind in range(len(KINDS))]
        # With few columns the correction is laxer than a single interval: both have to hold.
        survivors: Mask = np.stack(by_kind, axis=1) & self.ic.beyond
        return survivors

    @cached_property
    def stability(self) -> Float:
        """Share of the folds in which ``ic`` has the sign it has overall, ``[k, 2, H]``."""
        agree = np.sign(self.folds) == np.sign(self.ic.value)[..., None]
        share: Float = (agree & (self.folds != 0.0)).mean(axis=-1)
        return share

    @cached_property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """Columns that say the same; the one that stands out most first."""
        found, score = self.survives.any(axis=(1, 2)), self.ic.score.max(axis=(1, 2))
        order = np.lexsort((-score, ~found)).tolist()
        return tuple(
            tuple(self.names[k] for k in order if k in group)
            for group in groups_of_alike(self.alike, ALIKE)
        )

    @cached_property
    def leaders(self) -> dict[str, str]:
        """By column the one that leads its group."""
        return {name: group[0] for group in self.groups for name in group}

    def verdict(self, name: str) -> str:
        """What to do with a column.

        Returns:
            ``constant``, ``nothing shown``, ``like X`` where X says the same better, or what the
            column is worth something for: ``direction``, ``size`` or ``direction, size``.
        """
        k = self.names.index(name)
        if not self.ic.error[k].any():
            return "constant"
        worth = [kind for i, kind in enumerate(KINDS) if self.survives[k, i].any()]
        if worth and self.leaders[name] != name:
            return f"like {self.leaders[name]}"
        return ", ".join(worth) or "nothing shown"

    def rows_of(self, horizon: int) -> list[Row]:
        """A table for one horizon, what stands out most first.

        Names of direction's entries are plain (``ic``, ``ic_low``, ``ic_high``, ``ic_survives``,
        ``stability``, ``loss``, ``loss_low``, ``loss_high``, ``group_loss``), those of size's
        begin with ``size_``; ``auc`` is of the sign. ``column``, ``leader`` and ``verdict`` are
        text.

        Raises:
            ConfigError: The horizon was not measured.
        """
        if horizon not in self.horizons:
            raise ConfigError(f"horizon {horizon} was not measured, only {list(self.horizons)}")
        h = self.horizons.index(horizon)
        score = self.ic.score[:, :, h].max(axis=1)
        return [self._row(int(k), h) for k in np.argsort(-score, kind="stable")]

    def _row(self, k: int, h: int) -> Row:
        name = self.names[k]
        row: Row = {"column": name, "leader": self.leaders[name], "verdict": self.verdict(name)}
        row |= _entries("auc", self.auc[k, h])
        for i, prefix in enumerate(("", "size_")):
            row |= _entries(f"{prefix}ic", self.ic[k, i, h])
            row[f"{prefix}ic_survives"] = bool(self.survives[k, i, h])
            row[f"{prefix}stability"] = float(self.stability[k, i, h])
            row |= _entries(f"{prefix}loss", self.loss[k, i, h])
            row[f"{prefix}group_loss"] = float(self.group_loss.value[k, i, h])
        return row


def pool(rankings: Sequence[Ranking], market: str) -> Ranking:
    """Average over independent markets, such as several seeds of a simulated one.

    Args:
        rankings: Of the same columns and horizons; correlated markets make the intervals too
            narrow.
        market: What they are together, for tables.

    Raises:
        ConfigError: There are none, or they measure different things.
    """
    asked = {(one.names, one.horizons) for one in rankings}
    if len(asked) != 1:
        raise ConfigError(
            f"rankings are pooled if they measure the same columns and horizons, got {len(asked)} "
            "different ones; rank the same selection on every market"
        )
    names, horizons = asked.pop()
    averaged = {
        field: Estimates.pooled([getattr(one, field) for one in rankings])
        for field in ("ic", "auc", "loss", "group_loss", "model_r2", "model_ic")
    }
    return Ranking(
        market=market,
        names=names,
        horizons=horizons,
        rows=sum(one.rows for one in rankings),
        folds=np.concatenate([one.folds for one in rankings], axis=-1),
        alike=np.mean([one.alike for one in rankings], axis=0),
        **averaged,
    )


def _entries(name: str, estimate: Estimates) -> Row:
    return {
        name: float(estimate.value),
        f"{name}_low": float(estimate.low),
        f"{name}_high": float(estimate.high),
    }
