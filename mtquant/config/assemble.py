"""From bars and configuration to a tape: the same steps for training, backtest and live."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import numpy as np
import numpy.typing as npt

from mtquant.config.schema import EnvConfig, SplitConfig
from mtquant.errors import DataError
from mtquant.features.pipeline import FittedPipeline
from mtquant.jit import Structured
from mtquant.market.panel import Panel
from mtquant.market.symbols import SymbolSpec
from mtquant.market.timeframe import Timeframe
from mtquant.risk.sizing import RANGE_PER_DEVIATION
from mtquant.sim.account import Tape
from mtquant.sim.correlation import pair_correlations
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
    gates = env.limits.gates()
    return market_columns(panel, specs, env.account.currency, env.sizing.atr_bars, gates)


def contracts_of(env: EnvConfig, specs: Sequence[SymbolSpec]) -> Structured:
    """``CONTRACT[S]`` under an env's leverage and costs."""
    costs = env.costs
    points = 0.0 if costs.slippage == "none" else costs.slippage_points
    return contract_rows(
        specs,
        env.account.leverage,
        points,
        costs.commission_per_lot,
        timeframe=Timeframe.parse(env.timeframe),
        most_leverage=env.limits.leverage,
    )


def correlation_of(env: EnvConfig, market: Structured) -> npt.NDArray[np.float32]:
    """The tape's correlations, no columns where no limit reads them."""
    if env.limits.max_correlation is None or market.shape[1] == 1:
        return np.zeros((0, 0), np.float32)
    return pair_correlations(market, env.limits.correlation_bars)


def reward_scale(env: EnvConfig, panel: Panel, specs: Sequence[SymbolSpec]) -> float:
    """Reference volatility times reference leverage.

    The standard deviation of one bar's gross return on equity at ``|action| = 1``, over a
    training panel: with it the reward's ``g`` has unit deviation there.

    Raises:
        DataError: The prices never move, or no position can be sized.
    """
    market = market_of(env, panel, specs)
    gross = np.zeros(len(panel) - 1)
    for bars in market.T:
        held = leverage_at_full_size(env, bars) / (bars["close"] * bars["value"])
        gross += held[:-1] * bars["value"][1:] * np.diff(bars["close"])
    scale = float(np.std(gross))
    if not scale > 0.0:
        raise DataError(f"{env.name}: prices never move on the training bars; check the data")
    return scale


def leverage_at_full_size(env: EnvConfig, bars: Structured) -> npt.NDArray[np.float64]:
    """Notional over equity at ``|action| = 1``, before rounding to lots, in the shape of ``bars``.

    Kelly sizing stands where its record begins; caps by volume and lots are left aside.
    """
    sizing, close, atr = env.sizing, bars["close"], bars["atr"]
    if sizing.method in ("fixed_fractional", "fixed_at_start"):
        wanted = np.full(close.shape, sizing.notional_fraction)
    else:
        risk, distance = sizing.risk_fraction, atr * sizing.atr_multiple
        if sizing.method == "kelly":
            risk = sizing.kelly.prior_risk
        elif sizing.method == "volatility_target":
            risk, distance = sizing.target_per_bar, atr / RANGE_PER_DEVIATION
        wanted = np.divide(risk * close, distance, out=np.zeros(close.shape), where=distance > 0)
    most = min(env.limits.max_exposure, env.limits.max_position or inf)
    capped: npt.NDArray[np.float64] = np.minimum(wanted, most)
    return capped


def full_size_steps(env: EnvConfig, bars: Structured, equity: float) -> int:
    """Lot steps of one symbol that ``equity`` buys at ``|action| = 1``, median over ``bars``."""
    notional = bars["close"] * bars["value"]
    return int(np.median(leverage_at_full_size(env, bars) * equity / notional) + 1e-9)


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
    market = market_of(env, panel, specs) if market is None else market
    return Tape(
        market=market,
        day=broker_days(panel, specs[0]),
        features=features,
        contracts=contracts_of(env, specs),
        rules=rules_row(rules),
        correlation=correlation_of(env, market),
    )


def look_back(env: EnvConfig) -> int:
    """Closed bars that sizing and checks read beside the newest."""
    correlated = env.limits.max_correlation is not None and len(env.symbols) > 1
    return max(env.sizing.atr_bars, env.limits.correlation_bars if correlated else 0)


def warm_up(pipeline: FittedPipeline, env: EnvConfig) -> int:
    """Bars before the first decision: what the features, sizing and checks look back on."""
    return max(pipeline.lookback, look_back(env) + 1)
