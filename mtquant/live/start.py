"""Start: a live runner from a strategy, a connected adapter and limits; all or nothing.

Whoever wires ``--live`` calls :func:`live_runner`; it takes the locks, opens the journal and checks
that account and limits belong together before a runner exists.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mtquant.brokers.base import Broker, Instrument
from mtquant.config.live import LiveLimits
from mtquant.live.decide import Strategy
from mtquant.live.intents import strategy_tag
from mtquant.live.journal import Journal
from mtquant.live.runner import Runner
from mtquant.live.settings import RunnerSettings
from mtquant.live.writer import WriterLock


def lock_paths(journal: Path, locks: Path, limits: LiveLimits, name: str) -> tuple[Path, Path]:
    """The files of the two locks: of a journal, and of a strategy on an account.

    Args:
        journal: The journal's file.
        locks: The user's folder of locks, the same for all journals.
        limits: Whose account.
        name: Of the strategy.
    """
    digest = strategy_tag(limits.server)  # a server's name need not be a file's
    own = f"{limits.account}-{digest}-{strategy_tag(name)}.lock"
    return journal.with_name(journal.name + ".lock"), locks / own


@contextmanager
def live_runner(
    strategy: Strategy,
    broker: Broker,
    instruments: Sequence[Instrument],
    limits: LiveLimits,
    *,
    name: str,
    journal: Path,
    locks: Path,
    boot_id: str,
    clock: Callable[[], int],
    monotonic_ns: Callable[[], int],
    key: bytes = b"",
    context: Sequence[Instrument] = (),
) -> Iterator[Runner]:
    """A runner that trades, while the ``with`` lasts; signals reach its kill switch.

    Args:
        strategy: Decides.
        broker: Connected.
        instruments: One per symbol of the strategy, in its order.
        limits: Of the account, each one written out.
        name: Of the strategy; its orders carry a tag made from it.
        journal: The journal's file.
        locks: The user's folder of locks.
        boot_id: Of this start, unlike any other's.
        clock: Real time, ns UTC.
        monotonic_ns: A clock that nobody sets.
        key: Of the journal's anchor; an empty one finds accidents, not forgers.
        context: One per context symbol.

    Raises:
        RiskHalt: Another runner has the journal, or this strategy on this account; or the journal
            is not what was written.
        ConfigError: Account, limits, journal and strategy do not belong together.
        BrokerUnavailable: The account cannot be read.
    """
    writer = WriterLock(*lock_paths(journal, locks, limits, name))
    try:
        opened = Journal(journal, key=key)
        try:
            settings = RunnerSettings(name, limits=limits, boot_id=boot_id)
            runner = Runner(
                broker,
                opened,
                strategy,
                instruments,
                settings,
                clock,
                context,
                writer=writer,
                monotonic_ns=monotonic_ns,
            )
            runner.switch.on_signals()
            yield runner
        finally:
            opened.close()
    finally:
        writer.release()
