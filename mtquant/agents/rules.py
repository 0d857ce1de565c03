"""Rule agents: the baselines that every learned policy has to beat.

They read raw feature values and need no training. ``configs/agents/NAME.yaml`` names one by its
``kind`` and may set the constructor's parameters.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from mtquant.agents.base import Agent, Float32
from mtquant.errors import ConfigError, unknown
from mtquant.sim.observation import SYMBOL_FEATURES
from mtquant.sim.target import Target


class Rule:
    """An agent that looks at one or a few raw columns of each symbol, the same way for all."""

    inputs: tuple[str, ...] = ()
    scaled = False
    window = 1
    name = "rule"

    def __init__(self, symbols: int = 1, *, stop: float = 0.0, take_profit: float = 0.0) -> None:
        """Set what all rules have.

        Args:
            symbols: How many symbols are traded.
            stop: Distance of its positions' stop, which follows the price, as a fraction of it; 0
                leaves the stop to the env.
            take_profit: Distance of their target, likewise.
        """
        self.symbols = symbols
        self._stop = _within("stop", stop, 0.0, 0.99, closed=True)
        self._take_profit = _within("take_profit", take_profit, 0.0, 0.99, closed=True)

    def predict(
        self,
        observation: Float32,
        state: Any = None,
        episode_start: npt.NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[Float32 | Target, Any]:
        """The action, see :meth:`mtquant.agents.base.Agent.predict`."""
        # Input by input, each with all symbols; the account's columns come symbol by symbol.
        columns = observation[: self.symbols * len(self.inputs)].reshape(-1, self.symbols).T
        held = self._held(observation)
        exposures = [self.exposure(row, now) for row, now in zip(columns, held, strict=True)]
        actions = np.array(exposures, np.float32)
        if self._stop or self._take_profit:
            return Target(actions, self._stop, self._take_profit, self.name), None
        return actions, None

    def exposure(self, inputs: Float32, held: float) -> float:
        """Target exposure of one symbol.

        Args:
            inputs: The symbol's columns, in the order of ``inputs``.
            held: Signed exposure held, as a share of the maximum.
        """
        raise NotImplementedError

    def _held(self, observation: Float32) -> Float32:
        account, width = observation[self.symbols * len(self.inputs) :], len(SYMBOL_FEATURES)
        return account[: width * self.symbols : width]


class Flat(Rule):
    """Never trades."""

    name = "flat"

    def exposure(self, inputs: Float32, held: float) -> float:
        """Zero."""
        return 0.0


class BuyAndHold(Rule):
    """Buys on the first bar, then holds what it bought."""

    name = "buy_and_hold"

    def __init__(self, symbols: int = 1, *, exposure: float = 1.0) -> None:
        """Set the rule.

        Args:
            symbols: How many symbols are traded.
            exposure: Share of full size that is bought, in (0, 1].
        """
        super().__init__(symbols)
        self.size = _within("exposure", exposure, 0.0, 1.0)

    def exposure(self, inputs: Float32, held: float) -> float:
        """Its size once; NaN keeps what is held."""
        return float("nan") if held > 0.0 else self.size


class EmaCross(Rule):
    """Follows the sign of the gap between a fast and a slow exponential average."""

    name = "ema_cross"
    inputs = ("ema_gap_20_50",)

    def __init__(
        self,
        symbols: int = 1,
        *,
        exposure: float = 1.0,
        band: float = 0.0,
        stop: float = 0.0,
        take_profit: float = 0.0,
    ) -> None:
        """Set the rule.

        Args:
            symbols: How many symbols are traded.
            exposure: Size of either position, in (0, 1].
            band: Gap below which what is held stays.
            stop: See :class:`Rule`.
            take_profit: Likewise.
        """
        super().__init__(symbols, stop=stop, take_profit=take_profit)
        self.size = _within("exposure", exposure, 0.0, 1.0)
        self.band = _within("band", band, 0.0, 1.0, closed=True)

    def exposure(self, inputs: Float32, held: float) -> float:
        """Long above the slow average, short below."""
        gap = float(inputs[0])
        if abs(gap) <= self.band:
            return float("nan")
        return self.size if gap > 0.0 else -self.size


class RsiReversion(Rule):
    """Buys when RSI is low, sells when it is high, leaves in the middle."""

    name = "rsi_reversion"
    inputs = ("rsi_14",)

    def __init__(
        self,
        symbols: int = 1,
        *,
        low: float = 30.0,
        high: float = 70.0,
        exposure: float = 1.0,
        stop: float = 0.0,
        take_profit: float = 0.0,
    ) -> None:
        """Set the rule.

        Args:
            symbols: How many symbols are traded.
            low: RSI below which it buys.
            high: RSI above which it sells.
            exposure: Size of either position, in (0, 1].
            stop: See :class:`Rule`.
            take_profit: Likewise.
        """
        super().__init__(symbols, stop=stop, take_profit=take_profit)
        self.low = _within("low", low, 0.0, 50.0)
        self.high = _within("high", high, 50.0, 100.0, closed=True)
        self.size = _within("exposure", exposure, 0.0, 1.0)

    def exposure(self, inputs: Float32, held: float) -> float:
        """Against the extreme; out once RSI has crossed 50."""
        rsi = float(inputs[0])
        if rsi < self.low:
            return self.size
        if rsi > self.high:
            return -self.size
        if held * (rsi - 50.0) > 0.0:
            return 0.0
        return float("nan")


RULES: dict[str, Callable[..., Rule]] = {
    rule.name: rule for rule in (Flat, BuyAndHold, EmaCross, RsiReversion)
}


def build_rule(kind: str, params: dict[str, Any], symbols: int) -> Agent:
    """A rule agent by registry key.

    Raises:
        ConfigError: Unknown kind or parameter (names the nearest), or a value out of range.
    """
    if kind not in RULES:
        raise ConfigError(unknown("rule", kind, RULES))
    known = [name for name in inspect.signature(RULES[kind]).parameters if name != "symbols"]
    for name in params:
        if name not in known:
            raise ConfigError(f"agent {kind}: {unknown('parameter', name, known)}")
    try:
        return RULES[kind](symbols, **params)
    except (TypeError, ConfigError) as error:
        raise ConfigError(f"agent {kind}: {error}") from None


def _within(name: str, value: float, low: float, high: float, *, closed: bool = False) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    inside = number and (low <= value <= high if closed else low < value <= high)
    if not inside:
        raise ConfigError(f"{name} = {value!r} must be a number between {low} and {high}")
    return float(value)
