"""Start: the live runners of an account from strategies, a connected adapter and limits; or none.

Whoever wires ``--live`` calls :func:`live_runners`; it takes the locks, opens the journals and
checks that account, limits and strategies belong together before a runner exists.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from mtquant.brokers.base import Broker, Instrument
from mtquant.config.live import LiveLimits
from mtquant.live.decide import Strategy
from mtquant.live.desk import Desk
from mtquant.live.intents import strategy_tag
from mtquant.live.journal import Journal
from mtquant.live.kill_switch import on_signals
from mtquant.live.runner import Runner
from mtquant.live.settings import RunnerSettings
from mtquant.live.writer import WriterLock


@dataclass(frozen=True)
class Trader:
    """One strategy that is to trade.

    Attributes:
        name: Its own; its orders carry a tag made from it.
        strategy: Decides.
        journal: The journal's file.
        instruments: One per symbol of the strategy, in its order.
        context: One per context symbol.
    """

    name: str
    strategy: Strategy
    journal: Path
    instruments: Sequence[Instrument]
    context: Sequence[Instrument] = ()


def lock_path(journal: Path) -> Path:
    """The file of a journal's lock, which its runner holds as long as it lives."""
    return journal.with_name(journal.name + ".lock")


def lock_paths(journals: Sequence[Path], locks: Path, limits: LiveLimits) -> tuple[Path, ...]:
    """The files of the locks: of each journal, and of the account.

    Args:
        journals: Their files.
        locks: The user's folder of locks, the same for all journals.
        limits: Whose account.
    """
    digest = strategy_tag(limits.server)  # a server's name need not be a file's
    own = locks / f"{limits.account}-{digest}.lock"
    return (*map(lock_path, journals), own)


@contextmanager
def live_runners(
    traders: Sequence[Trader],
    broker: Broker,
    limits: LiveLimits,
    *,
    locks: Path,
    boot_id: str,
    clock: Callable[[], int],
    monotonic_ns: Callable[[], int],
    key: bytes = b"",
) -> Iterator[tuple[Runner, ...]]:
    """Runners that trade, while the ``with`` lasts; signals reach all their kill switches.

    Args:
        traders: In the order in which they look and act.
        broker: Connected.
        limits: Of the account, each one written out; they bind the sum of all.
        locks: The user's folder of locks.
        boot_id: Of this start, unlike any other's.
        clock: Real time, ns UTC.
        monotonic_ns: A clock that nobody sets.
        key: Of the journals' anchors; an empty one finds accidents, not forgers.

    Raises:
        RiskHalt: Another process has the account or a journal; or a journal is not what was
            written.
        ConfigError: Account, limits, journals and strategies do not belong together.
        BrokerUnavailable: The account cannot be read.
    """
    writer = WriterLock(*lock_paths([one.journal for one in traders], locks, limits))
    with ExitStack() as opened:
        opened.callback(writer.release)
        desk = Desk()
        runners = tuple(
            Runner(
                broker,
                opened.enter_context(closing(Journal(one.journal, key=key))),
                one.strategy,
                one.instruments,
                RunnerSettings(one.name, limits=limits, boot_id=boot_id),
                clock,
                one.context,
                writer=writer,
                monotonic_ns=monotonic_ns,
                desk=desk,
            )
            for one in traders
        )
        on_signals([runner.switch for runner in runners])
        yield runners
