"""IntentLog: the journal's part about orders, what was planned, sent and answered.

Every step of an intent is one more row of ``outcome``; the intent as it stands now is read from its
own row, which follows from them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from mtquant.brokers.base import OrderResult
from mtquant.brokers.constants import (
    TRADE_RETCODE_INVALID_STOPS,
    TRADE_RETCODE_LIMIT_POSITIONS,
    TRADE_RETCODE_MARKET_CLOSED,
    TRADE_RETCODE_NO_MONEY,
    TRADE_RETCODE_PRICE_OFF,
)
from mtquant.live.intents import UNFINISHED, Intent, IntentState
from mtquant.live.journal_rows import (
    INTENT,
    NO_ANSWER,
    Row,
    answer_row,
    intent_of_row,
    intent_row,
)

# Refusals that a backtest knows too; an order that meets one of them tells of no fault.
FORESEEN = (
    TRADE_RETCODE_MARKET_CLOSED,
    TRADE_RETCODE_NO_MONEY,
    TRADE_RETCODE_INVALID_STOPS,  # the open has passed the position's stop or target
    TRADE_RETCODE_PRICE_OFF,  # outside the price band
    TRADE_RETCODE_LIMIT_POSITIONS,
)
_FAILURES = (IntentState.NOT_EXECUTED, IntentState.AMBIGUOUS)


class IntentLog:
    """Intents of one journal."""

    def __init__(
        self,
        database: sqlite3.Connection,
        transaction: Callable[[], AbstractContextManager[None]],
        insert: Callable[[str, Iterable[Sequence[Any]]], None],
        knows: Callable[[int], bool],
    ) -> None:
        """Share a journal's file.

        Args:
            database: The journal's.
            transaction: Begins one on it.
            insert: Adds rows to a table inside one.
            knows: Whether an intent has an id.
        """
        self._database, self._transaction = database, transaction
        self._insert, self._knows = insert, knows

    def plan(self, intents: Sequence[Intent], at_ns: int, *, sending: bool) -> None:
        """Write a bar's intents inside its transaction, the first as being sent if that is so."""
        self._insert("intent", map(intent_row, intents))
        if sending and intents:
            self._mark_sending(intents[0], at_ns)

    def unfinished(self) -> list[Intent]:
        """Intents whose outcome is open, planned ones included, oldest first."""
        rows = self._database.execute(
            f"SELECT {INTENT} FROM intent "
            f"WHERE state IN ({', '.join('?' * len(UNFINISHED))}) ORDER BY magic",
            [state.value for state in UNFINISHED],
        )
        return [intent_of_row(row) for row in rows]

    def intent(self, magic: int) -> Intent | None:
        """An intent by its id."""
        row = self._database.execute(
            f"SELECT {INTENT} FROM intent WHERE magic = ?", (magic,)
        ).fetchone()
        return None if row is None else intent_of_row(row)

    def begun_ns(self, magic: int) -> int:
        """When an intent was handed over last, on the runner's clock; 0 for one that never was."""
        row = self._database.execute(
            "SELECT MAX(at_ns) FROM outcome WHERE magic = ? AND state = 'sending'", (magic,)
        ).fetchone()
        return int(row[0] or 0)

    def distances(self, magic: int) -> tuple[int, int]:
        """Ticks to the stop and target that an intent has asked for; zeros for an unknown one."""
        row = self._database.execute(
            "SELECT stop_distance, take_distance FROM intent WHERE magic = ?", (magic,)
        ).fetchone()
        return (0, 0) if row is None else (int(row[0]), int(row[1]))

    def executed_since(self, bar_time_ns: int) -> dict[str, int]:
        """Signed lot steps of each symbol that were proven executed after a bar's record.

        Of an order that was settled before, and executed further since, only what came on top.
        """
        rows = self._database.execute(
            "SELECT symbol, SUM(executed_steps - COALESCE((SELECT o.executed_steps FROM outcome o "
            "WHERE o.magic = i.magic AND o.settled_bar_ns != i.settled_bar_ns "
            "ORDER BY o.id DESC LIMIT 1), 0)) "
            "FROM intent i WHERE settled_bar_ns = ? GROUP BY symbol",
            (bar_time_ns,),
        )
        return dict(rows.fetchall())

    def executed(self, magic: int) -> int:
        """Signed lot steps of an intent that are journalled as executed; 0 for an unknown one."""
        row = self._database.execute(
            "SELECT executed_steps FROM intent WHERE magic = ?", (magic,)
        ).fetchone()
        return 0 if row is None else int(row[0])

    def settle(
        self,
        intent: Intent,
        state: IntentState,
        bar_time_ns: int,
        result: OrderResult | None = None,
        *,
        at_ns: int,
        executed_steps: int = 0,
        then_sending: Intent | None = None,
    ) -> None:
        """Write what became of an intent, and which one is sent next.

        Args:
            intent: Which.
            state: Its new state.
            bar_time_ns: Bar of the newest record, after which this became known.
            result: The broker's answer, where there was one.
            at_ns: The runner's clock.
            executed_steps: Proven by history, where there is no result.
            then_sending: Marked as being sent in the same commit; written there if it is new.
        """
        answer = answer_row(result, executed_steps)
        failed = state in _FAILURES and answer[0] not in FORESEEN
        with self._transaction():
            self._come_to(intent, state, at_ns, answer, bar_time_ns, failed)
            if then_sending is not None:
                self._add([then_sending])
                self._mark_sending(then_sending, at_ns)

    def begin_sending(
        self, intents: Sequence[Intent], bar_time_ns: int, events: Sequence[str], at_ns: int
    ) -> None:
        """Mark intents as being sent, written there if they are new; and events before it."""
        if intents or events:
            with self._transaction():
                self._add(intents)
                for intent in intents:
                    self._mark_sending(intent, at_ns)
                self._insert("event", [(bar_time_ns, text) for text in events])

    def add_spares(self, spares: Sequence[Intent], at_ns: int) -> None:
        """Commit intents for a day on which nothing can be committed."""
        with self._transaction():
            self._add(spares)
            for intent in spares:
                self._come_to(intent, IntentState.SPARE, at_ns)

    def give_up_spares(self, at_ns: int) -> None:
        """Spares of an earlier start are not used any more; a deal may tell that one was."""
        rows = self._database.execute(f"SELECT {INTENT} FROM intent WHERE state = 'spare'")
        old = [intent_of_row(row) for row in rows.fetchall()]
        with self._transaction():
            for intent in old:
                self._come_to(intent, IntentState.CANCELLED, at_ns)

    def _add(self, intents: Sequence[Intent]) -> None:
        """Write those intents that are not there yet."""
        new = [intent for intent in intents if not self._knows(intent.magic)]
        self._insert("intent", map(intent_row, new))

    def _mark_sending(self, intent: Intent, at_ns: int) -> None:
        self._come_to(intent, IntentState.SENDING, at_ns)

    def _come_to(
        self,
        intent: Intent,
        state: IntentState,
        at_ns: int,
        answer: Row = NO_ANSWER,
        bar_time_ns: int | None = None,
        failed: bool = False,
    ) -> None:
        """One more outcome of an intent, and the intent as it stands after it."""
        row = (intent.magic, state.value, at_ns, *answer, bar_time_ns, failed)
        self._insert("outcome", [row])
        self._database.execute(
            "UPDATE intent SET state = ?, executed_steps = ?, settled_bar_ns = ?, "
            "failed = MAX(failed, ?) WHERE magic = ?",
            (state.value, answer[1], bar_time_ns, failed, intent.magic),
        )
