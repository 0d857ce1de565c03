"""How a runner behaves, and whose account it may trade."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mtquant.brokers.base import AccountState, Instrument
from mtquant.config.live import LiveLimits
from mtquant.config.schema import EnvConfig
from mtquant.errors import ConfigError
from mtquant.live.breaker_log import KEPT, REAL_CLOCK
from mtquant.live.intents import MOST_SYMBOLS
from mtquant.live.journal import Journal
from mtquant.market.timeframe import Timeframe


@dataclass(frozen=True)
class RunnerSettings:
    """How a runner behaves.

    Attributes:
        strategy: Its name; orders carry a tag made from it.
        oldest_tick_minutes: Nothing is increased while the last quote is older.
        grace_bars: How long an order that history does not show may still appear, in bars that
            were decided: through a weekend nothing is executed.
        clock: ``bars`` where the clock is the bars' own, ``utc`` where it is the real one.
        limits: Of the account; None on paper alone.
        boot_id: Of this start, unlike any other's; "" where nobody else can write the journal.
        attempts: Of one order in a bar where there are no limits.
    """

    strategy: str
    oldest_tick_minutes: float = 10.0
    grace_bars: int = 60
    clock: str = REAL_CLOCK
    limits: LiveLimits | None = None
    boot_id: str = ""
    attempts: int = 2


def must_be(account: AccountState, limits: LiveLimits) -> None:
    """Check that an account is the one of the limits: its number, typed out, is one yes of three.

    Raises:
        ConfigError: It is another one.
    """
    for name, wanted in (
        ("login", limits.account),
        ("server", limits.server),
        ("currency", limits.currency),
        ("is_demo", limits.is_demo),
    ):
        found = getattr(account, name)
        if found != wanted:
            raise ConfigError(
                f"the terminal's account has {name} {found!r}, the live limits say {wanted!r}; "
                "log in to the right account or correct the limits"
            )


def bind(
    journal: Journal,
    account: AccountState,
    env: EnvConfig,
    instruments: Sequence[Instrument],
    settings: RunnerSettings,
) -> None:
    """Check that account, journal, limits and strategy belong together, and tie them.

    Raises:
        ConfigError: They do not.
    """
    if len(instruments) > MOST_SYMBOLS:
        raise ConfigError(f"a strategy trades at most {MOST_SYMBOLS} symbols")
    currency = env.account.currency
    if account.currency != currency:
        raise ConfigError(
            f"account {account.login} is in {account.currency}, the strategy was made for "
            f"{currency}; use an account in {currency}"
        )
    symbols = [one.spec.name for one in instruments]
    if settings.limits is not None:
        must_be(account, settings.limits)
        settings.limits.must_name(symbols)
    journal.bind(
        {
            "account": f"{account.login}@{account.server}",
            "strategy": settings.strategy,
            "symbols": ",".join(symbols),
            "timeframe": Timeframe.parse(env.timeframe).name,
            "clock": settings.clock,
        },
        {name: str(getattr(env.breaker, name)) for name in KEPT},
    )
