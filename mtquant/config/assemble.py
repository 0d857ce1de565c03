"""From bars and configuration to a tape: the same steps for training, backtest and live."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mtquant.config.schema import EnvConfig, SplitConfig
from mtquant.errors import DataError
from mtquant.features.pipeline import FittedPipeline
from mtquant.jit import Structured
from mtquant.market.panel import Panel
from mtquant.market.symbols import SymbolSpec
from mtquant.risk.sizing import RANGE_PER_DEVIATION
from mtquant.sim.account import Tape
from mtquant.sim.tape import broker_days, contract_rows, market_columns, rules_row

YEAR_NS = 365.25 * 86_400e9
SMALLEST_SPLIT = 200


@dataclass(frozen=True)
class Splits:
    """Rows of the chronological splits, each ``[first, last]`` inclusive.

    Attributes:
        train: Rows to learn from; the first comes after the warm-up.
        validation: Rows to select on.
        test: Rows nobody looks at before the report.
    """

    train: tuple[int, int]
    validation: tuple[int, int]
    test: tuple[int, int]


def split_rows(n_bars: int, warm_up: int, config: SplitConfig) -> Splits:
    """Cut ``n_bars`` rows into train, validation and test with an embargo between them.

    Raises:
        DataError: Too few bars; says how many are needed.
    """
    test = n_bars - round(n_bars * config.test)
    validation = test - round(n_bars * config.validation)
    gap = config.embargo_bars
    splits = Splits(
        train=(warm_up, validation - 1 - gap),
        validation=(validation, test - 1 - gap),
        test=(test, n_bars - 1),
    )
    shortest = min(last - first for first, last in (splits.train, splits.validation, splits.test))
    if shortest < SMALLEST_SPLIT:
        learning = 1.0 - config.test - config.validation
        needed = max(
            (SMALLEST_SPLIT + 2) / config.test,
            (SMALLEST_SPLIT + gap + 2) / config.validation,
            (SMALLEST_SPLIT + gap + warm_up + 2) / learning,
        )
        raise DataError(
            f"{n_bars} bars are too few: a warm-up of {warm_up} bars and three splits of at "
            f"least {SMALLEST_SPLIT} need {int(needed) + 1}; import more history"
        )
    return splits


def bars_per_year(time_ns: npt.NDArray[np.int64]) -> float:
    """Bars a year at the average pace of the data."""
    if len(time_ns) < 2:
        return 1.0
    return float((len(time_ns) - 1) * YEAR_NS / (time_ns[-1] - time_ns[0]))


def market_of(env: EnvConfig, panel: Panel, specs: Sequence[SymbolSpec]) -> Structured:
    """``BAR[T, S]`` of a panel under an env's account and sizing."""
    return market_columns(panel, specs, env.account.currency, env.sizing.atr_bars)


def contracts_of(env: EnvConfig, specs: Sequence[SymbolSpec]) -> Structured:
    """``CONTRACT[S]`` under an env's leverage and costs."""
    costs = env.costs
    points = 0.0 if costs.slippage == "none" else costs.slippage_points
    return contract_rows(specs, env.account.leverage, points, costs.commission_per_lot)


def reward_scale(env: EnvConfig, panel: Panel, specs: Sequence[SymbolSpec]) -> float:
    """Reference volatility times reference leverage.

    The standard deviation of one bar's gross return on equity at ``|action| = 1``, over a
    training panel: with it the reward's ``g`` has unit deviation there.

    Raises:
        DataError: The prices never move, or no position can be sized.
    """
    market = market_of(env, panel, specs)
    gross = np.zeros(len(panel) - 1)
    for s, close in enumerate(closing_prices(market, specs).T):
        worth = close * market["rate"][:, s]
        held = leverage_at_full_size(env, close, market["atr"][:, s])
        gross += held[:-1] * market["rate"][1:, s] * np.diff(close) / worth[:-1]
    scale = float(np.std(gross))
    if not scale > 0.0:
        raise DataError(f"{env.name}: prices never move on the training bars; check the data")
    return scale


def closing_prices(market: Structured, specs: Sequence[SymbolSpec]) -> npt.NDArray[np.float64]:
    """Bid closes in price units, ``[T, S]``, of a market in ticks."""
    fractions = [spec.tick_fraction for spec in specs]
    numerators = np.array([n for n, _ in fractions])
    prices: npt.NDArray[np.float64] = market["close"] * numerators / [d for _, d in fractions]
    return prices


def leverage_at_full_size(
    env: EnvConfig, close: npt.NDArray[np.float64], atr: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Notional over equity at ``|action| = 1``, before rounding to lots, ``[T]``.

    Kelly sizing stands where its record begins; a cap by volume is left aside.
    """
    sizing = env.sizing
    if sizing.method == "fixed_fractional":
        wanted = np.full(close.size, sizing.notional_fraction)
    else:
        risk, distance = sizing.risk_fraction, atr * sizing.atr_multiple
        if sizing.method == "kelly":
            risk = sizing.kelly.prior_risk
        elif sizing.method == "volatility_target":
            risk, distance = sizing.target_per_bar, atr / RANGE_PER_DEVIATION
        wanted = np.divide(risk * close, distance, out=np.zeros(close.size), where=distance > 0)
    capped: npt.NDArray[np.float64] = np.minimum(wanted, env.limits.max_exposure)
    return capped


def assemble_tape(
    env: EnvConfig,
    panel: Panel,
    specs: Sequence[SymbolSpec],
    features: npt.NDArray[np.float32],
    rules: dict[str, float],
    market: Structured | None = None,
) -> Tape:
    """A tape over the whole panel.

    Args:
        env: Account, sizing and costs.
        panel: Bars.
        specs: One per symbol, in the panel's order.
        features: float32 ``[T, F]``, as the agent wants them.
        rules: From :meth:`EnvConfig.rules`.
        market: What :func:`market_of` gave for this panel, where it is at hand already.
    """
    return Tape(
        market=market_of(env, panel, specs) if market is None else market,
        day=broker_days(panel, specs[0]),
        features=features,
        contracts=contracts_of(env, specs),
        rules=rules_row(rules),
    )


def warm_up(pipeline: FittedPipeline, env: EnvConfig) -> int:
    """Bars before the first decision: what the features and the ATR of sizing look back on."""
    return max(pipeline.lookback, env.sizing.atr_bars + 1)
