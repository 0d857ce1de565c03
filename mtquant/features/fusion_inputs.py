"""The fusion's 23 inputs by name: what a learned base network would read, in the documents' order.

They repeat columns of other features under names of their own, so that a selection may hold both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from mtquant.errors import ConfigError, unknown
from mtquant.features.base import PARAMETERS, BaseFeature, Column, Params, in_stretches
from mtquant.features.fusion import (
    WEIGHTS,
    Weight,
    analysers,
    blank_warm_up,
    build,
    check_weights,
    compute_parts,
    contribution,
    fuse_columns,
)
from mtquant.features.oscillators import Adx, InternalBarStrength, Rsi, StochasticK
from mtquant.features.quantum import QuantumState
from mtquant.features.technical import Atr, BollingerPosition, EmaGap, MacdHistogram
from mtquant.features.volatility import AtrRegime
from mtquant.market.bars import Float
from mtquant.market.panel import Panel

#: The analysers whose contributions are inputs, in the documents' order.
LAYERS = ("lstm", "bars3d", "qpe", "volatility", "strength")

#: Seven columns of the quantum state and the technical eight.
_COPIED: tuple[type[BaseFeature], ...] = (
    QuantumState,
    Rsi,
    MacdHistogram,
    BollingerPosition,
    Atr,
    EmaGap,
    Adx,
    StochasticK,
    InternalBarStrength,
)


@dataclass(frozen=True, config=PARAMETERS)
class FusionInputs(BaseFeature):
    """The 23 inputs of the fusion: 7 quantum, 8 technical, 5 contributions and 3 of the market.

    Formula:
        ``input_`` + the quantum state's seven columns and the technical eight, as they are;
        input_lstm, input_bars3d, input_qpe, input_volatility, input_strength: weight * signal;
        input_correlation: mean correlation with the context symbols, 0 without any;
        input_clean: 1 in the CLEAN regime; input_volatility_level: LOW 0, NORMAL 0.5, HIGH 1
    Source:
        The seed documents.
    Weakness:
        Nothing here is new: each column can be selected on its own. ``input_lstm`` is 0 until a
        model fills it.

    Attributes:
        weights: By analyser, 1 in all; what is not named weighs 0.
        against: Context symbols for the currency strength and the correlation.
        seed: Whether every part takes the documents' constants.
    """

    key: ClassVar[str] = "fusion_inputs"
    group: ClassVar[str] = "fusion"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"seed": {"seed": True}}

    weights: dict[str, Weight] = Field(default_factory=lambda: dict(WEIGHTS))
    against: tuple[str, ...] = ()
    seed: bool = False

    def __post_init__(self) -> None:
        check_weights(self.weights)
        _ = self.parts  # their parameters are checked here too

    @cached_property
    def copied(self) -> tuple[BaseFeature, ...]:
        """The features whose columns are inputs as they are, in order."""
        return tuple(build(kind, self.seed) for kind in _COPIED)

    @cached_property
    def parts(self) -> dict[str, BaseFeature]:
        """All features that it reads, by name."""
        others = {part.key: part for part in (*self.copied, build(AtrRegime, self.seed))}
        return {**analysers(self.against, self.seed), **others}

    @property
    def columns(self) -> tuple[Column, ...]:
        """The inputs, in the documents' order."""
        plain = [column for part in self.copied for column in part.columns]
        return (
            *(replace(column, name=f"input_{column.name}") for column in plain),
            *(contribution(name, self.weights, "input_") for name in LAYERS),
            Column("input_correlation", "mean with the context", -1.0, 1.0, fitted=False),
            Column("input_clean", "1 in the CLEAN regime", 0.0, 1.0, fitted=False),
            Column("input_volatility_level", "LOW 0, NORMAL 0.5, HIGH 1", 0.0, 1.0, fitted=False),
        )

    @property
    def lookback(self) -> int:
        """That of the part that reads most."""
        return max(part.lookback for part in self.parts.values())

    @property
    def context(self) -> tuple[str, ...]:
        """The symbols of the currency strength."""
        return self.against

    def fit(self, train: Panel) -> Params:
        """What each part learns, by its name."""
        return {name: part.fit(train) for name, part in self.parts.items()}

    @in_stretches
    def compute(self, panel: Panel, params: Params, last: int | None = None) -> Float:
        """The inputs of every symbol, NaN until the last part has warmed up."""
        columns = compute_parts(self.parts, panel, params, last)
        added = fuse_columns(columns, self.weights).contributions
        inputs = [columns[name] for part in self.copied for name in part.names]
        inputs += [added[name] for name in LAYERS]
        inputs.append(self._correlation(columns, panel.symbols))
        inputs += [columns["regime_clean"], columns["atr_level"]]
        return blank_warm_up(np.stack(inputs, axis=2), columns)

    def _correlation(self, columns: Mapping[str, Float], symbols: tuple[str, ...]) -> Float:
        """Mean over the context symbols but the symbol itself, ``[T, S]``; 0 without any."""
        result = np.zeros_like(columns["regime_clean"])
        for s, symbol in enumerate(symbols):
            others = [name for name in self.against if name != symbol]
            for name in others:
                result[:, s] += columns[f"corr_{name}"][:, s]
            result[:, s] /= max(len(others), 1)
        return result


def fusion_inputs(
    panel: Panel,
    feature: FusionInputs | None = None,
    params: Params | None = None,
    learned: Mapping[str, Float] | None = None,
) -> dict[str, Float]:
    """The 23 inputs of a learned fusion, by name.

    Args:
        panel: Closed bars.
        feature: Which variant; the default one if none.
        params: What its ``fit`` returned; fitted on the panel if none.
        learned: Signals of learned layers, such as ``{"lstm": signal}``, ``[T, S]`` in [-1, 1].

    Returns:
        ``[T, S]`` by name, in the documents' order; NaN in the warm-up.

    Raises:
        ConfigError: A learned layer is none of the inputs.
    """
    chosen = feature or FusionInputs()
    values = chosen.compute(panel, chosen.fit(panel) if params is None else params)
    inputs = {name: values[:, :, k] for k, name in enumerate(chosen.names)}
    for layer, signal in (learned or {}).items():
        if layer not in LAYERS:
            raise ConfigError(unknown("layer of the fusion", layer, LAYERS))
        inputs[f"input_{layer}"] = np.clip(signal, -1.0, 1.0) * chosen.weights.get(layer, 0.0)
    return inputs
