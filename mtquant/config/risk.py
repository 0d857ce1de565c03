"""Risk profiles, ``configs/risk.yaml``: named sets of sizing, limits and breaker.

A profile sets some keys of an env. :func:`apply_risk` sets exactly those, for training and
backtest. :func:`tighten` is for a bundle that goes to market: of each key the stricter of the two
values holds, so that a profile never loosens what an agent was trained and tested under.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import BaseModel

from mtquant.config.challenge import RuleSet
from mtquant.config.limits import LimitsConfig, open_minutes
from mtquant.config.load import Found, find, load_symbols, read_yaml, validate
from mtquant.config.rules import BreakerConfig, SizingConfig
from mtquant.config.schema import EnvConfig
from mtquant.errors import ConfigError, one_line, unknown
from mtquant.market.model import Frozen, folder_name
from mtquant.risk.gates import EVERY_SYMBOL

RISK = "configs/risk.yaml"
DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")

Hours = dict[str, str] | None


class RiskProfile(Frozen):
    """Sections of an env, of which only the keys that were given count."""

    sizing: SizingConfig = SizingConfig()
    limits: LimitsConfig = LimitsConfig()
    breaker: BreakerConfig = BreakerConfig()

    def among(self, symbols: tuple[str, ...]) -> RiskProfile:
        """The profile without what it says of symbols other than these."""
        limits = self.limits
        kept: dict[str, Any] = {}
        if limits.leverage:
            kept["leverage"] = {s: most for s, most in limits.leverage.items() if s in symbols}
        if limits.prohibited:
            everywhere = (*symbols, EVERY_SYMBOL)
            kept["prohibited"] = tuple(p for p in limits.prohibited if p.symbol in everywhere)
        return self.model_copy(update={"limits": limits.model_copy(update=kept)})


class Tightened(NamedTuple):
    """A key that a profile has made stricter.

    Attributes:
        key: Its place in the env, such as ``limits.max_exposure``.
        before: The bundle's own value.
        after: The value that holds now.
    """

    key: str
    before: Any
    after: Any

    def __str__(self) -> str:
        return f"{self.key} {_written(self.key, self.before)} -> {_written(self.key, self.after)}"


def load_risk(name: str) -> tuple[RiskProfile, Found]:
    """The profile called ``name`` in the nearest ``configs/risk.yaml``.

    Raises:
        ConfigError: Unknown name (with the nearest), key, value or symbol.
    """
    found = find(RISK)
    if found is None:
        raise ConfigError(f"no {RISK} here and none in the package; reinstall mtquant")
    listed = _profiles(found.path)
    if name not in listed:
        raise ConfigError(unknown("risk profile", name, listed))
    where = f"{found.path}: {name}"
    profile = validate(RiskProfile, listed[name], where)
    known = load_symbols().names
    for symbol in sorted(profile.limits.named_symbols.difference(known)):
        raise ConfigError(f"{where}: limits: {unknown('symbol', symbol, known)}")
    return profile, found


def _profiles(path: Path) -> dict[str, Any]:
    """The settings of each profile, unchecked, by names that can be typed and shown."""
    listed = read_yaml(path)
    if not isinstance(listed, dict):
        raise ConfigError(f"'{path}' must map names of risk profiles to their settings")
    for name in listed:
        if not isinstance(name, str):
            said = one_line(repr(name), 60)
            raise ConfigError(f"'{path}': the name of a profile is {said}; put it in quotes")
        try:
            folder_name(name)
        except ValueError as error:
            raise ConfigError(f"'{path}': {error}") from None
    return listed


def apply_risk(env: EnvConfig, profile: RiskProfile) -> EnvConfig:
    """An env with exactly the keys of a profile set; ``leverage`` symbol by symbol.

    Raises:
        ConfigError: The two do not go together.
    """
    changes = {}
    for key, mine, theirs in _set_keys(env, profile.among(env.symbols)):
        changes[key] = {**mine, **theirs} if key == "limits.leverage" else theirs
    return _changed(env, changes)


def tighten(env: EnvConfig, profile: RiskProfile) -> tuple[EnvConfig, tuple[Tightened, ...]]:
    """An env under a profile where that is stricter, and what it has changed.

    The policy goes on seeing its account in the units that it was trained with.

    Raises:
        ConfigError: The two do not go together.
    """
    tightened = []
    for key, mine, theirs in _set_keys(env, profile.among(env.symbols)):
        aside = key in DETAILS and _is_off(env, DETAILS[key])
        stricter = theirs if aside else STRICTER[key](mine, theirs)
        if stricter != mine:
            tightened.append(Tightened(key, mine, stricter))
    changes = {one.key: one.after for one in tightened}
    if "breaker.daily_loss" in changes:
        changes["units.day_loss"] = env.units.day_loss or env.breaker.daily_loss[2]
    return _changed(env, changes), tuple(tightened)


def _set_keys(
    env: BaseModel, profile: BaseModel, section: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    """Place, value of the env and value of the profile for each key that the profile sets."""
    for name in type(profile).model_fields:
        if name in profile.model_fields_set:
            mine, theirs = getattr(env, name), getattr(profile, name)
            if isinstance(theirs, BaseModel) and not isinstance(theirs, RuleSet):
                yield from _set_keys(mine, theirs, f"{section}{name}.")
            else:
                yield section + name, mine, theirs


def _changed(env: EnvConfig, changes: Mapping[str, Any]) -> EnvConfig:
    # The reward as it is: a bundle may name one that is not looked up here.
    values = {**env.model_dump(), "reward": env.reward}
    for key, value in changes.items():
        *sections, name = key.split(".")
        place = values
        for section in sections:
            place = place[section]
        place[name] = value
    return validate(EnvConfig, values, f"env {env.name} under the risk profile")


def _is_off(env: EnvConfig, key: str) -> bool:
    """Whether a setting whose default is off stands at its default."""
    section, name = key.split(".")
    values: BaseModel = getattr(env, section)
    return bool(getattr(values, name) == type(values).model_fields[name].default)


def _written(key: str, value: Any) -> str:
    if value == {}:
        return "never" if key == "limits.hours" else "off"
    if value is None:
        return "off"
    if isinstance(value, tuple) and any(isinstance(one, BaseModel) for one in value):
        return f"{len(value)} entries"
    if isinstance(value, RuleSet):
        return "on"
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def _own(mine: Any, theirs: Any) -> Any:
    """Neither is stricter."""
    return mine


def _own_if_any(mine: Any, theirs: Any) -> Any:
    """Neither is stricter, but none at all."""
    return theirs if mine is None else mine


def _less(mine: Any, theirs: Any) -> Any:
    """The smaller; None is off."""
    return min((one for one in (mine, theirs) if one is not None), default=None)


def _more(mine: Any, theirs: Any) -> Any:
    """The larger; None is off."""
    return max((one for one in (mine, theirs) if one is not None), default=None)


def _more_or_none(mine: Any, theirs: Any) -> Any:
    """The larger; None is more than any."""
    return None if mine is None or theirs is None else max(mine, theirs)


def _less_but_zero(mine: int, theirs: int) -> int:
    """The smaller; 0 is off."""
    return min(mine, theirs) or max(mine, theirs)


def _less_each(mine: tuple[float, ...], theirs: tuple[float, ...]) -> tuple[float, ...]:
    """The smaller, place by place: levels that rise still do."""
    return tuple(map(min, mine, theirs))


def _reject(mine: str, theirs: str) -> str:
    """``reject`` before ``warn``."""
    return min(mine, theirs)


def _less_by_symbol(mine: dict[str, float], theirs: dict[str, float]) -> dict[str, float]:
    """The smaller of each symbol; one that is not named is off."""
    return {s: _less(mine.get(s), theirs.get(s)) for s in {**mine, **theirs}}


def _both(mine: tuple[Any, ...], theirs: tuple[Any, ...]) -> tuple[Any, ...]:
    """The entries of both."""
    return (*mine, *(one for one in theirs if one not in mine))


def _common_hours(mine: Hours, theirs: Hours) -> Hours:
    """The minutes that both hold open; None is off, empty is never."""
    if mine is None or theirs is None:
        return theirs if mine is None else mine
    open_in_both = open_minutes(mine) & open_minutes(theirs)
    if np.array_equal(open_in_both, open_minutes(mine)):
        return mine
    week = {}
    for day, minutes in zip(DAYS, open_in_both.reshape(7, -1), strict=True):
        edges = np.flatnonzero(np.diff(minutes, prepend=False, append=False))
        if edges.size:
            times = [f"{edge // 60:02d}:{edge % 60:02d}" for edge in edges]
            week[day] = ", ".join(map("-".join, zip(times[::2], times[1::2], strict=True)))
    return week


# Which of two values is the stricter.
STRICTER: dict[str, Callable[[Any, Any], Any]] = {
    "sizing.method": _own,
    "sizing.risk_fraction": _less,
    "sizing.atr_bars": _own,
    "sizing.atr_multiple": _more,
    "sizing.notional_fraction": _less,
    "sizing.rebalance_band": _own,
    "sizing.min_change_steps": _own,
    "sizing.kelly.fraction": _less,
    "sizing.kelly.max_risk_fraction": _less,
    "sizing.kelly.prior_trades": _own,
    "sizing.kelly.prior_win_rate": _own,
    "sizing.kelly.prior_payoff": _own,
    "sizing.target_volatility": _less,
    "sizing.bars_per_year": _own,
    "sizing.max_volume_share": _less,
    "limits.max_exposure": _less,
    "limits.max_position": _less,
    "limits.max_lots": _less,
    "limits.max_daily_volume_share": _less,
    "limits.max_class_exposure": _less,
    "limits.max_correlation": _less,
    "limits.correlation_bars": _own,
    "limits.on_correlation": _reject,
    "limits.min_balance": _more,
    "limits.max_positions": _less,
    "limits.order_budget": _less,
    "limits.day_budget": _less,
    "limits.trades_per_day": _less,
    "limits.max_day_trades": _less,
    "limits.day_trade_equity": _more_or_none,
    "limits.cooldown_bars": _more,
    "limits.max_holding_bars": _less,
    "limits.leverage": _less_by_symbol,
    "limits.max_spread_fraction": _less,
    "limits.max_spread_points": _less,
    "limits.min_volume": _more,
    "limits.min_day_value": _more,
    "limits.min_price": _more,
    "limits.price_band": _less,
    "limits.hours": _common_hours,
    "limits.prohibited": _both,
    "breaker.daily_loss": _less_each,
    "breaker.shrink": _less,
    "breaker.weekly_loss": _less,
    "breaker.weekly_loss_level": _more,
    "breaker.drawdown": _less,
    "breaker.drawdown_level": _more,
    "breaker.start_loss": _less,
    "breaker.start_loss_level": _more,
    "breaker.losing_run": _less_but_zero,
    "breaker.losing_run_level": _more,
    "breaker.rules": _own_if_any,
    "breaker.rules_margin": _more,
    "breaker.shed": _more,
    "breaker.on_level_3": _more,  # stay_flat comes after reset
    "breaker.cooldown_minutes": _more,
    "breaker.max_errors": _less_but_zero,
    "breaker.error_bars": _more,
}

# What the key says a detail of: where that is off in the env, the detail is the profile's.
DETAILS = {
    "limits.correlation_bars": "limits.max_correlation",
    "limits.on_correlation": "limits.max_correlation",
    "limits.day_trade_equity": "limits.max_day_trades",
    "breaker.weekly_loss_level": "breaker.weekly_loss",
    "breaker.drawdown_level": "breaker.drawdown",
    "breaker.start_loss_level": "breaker.start_loss",
    "breaker.losing_run_level": "breaker.losing_run",
    "breaker.rules_margin": "breaker.rules",
}
