"""What the rest of a life depends on: where terminal, runner and journal stand at a bar.

Two lives that stand alike go on alike, for nothing in them is left to chance. So everything that a
runner holds is told, whatever it is; what is left out is named here, with its reason. Money is left
out: the script does not look at it, and the limits of the stage are far away.
"""

from __future__ import annotations

import hashlib
import sqlite3
from enum import Enum
from functools import _lru_cache_wrapper
from pathlib import Path
from types import FunctionType, MethodType
from typing import Any

import harness
import numpy as np

from mtquant.brokers.base import Instrument
from mtquant.brokers.terminal.account import SimulatedAccount
from mtquant.brokers.terminal.lasting_faults import AccountSwitched
from mtquant.config.live import LiveLimits
from mtquant.config.schema import EnvConfig
from mtquant.live.intents import tag_of
from mtquant.live.journal import Journal
from mtquant.live.record import HeldPosition
from mtquant.live.settings import RunnerSettings
from mtquant.live.writer import WriterLock
from mtquant.market.clock import DAY_NS, HOUR_NS, Clock
from mtquant.market.timeframe import Timeframe

# Never changes, or is told apart from the rest.
APART = (
    *(Instrument, EnvConfig, LiveLimits, RunnerSettings, Clock, Timeframe, harness.Scripted),
    *(Journal, harness.Watched, WriterLock, Path, sqlite3.Connection, _lru_cache_wrapper),
)
MONEY = {"balance", "equity", "margin", "peak", "day_start", "entry", "swap", "memory"}
# Where the switch's files are, and which arming it was (that it is noted is told apart); spare
# orders are for a disk that is full, which no plan makes.
UNTOLD = MONEY | {"_paths", "arming", "_armed_then", "_noted", "spares"}
OPEN = "('planned', 'sending', 'placed', 'ambiguous')"


def state(played: harness.Play) -> bytes:
    """A digest of where a life stands between two bars; its process lives."""
    terminal, (_, journal, runner) = played.terminal, played.parts
    told = Told(terminal)
    form = runner.switch.read()
    parts = (
        told.terminal(),
        told.of(runner),
        (form, runner._noted == (form, runner.switch.arming)),
        _journal(journal._database, runner, terminal, told),
    )
    return hashlib.blake2b(repr(parts).encode(), digest_size=16).digest()


class Told:
    """Tells things in plain values, positions by their age and not by their numbers."""

    def __init__(self, terminal: harness.Watched) -> None:
        self._terminal = terminal
        deals = terminal.account.deals
        newest = dict.fromkeys(deal.position_id for deal in reversed(deals))
        self.names = {number: place for place, number in enumerate(newest)}
        self._told: dict[int, Any] = {}  # held, so that no number is another thing's

    def terminal(self) -> tuple[Any, ...]:
        """The account, what lasts, and of what has been only what later judgements look at."""
        one = self._terminal
        switched = [n for n, fault in one.struck.items() if isinstance(fault, AccountSwitched)]
        return (
            self.account(one.account),
            (one._connected, one._error, sorted(one._books), one.finished),
            [repr(fault) for fault in one._armed],
            [(self.of(around), repr(due)) for around, due in one._spells],
            [repr(kept) for kept in one._kept],
            [min(one._number - n, 6) for n in switched],
        )

    def account(self, account: SimulatedAccount) -> tuple[Any, ...]:
        """Of the kernel's lane what is held; the rest of it is money, and what it has come to."""
        lane, positions = account.book.account[0], account.book.positions[0]
        holdings = account.history._holdings
        return (
            (account.forming, account._begun, account.hedging, account.history.reason),
            (int(lane["level"]), int(lane["cursor"]), float(lane["equity"]) > 5e4),
            [positions[name].tolist() for name in ("steps", "stop", "take", "tickets")],
            [
                (key, held.steps, tag_of(held.request.magic), self.names.get(held.ticket))
                for key, held in holdings.items()
            ],
            repr(account.pending._orders),
            repr(account.pending.in_work),
        )

    def deal(self, deal: Any) -> tuple[Any, ...]:
        """A deal, but for money and ticket."""
        return (
            *(deal.time, deal.type, deal.entry, deal.magic, deal.reason, deal.volume),
            self.names[deal.position_id],
        )

    def of(self, thing: Any) -> Any:
        """Anything else, to its last part."""
        if thing is None or isinstance(thing, str | int | float | bytes | Enum):
            return thing
        if isinstance(thing, APART):
            return type(thing).__name__
        if isinstance(thing, np.ndarray):
            return thing.tobytes() if thing.dtype != object else repr(thing)
        if isinstance(thing, SimulatedAccount):
            return self.account(thing)
        if id(thing) in self._told:
            return "told"
        self._told[id(thing)] = thing
        return self._parts(thing)

    def _parts(self, thing: Any) -> Any:
        if isinstance(thing, dict):
            return [(k, self.of(v)) for k, v in thing.items() if k not in UNTOLD]
        if isinstance(thing, list | tuple | set | frozenset):
            return [self.of(one) for one in thing]
        if isinstance(thing, MethodType):
            return thing.__func__.__qualname__, self.of(thing.__self__)
        if isinstance(thing, FunctionType):
            cells = thing.__closure__ or ()
            return thing.__qualname__, [self.of(cell.cell_contents) for cell in cells]
        told = {**vars(thing)}
        if isinstance(thing, HeldPosition):
            told["identifiers"] = [self.names.get(one) for one in thing.identifiers]
        return type(thing).__name__, self.of(told)


def _journal(
    database: sqlite3.Connection, runner: Any, terminal: harness.Watched, told: Told
) -> tuple[Any, ...]:
    """What the journal can still answer: open orders, deals that it has not seen, newest counts."""

    def rows(sql: str, *values: int) -> list[Any]:
        return database.execute(sql, values).fetchall()

    now, record = terminal.now_ns(), runner._record
    bar = 0 if record is None else record.bar_time_ns
    seen = {ticket for (ticket,) in rows("SELECT ticket FROM deal")}
    deals = terminal.account.deals
    open_ = rows(
        "SELECT magic, steps, state, (SELECT COUNT(*) FROM account a WHERE a.bar_time_ns > "
        f"i.bar_time_ns) FROM intent i WHERE state IN {OPEN} ORDER BY magic"
    )
    lasting = open_ or not harness.quiet(terminal)
    sent = "SELECT COUNT(*) FROM outcome WHERE state = 'sending' AND at_ns >= ?"
    return (
        open_,
        [told.deal(deal) for deal in deals if deal.ticket not in seen],
        # Whatever is open will look into all of history.
        [(told.deal(deal), deal.ticket) for deal in deals] if lasting else [],
        [order.ticket for order in terminal.account.orders] if lasting else [],
        rows("SELECT magic, steps, state, executed_steps FROM intent WHERE bar_time_ns >= ?", bar),
        rows("SELECT SUM(executed_steps) FROM intent WHERE settled_bar_ns = ?", bar),
        rows("SELECT at_ns FROM outcome WHERE state = 'sending' AND at_ns >= ?", now - HOUR_NS),
        # Far from the limits of a day, or the very count.
        [max(count, 250) for (count,) in rows(sent, now - DAY_NS)],
        rows("SELECT MAX(0, COUNT(*) - 25) FROM boot"),
        rows("SELECT form, text FROM switch ORDER BY id DESC LIMIT 1"),
        rows("SELECT MAX(at_ns) FROM switch WHERE form = 'ARMED'"),
        rows("SELECT level FROM breaker") + rows("SELECT number FROM applied"),
    )
