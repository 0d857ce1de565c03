"""What a feature is: named columns, the bars one row needs, and a causal function of bars.

A feature never sees prices of another clock, never fills a gap and never scales itself: it computes
on each symbol's own bars, is placed on the panel's clock, and is scaled later by what the training
split alone has taught. Its constructor's arguments are its whole configuration.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, wraps
from typing import Any, ClassVar, Protocol, TypeAlias, TypeVar, cast, runtime_checkable

import numpy as np
from pydantic import ConfigDict

from mtquant.errors import ConfigError, unknown
from mtquant.market.bars import Bars, Float
from mtquant.market.panel import Panel

#: What ``fit`` learned, ready for the manifest: JSON values only.
Params: TypeAlias = Mapping[str, Any]

Compute = TypeVar("Compute", bound=Callable[..., Float])

#: Rows of a long history that are computed at a time: what a feature makes on its way then stays in
#: the processor's cache, and memory does not grow with the history.
STRETCH = 32_768

#: For the pydantic dataclasses that features are: unknown parameters are refused, and so is a text
#: or a yes in the place of a number.
PARAMETERS = ConfigDict(extra="forbid", strict=True)


@dataclass(frozen=True)
class Column:
    """One number per bar, and what a reader of the observation must know about it.

    Attributes:
        name: Unique within a selection, such as ``rsi_14``.
        meaning: One line for tables.
        low: Smallest value there can be; ``-inf`` where prices set no limit.
        high: Largest value there can be.
        fitted: Whether the scaler learns centre and width from the training split. Otherwise it
            maps ``[low, high]`` to ``[-1, 1]``, the same in every bundle.
    """

    name: str
    meaning: str
    low: float = -np.inf
    high: float = np.inf
    fitted: bool = True

    def __post_init__(self) -> None:
        if not self.fitted and not (np.isfinite(self.low) and self.low < self.high < np.inf):
            raise ConfigError(
                f"column '{self.name}' is not fitted and needs finite bounds, "
                f"got [{self.low}, {self.high}]"
            )


@runtime_checkable
class Feature(Protocol):
    """Causal columns for every symbol of a panel.

    Column ``t`` uses bars up to and including ``t``: cutting or altering later bars changes no
    earlier row, bit for bit. Rows before ``lookback`` bars are NaN, all others are finite.
    """

    @property
    def key(self) -> str:
        """Name in the registry."""

    @property
    def group(self) -> str:
        """Group in the registry."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """One entry per column, in order."""

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names."""

    @property
    def lookback(self) -> int:
        """Bars, the newest included, after which a row equals that of an infinite history."""

    @property
    def context(self) -> tuple[str, ...]:
        """Symbols that it reads besides the one it describes."""

    def parameters(self) -> dict[str, Any]:
        """The constructor's arguments, as JSON values."""

    def fit(self, train: Panel) -> Params:
        """What has to be learned from the training split; JSON values."""

    def compute(self, panel: Panel, params: Params, last: int | None = None) -> Float:
        """The columns of every symbol.

        Args:
            panel: Closed bars.
            params: What :meth:`fit` returned.
            last: With n, only the last n rows (1 or more) are computed and returned.

        Returns:
            float64 ``[T, S, k]``.
        """


class BaseFeature(ABC):
    """What all features of this room share; subclasses are frozen pydantic dataclasses."""

    key: ClassVar[str]
    group: ClassVar[str]
    #: Named sets of parameters, such as ``seed``, the constants of the original documents.
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    @property
    @abstractmethod
    def columns(self) -> tuple[Column, ...]:
        """One entry per column, in order."""

    @property
    @abstractmethod
    def lookback(self) -> int:
        """Bars, the newest included, that one row reads."""

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The columns' names; describing them anew would cost more than a live row."""
        return tuple(column.name for column in self.columns)

    @property
    def n_columns(self) -> int:
        """Number of columns."""
        return len(self.names)

    @property
    def context(self) -> tuple[str, ...]:
        """No other symbols, unless a subclass says otherwise."""
        return ()

    def parameters(self) -> dict[str, Any]:
        """The constructor's arguments, as JSON values."""
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        values = {field.name: getattr(self, field.name) for field in fields}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}

    def fit(self, train: Panel) -> Params:
        """Nothing to learn, unless a subclass says otherwise."""
        return {}

    @abstractmethod
    def compute(self, panel: Panel, params: Params, last: int | None = None) -> Float:
        """The columns of every symbol, see :meth:`Feature.compute`."""


def in_stretches(compute: Compute) -> Compute:
    """A ``compute`` that goes through long histories a stretch of rows at a time.

    Only for features whose row is the same bits whatever stands before its ``lookback`` bars.
    """

    @wraps(compute)
    def stretched(
        self: BaseFeature, panel: Panel, params: Params, last: int | None = None
    ) -> Float:
        if last is not None or len(panel) <= STRETCH:
            return compute(self, panel, params, last)
        values = np.empty((len(panel), len(panel.symbols), self.n_columns))
        for start in range(0, len(panel), STRETCH):
            known = panel[: start + STRETCH]
            values[start : len(known)] = compute(self, known, params, len(known) - start)
        return values

    return cast(Compute, stretched)


class SymbolFeature(BaseFeature):
    """A feature that looks at one symbol's own bars and at nothing else."""

    def learn(self, bars: Bars) -> Params:
        """What one symbol's training bars teach; nothing, unless a subclass says otherwise."""
        return {}

    def fit(self, train: Panel) -> Params:
        """What each symbol's training bars taught, by symbol."""
        learned = {bars.symbol: self.learn(bars) for bars in train.bars}
        return {symbol: params for symbol, params in learned.items() if params}

    @abstractmethod
    def on_bars(self, bars: Bars, params: Params) -> Sequence[Float]:
        """The columns over one symbol's bars.

        Args:
            bars: ``T`` closed bars.
            params: What :meth:`learn` returned for this symbol.

        Returns:
            One array ``[T]`` per column; its first ``lookback - 1`` rows are not used.
        """

    @in_stretches
    def compute(self, panel: Panel, params: Params, last: int | None = None) -> Float:
        """The columns on the panel's clock, see :meth:`Feature.compute`."""
        rows = panel.row if last is None else panel.row[-last:]
        own = [
            self._from_row(int(row), bars, params.get(bars.symbol, {}))
            for bars, row in zip(panel.bars, rows[0], strict=True)
        ]
        return panel.place(own, last)

    def _from_row(self, row: int, bars: Bars, params: Params) -> Float:
        """Columns ``[T - row, k]`` from a row on; NaN in the warm-up."""
        row, settled = max(row, 0), self.lookback - 1
        first = max(row - settled, 0)
        values = np.empty((len(bars) - row, self.n_columns))
        values[: first + settled - row] = np.nan
        if first + settled < len(bars):
            columns = self.on_bars(bars[first:] if first else bars, params)
            for k, column in enumerate(columns):
                values[first + settled - row :, k] = column[settled:]
        return values


@dataclass(frozen=True)
class Picked:
    """Some columns of a feature, where a selection names columns one by one."""

    feature: Feature
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        for name in self.names:
            if name not in self.feature.names:
                raise ConfigError(unknown("column", name, self.feature.names))

    @property
    def key(self) -> str:
        """Name of the whole feature in the registry."""
        return self.feature.key

    @property
    def group(self) -> str:
        """Group of the whole feature."""
        return self.feature.group

    @property
    def columns(self) -> tuple[Column, ...]:
        """The picked columns."""
        return tuple(self.feature.columns[k] for k in self._positions)

    @property
    def lookback(self) -> int:
        """That of the whole feature."""
        return self.feature.lookback

    @property
    def context(self) -> tuple[str, ...]:
        """Those of the whole feature."""
        return self.feature.context

    @cached_property
    def _positions(self) -> list[int]:
        names = self.feature.names
        return [names.index(name) for name in self.names]

    def parameters(self) -> dict[str, Any]:
        """The whole feature's parameters."""
        return self.feature.parameters()

    def fit(self, train: Panel) -> Params:
        """What the whole feature learns."""
        return self.feature.fit(train)

    def compute(self, panel: Panel, params: Params, last: int | None = None) -> Float:
        """The picked columns, see :meth:`Feature.compute`."""
        return self.feature.compute(panel, params, last)[:, :, self._positions]
