"""What ``--live`` shall trade, as far as it can be known before a terminal is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mtquant.agents.bundle import Bundle
from mtquant.brokers.accounts import AccountEntry, load_accounts
from mtquant.commands.live import JOURNAL_NAME, LIVE
from mtquant.config.live import LiveLimits
from mtquant.config.load import read_yaml, validate
from mtquant.config.schema import EnvConfig
from mtquant.errors import ConfigError, unknown

LIMITS = Path("configs/live.yaml")
FEWEST_STEPS = 10


@dataclass(frozen=True)
class Traded:
    """A bundle that is to trade.

    Attributes:
        bundle: The agent and all that it was trained with.
        env: The bundle's, tightened or not.
        folder: Of its journal and log.
    """

    bundle: Bundle
    env: EnvConfig
    folder: Path

    @property
    def name(self) -> str:
        """Of the strategy."""
        return strategy_name(self.bundle)

    @property
    def journal(self) -> Path:
        """The journal's file."""
        return self.folder / JOURNAL_NAME


@dataclass(frozen=True)
class LivePlan:
    """What is to be traded where.

    Attributes:
        traded: The bundles, in the order in which they look and act.
        entry: The account.
        limits: Of that account; they bind the sum of all bundles.
        every: Seconds between two looks for a closed bar.
    """

    traded: tuple[Traded, ...]
    entry: AccountEntry
    limits: LiveLimits
    every: float

    @property
    def names(self) -> str:
        """Of the strategies, in one line."""
        return " and ".join(one.name for one in self.traded)


def strategy_name(bundle: Bundle) -> str:
    """Another bundle is another strategy, with a journal of its own."""
    return f"{bundle.name}-{bundle.manifest.bundle_hash[:12]}"


def refuse_few_steps(steps: int, symbol: str, money: str, cure: str) -> None:
    """An account that buys too few lot steps cannot follow a policy.

    Raises:
        ConfigError: It does.
    """
    if steps < FEWEST_STEPS:
        raise ConfigError(
            f"{money} buy {steps} lot steps of {symbol} at full size and {FEWEST_STEPS} are the "
            f"least to follow a policy; {cure}"
        )


def load_limits(account: str, path: Path = LIMITS) -> LiveLimits:
    """The limits of an account.

    Raises:
        ConfigError: No file, no such account in it, or a limit is missing or wrong.
    """
    if not path.is_file():
        raise ConfigError(
            f"no '{path}': write every limit of account '{account}' into it; nothing has a default "
            "(docs/live.md shows one)"
        )
    listed = read_yaml(path)
    if not isinstance(listed, dict):
        raise ConfigError(f"'{path}' must map account names to their limits")
    if account not in listed:
        raise ConfigError(unknown("account", account, map(str, listed), cure=f"(in '{path}')"))
    return validate(LiveLimits, listed[account], f"{path}: {account}")


def plan_live(
    chosen: Sequence[tuple[Bundle, EnvConfig]],
    account: str | None,
    folder: Path | None,
    every: float,
) -> LivePlan:
    """Everything that can be known before a terminal is asked.

    Args:
        chosen: Bundles and their envs, in the order in which they act.
        account: Name in ``configs/brokers.yaml``.
        folder: Of journal and log; one of the account and bundle where it is None.
        every: Seconds between two looks.

    Raises:
        ConfigError: The account is not named, not filled in or without limits, or the bundles
            cannot trade one account.
    """
    if account is None:
        raise ConfigError("say which account: --account NAME of configs/brokers.yaml")
    if not 0.0 < every <= 60.0:
        raise ConfigError(f"--every {every} must be above 0 and at most 60 seconds")
    if folder is not None and len(chosen) > 1:
        raise ConfigError("--out is the folder of one bundle; leave it out with several")
    entry = load_accounts()[account].refuse_unfilled()
    if entry.bridge is not None and entry.bridge.token is None:
        raise ConfigError(f"account '{account}' is only read: its bridge has no 'token' to trade")
    limits, traders = load_limits(account), dict[str, str]()
    for bundle, _ in chosen:
        symbols = [spec.name for spec in bundle.specs]
        limits.must_name(symbols)
        for symbol in symbols:
            if symbol in traders:
                raise ConfigError(
                    f"bundles '{traders[symbol]}' and '{bundle.name}' both trade {symbol}; trade "
                    "one of them on another account"
                )
            traders[symbol] = bundle.name
    traded = tuple(
        Traded(bundle, env, folder or LIVE / f"{account}-{strategy_name(bundle)}")
        for bundle, env in chosen
    )
    return LivePlan(traded, entry, limits, every)
