"""The pipeline: one selection of features, fitted once, the same in training, backtest and live.

A whole history and a live window go through the same call. Since every feature reads a fixed number
of bars, the newest row of ``lookback`` bars equals the same row of ten years, and only what the
training split taught (feature parameters and the scaler) has to travel in the bundle.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mtquant.errors import ConfigError, DataError, unknown
from mtquant.features.base import Column, Feature, Params
from mtquant.features.cache import computed
from mtquant.features.plugins import stored_plugin
from mtquant.features.registry import Entry, build_features, plugin_record, restore_feature
from mtquant.features.scaler import Float32, Scaler, scale
from mtquant.market.bars import Float
from mtquant.market.panel import Panel


class FeaturePipeline:
    """Features of a selection over fixed symbols, not yet fitted."""

    def __init__(self, selection: Sequence[Entry], symbols: Sequence[str]) -> None:
        """Build the features.

        Args:
            selection: See :func:`mtquant.features.registry.build_features`.
            symbols: Standard names, in observation order.

        Raises:
            ConfigError: The selection is wrong, a feature lacks the symbols that it is to read, or
                there is no symbol.
        """
        if not symbols:
            raise ConfigError("a feature pipeline needs at least one symbol")
        self.features: tuple[Feature, ...] = tuple(build_features(selection))
        self.symbols = tuple(symbols)
        for feature in self.features:
            if len(self.symbols) == 1 and set(feature.parameters().get("against", ())) == {
                *symbols
            }:
                raise ConfigError(
                    f"feature '{feature.key}' holds {self.symbols[0]} against itself; name another "
                    "symbol in 'against'"
                )
        read = dict.fromkeys(name for feature in self.features for name in feature.context)
        #: Symbols that some feature reads beside the one it describes, traded or not.
        self.related = tuple(read)

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """What each output column is, symbol by symbol.

        With one symbol a name is the feature's own (``rsi_14``), with several it is led by the
        symbol's (``XAUUSD.rsi_14``).
        """
        plain = [column for feature in self.features for column in feature.columns]
        if len(self.symbols) == 1:
            return tuple(plain)
        return tuple(
            replace(column, name=f"{symbol}.{column.name}")
            for symbol in self.symbols
            for column in plain
        )

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the output columns, ``S * k`` of them, symbol-major."""
        return tuple(column.name for column in self.columns)

    @cached_property
    def lookback(self) -> int:
        """Bars of each symbol, the newest included, that one row reads."""
        return max(feature.lookback for feature in self.features)

    @property
    def context(self) -> tuple[str, ...]:
        """Related symbols that are not traded."""
        return tuple(name for name in self.related if name not in self.symbols)

    def first_valid(self, panel: Panel) -> int:
        """The first row whose columns are all past their warm-up, hence finite.

        A related symbol has to hold as many bars of its own, and to have begun before the oldest
        bar that a traded symbol's row reads.

        Raises:
            ConfigError: The panel holds other symbols.
            DataError: The panel ends before that row; names the bars that are needed.
        """
        self._expect(panel)
        ready = (panel.row >= self.lookback - 1).all(axis=1)
        oldest = np.maximum(panel.row - self.lookback + 1, 0)
        for bars in map(panel.of, self.related):
            ready &= np.searchsorted(bars.time, panel.time, side="right") >= self.lookback
            for own, rows in zip(panel.bars, oldest.T, strict=True):
                ready &= own.time[rows] >= bars.time[0]
        if not ready.any():
            held = ", ".join(f"{b.symbol} has {len(b)}" for b in (*panel.bars, *panel.context))
            raise DataError(
                f"the selected features read {self.lookback} bars before the first decision and "
                f"{held} bars; give more bars"
            )
        return int(np.argmax(ready))

    def fit(self, train: Panel) -> FittedPipeline:
        """Learn feature parameters and the scaler from the training split alone.

        Args:
            train: Bars of the training split; its own first rows are the warm-up.

        Raises:
            ConfigError: The panel holds other symbols.
            DataError: The panel is shorter than the warm-up.
        """
        first = self.first_valid(train)
        params = tuple(feature.fit(train) for feature in self.features)
        scaler = Scaler.fit(self.compute(train, params)[first:], self.columns)
        return FittedPipeline(self, params, scaler)

    def compute(self, panel: Panel, params: Sequence[Params], last: int | None = None) -> Float:
        """Raw columns, see :meth:`FittedPipeline.raw`."""
        self._expect(panel)
        if last is not None:
            pairs = zip(self.features, params, strict=True)
            blocks = [feature.compute(panel, fitted, last) for feature, fitted in pairs]
            newest = np.concatenate(blocks, axis=2)
            return newest.reshape(len(newest), -1)
        joined = np.empty((len(panel), *self.shape))
        for at, block in self.blocks(panel, params):
            joined[:, :, at] = block
        return joined.reshape(len(panel), -1)

    @property
    def shape(self) -> tuple[int, int]:
        """Symbols, and columns of each."""
        return len(self.symbols), len(self.names) // len(self.symbols)

    def blocks(self, panel: Panel, params: Sequence[Params]) -> Iterator[tuple[slice, Float]]:
        """Each feature's columns over the whole history, and their place among a symbol's."""
        self._expect(panel)
        first = 0
        for block in computed(panel, self.features, params):
            yield slice(first, first + block.shape[2]), block
            first += block.shape[2]

    def _expect(self, panel: Panel) -> None:
        if panel.symbols != self.symbols:
            raise ConfigError(
                f"the features are set up for {', '.join(self.symbols)} and the bars are of "
                f"{', '.join(panel.symbols)}; give the same symbols in the same order"
            )
        held = tuple(bars.symbol for bars in panel.context)
        if set(held) != set(self.context):
            raise ConfigError(
                f"the features read {', '.join(self.context) or 'no symbol'} as context and the "
                f"panel brings {', '.join(held) or 'none'}; give these bars with the others"
            )


@dataclass(frozen=True, eq=False)
class FittedPipeline:
    """Features with all that was learned for them; what a bundle carries.

    Attributes:
        pipeline: The features and symbols.
        params: Learned parameters, one entry per feature.
        scaler: Learned from the training split.
    """

    pipeline: FeaturePipeline
    params: tuple[Params, ...]
    scaler: Scaler

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the output columns, in order."""
        return self.pipeline.names

    @property
    def lookback(self) -> int:
        """Bars of each symbol, the newest included, that one row reads."""
        return self.pipeline.lookback

    def first_valid(self, panel: Panel) -> int:
        """The first row past every warm-up, see :meth:`FeaturePipeline.first_valid`."""
        return self.pipeline.first_valid(panel)

    def raw(self, panel: Panel, last: int | None = None) -> Float:
        """Columns in their own units.

        Args:
            panel: Closed bars of the pipeline's symbols.
            last: With n, only the last n rows (1 or more) are computed and returned.

        Returns:
            float64 ``[T, S * k]``; NaN in each column's warm-up.
        """
        return self.pipeline.compute(panel, self.params, last)

    def transform(self, panel: Panel, last: int | None = None) -> Float32:
        """Scaled columns, float32 ``[T, S * k]`` within 5 of 0; NaN in each column's warm-up."""
        if last is not None:
            return self.scaler.transform(self.raw(panel, last))
        # Feature by feature, so that the raw columns of all never stand in memory together.
        shape = self.pipeline.shape
        centre, width = self.scaler.centre.reshape(shape), self.scaler.width.reshape(shape)
        scaled = np.empty((len(panel), *shape), np.float32)
        for at, block in self.pipeline.blocks(panel, self.params):
            scale(block, centre[:, at], width[:, at], scaled[:, :, at])
        return scaled.reshape(len(panel), -1)

    def latest(self, panel: Panel) -> Float32:
        """The newest row, scaled, float32 ``[1, S * k]``.

        Raises:
            DataError: The panel is still inside the warm-up.
        """
        self.first_valid(panel)
        return self.transform(panel, last=1)

    def positions(self, inputs: Sequence[str]) -> npt.NDArray[np.intp]:
        """Where an agent's inputs stand among the columns, to index a computed array with.

        Args:
            inputs: Column names; with several symbols a name without a symbol means that column of
                each of them.

        Returns:
            Column numbers in the order of ``inputs``.

        Raises:
            ConfigError: An input is no column of this pipeline; names the nearest.
        """
        where = {name: k for k, name in enumerate(self.names)}
        found: list[int] = []
        for name in inputs:
            spread_out = [f"{symbol}.{name}" for symbol in self.pipeline.symbols]
            matches = [where[n] for n in (name, *spread_out) if n in where]
            if not matches:
                raise ConfigError(
                    unknown("input", name, where, cure="(is it among the env's features?)")
                )
            found += matches
        return np.array(found, dtype=np.intp)

    def to_dict(self) -> dict[str, Any]:
        """JSON values for the manifest."""
        return {
            "symbols": list(self.pipeline.symbols),
            "features": [
                {
                    "feature": feature.key,
                    "parameters": feature.parameters(),
                    "columns": list(feature.names),
                    "fitted": dict(params),
                    **plugin_record(feature.key),
                }
                for feature, params in zip(self.pipeline.features, self.params, strict=True)
            ],
            "scaler": self.scaler.to_dict(),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> FittedPipeline:
        """The pipeline that :meth:`to_dict` described.

        Raises:
            ConfigError: A feature, a parameter or a column does not exist here, or the scaler
                belongs to other columns.
            DataError: A field is missing or of another form.
        """
        try:
            stored = [
                (f["feature"], f["parameters"], f["columns"], stored_plugin(f))
                for f in data["features"]
            ]
            params = tuple(dict(f["fitted"]) for f in data["features"])
            symbols, scaler = list(data["symbols"]), Scaler.from_dict(data["scaler"])
        except (KeyError, TypeError, ValueError) as problem:
            raise DataError(f"a stored feature pipeline cannot be read: {problem!r}") from None
        pipeline = FeaturePipeline([restore_feature(*one) for one in stored], symbols)
        if scaler.names != pipeline.names:
            differ = sorted({*scaler.names} ^ {*pipeline.names}) or "their order"
            raise ConfigError(f"the stored scaler and features disagree about {differ}")
        return cls(pipeline, params, scaler)


@cache
def code_digest() -> str:
    """Hash of the sources that compute features, for the manifest and for caches."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        # A checkout on Windows may end its lines differently.
        digest.update(path.name.encode() + b"\0" + path.read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()
