from __future__ import annotations

import sqlite3
import stat
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtquant.brokers.base import Deal, DealReason, OrderResult, Outcome
from mtquant.errors import ConfigError
from mtquant.live.decision import Decision
from mtquant.live.intents import (
    OPENING_LEG,
    Intent,
    IntentState,
    magic_of,
    plan,
    strategy_tag,
    tag_of,
)
from mtquant.live.journal import Journal
from mtquant.live.record import AccountRecord, HeldPosition
from mtquant.sim.account import MOST_TICKETS

NOON = 1_704_196_800_000_000_000
RECORD = AccountRecord(
    NOON,
    0.1 + 0.2,
    1e-300,
    1e16 + 2,
    10_000.07,
    19_724,
    2,
    (HeldPosition(-3, 1 / 3, -0.1, 4, (9, 11), -0.7 / 3, 7, 0, 2, 19_723, -1, 5),),
    {"trades": 3, "gain_sum": 0.1 + 0.7, "week_start": 2 / 3},
)
DEAL = Deal(5, 4, 3, "XAUUSD", 2, NOON, -0.03, 2000.0, 1.5, -0.1, -0.2, True, DealReason.STOP)


def decision(bar=NOON, held=0, target=3):
    return Decision("XAUUSD", bar, float("nan"), held, target, "allowed", 0, "told", 120, 340)


@pytest.fixture
def journal(tmp_path):
    opened = Journal(tmp_path / "deep" / "journal.db")
    yield opened
    opened.close()


def commit(journal, record=RECORD, intents=(), deals=()):
    decisions = [decision(record.bar_time_ns)]
    journal.commit_bar(record, decisions, intents, deals, ["seen"], 1.0, at_ns=NOON)


def test_a_record_survives_to_the_last_bit(journal):
    assert journal.latest_record() is None
    commit(journal)
    journal.close()
    again = Journal(journal.path)
    assert again.latest_record() == RECORD
    assert again.decisions(NOON) == [("XAUUSD", 0, 3, "allowed")]
    assert again.events() == [(NOON, "seen")]
    again.close()


def test_C4_one_decision_per_symbol_and_bar(journal):
    commit(journal)
    with pytest.raises(sqlite3.IntegrityError):
        commit(journal)
    assert len(journal.events()) == 1, "a refused bar leaves nothing behind"


def test_the_first_intent_is_being_sent_and_the_next_follows_its_outcome(journal):
    first, second = plan(7, 0, decision(held=-3, target=2))
    commit(journal, intents=[first, second])
    assert journal.intents.unfinished() == [replace(first, state=IntentState.SENDING), second]
    assert journal.intents.distances(second.magic) == (120, 340)
    assert journal.intents.distances(first.magic) == (0, 0) == journal.intents.distances(99)
    result = OrderResult(Outcome.EXECUTED, 10009, 3, 2000.0, 11, 12, "done")
    journal.intents.settle(
        first, IntentState.EXECUTED, NOON, result, at_ns=NOON, then_sending=second
    )
    (open_one,) = journal.intents.unfinished()
    assert (open_one.magic, open_one.state) == (second.magic, IntentState.SENDING)
    assert journal.intents.executed_since(NOON) == {"XAUUSD": 3}


def test_where_stops_are_moved_first_the_first_intent_waits(journal):
    (intent,) = plan(7, 0, decision())
    journal.commit_bar(RECORD, [], [intent], [], [], 1.0, at_ns=NOON, sending=False)
    assert journal.intents.unfinished() == [intent]
    journal.intents.begin_sending([intent], NOON, ["stop refused"], NOON)
    assert journal.intents.unfinished() == [replace(intent, state=IntentState.SENDING)]
    assert journal.events() == [(NOON, "stop refused")]


def test_deals_are_counted_once(journal):
    assert journal.unseen([DEAL]) == [DEAL]
    commit(journal, deals=[DEAL])
    assert journal.unseen([DEAL]) == [] == journal.unseen([])
    other = replace(DEAL, ticket=DEAL.ticket + 1)
    with pytest.raises(sqlite3.IntegrityError):
        commit(journal, replace(RECORD, bar_time_ns=NOON + 1), deals=[other, other])
    assert journal.unseen([DEAL, other]) == [other], "a bar that was not committed has seen nothing"
    hour = 3600 * 10**9  # a server whose clock was set on shows it an hour later
    later = replace(DEAL, time_ns=DEAL.time_ns + hour)
    assert journal.unseen([later, replace(later, ticket=DEAL.ticket + 1)])[0].ticket != DEAL.ticket
    written = journal._database.execute("SELECT symbol, price, reason, opens FROM deal").fetchall()
    assert written == [("XAUUSD", 2000.0, "protective stop", 0)]


@pytest.mark.parametrize("version", [3, 99])
def test_other_schemas_are_refused(journal, version):
    with sqlite3.connect(journal.path) as database:
        database.execute(f"PRAGMA user_version = {version}")
    database.close()
    with pytest.raises(
        ConfigError, match=f"schema version {version}, this mtquant reads 6; choose"
    ):
        Journal(journal.path)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_the_file_is_private(journal):
    commit(journal)
    for path in journal.path.parent.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path.name


def test_durability_is_the_default(journal, tmp_path):
    assert journal._database.execute("PRAGMA synchronous").fetchone() == (2,)
    quick = Journal(tmp_path / "quick.db", durable=False)
    assert quick._database.execute("PRAGMA synchronous").fetchone() == (0,)
    assert quick._database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    quick.close()


def check_legs(legs, held, target):
    """Nothing goes through zero, and the one that increases comes last and carries the levels."""
    position = held
    for leg in legs:
        after = position + leg.steps
        assert position * after >= 0
        assert (leg.leg == OPENING_LEG) == (abs(after) > abs(position))
        assert (leg.stop_distance, leg.take_distance) == (
            (120, 340) if leg.leg == OPENING_LEG else (0, 0)
        )
        position = after
    assert position == target
    assert [leg.leg for leg in legs] == sorted({leg.leg for leg in legs})


@given(held=st.integers(-50, 50), target=st.integers(-50, 50))
def test_a_plan_reduces_before_it_increases(held, target):
    legs = plan(1, 0, decision(held=held, target=target))
    check_legs(legs, held, target)
    assert {leg.ticket for leg in legs} <= {0}
    assert len(legs) == (0 if held == target else 2 if held * target < 0 else 1)


@given(
    sizes=st.lists(st.integers(1, 9), max_size=MOST_TICKETS),
    side=st.sampled_from([1, -1]),
    target=st.integers(-50, 50),
)
def test_a_hedging_account_closes_its_oldest_tickets_first(sizes, side, target):
    tickets = [(100 + k, side * size) for k, size in enumerate(sizes)]
    held = side * sum(sizes)
    legs = plan(1, 0, decision(held=held, target=target), tickets)
    check_legs(legs, held, target)
    closing = [leg for leg in legs if leg.leg != OPENING_LEG]
    assert [(leg.leg, leg.ticket) for leg in closing] == [(k, 100 + k) for k in range(len(closing))]
    for leg, (_, size) in list(zip(closing, tickets, strict=False))[:-1]:
        assert leg.steps == -size, "all but the last are closed wholly"
    assert all(leg.ticket == 0 for leg in legs[len(closing) :])


def test_what_cannot_all_be_closed_is_followed_by_no_increase():
    tickets = [(k, 1) for k in range(10)]
    legs = plan(1, 0, decision(held=10, target=-5), tickets)
    assert [leg.ticket for leg in legs] == list(range(MOST_TICKETS))


@pytest.mark.parametrize(
    ("target", "steps"), [(9, [-3]), (8, [-3]), (7, [-3, -2]), (-1, [-3, -5, -4, -1])]
)
def test_a_part_below_the_smallest_order_stays_open(target, steps):
    """Except where it is the whole of a ticket."""
    tickets = [(1, 3), (2, 5), (3, 4)]
    legs = plan(1, 0, decision(held=12, target=target), tickets, least=2)
    assert [leg.steps for leg in legs] == steps


@given(
    tag=st.integers(1, 8191),
    minute=st.integers(0, 2**25 - 1),
    slot=st.integers(0, 255),
    leg=st.integers(0, 15),
    attempt=st.integers(0, 7),
)
def test_magic_numbers_are_unique_and_small(tag, minute, slot, leg, attempt):
    bar = 946_684_800 * 10**9 + minute * 60 * 10**9
    magic = magic_of(tag, bar, slot, leg, attempt)
    assert 0 < magic < 2**53 and tag_of(magic) == tag
    fields = (magic >> 15) & (2**25 - 1), (magic >> 7) & 255, (magic >> 4) & 7, magic & 15
    assert fields == (minute, slot, attempt, leg)
    assert len(Intent(magic, "X", bar, leg, 1).comment) <= 24


def test_a_strategys_tag_is_stable_and_never_zero():
    assert strategy_tag("gold") == strategy_tag("gold") != strategy_tag("silver")
    assert min(strategy_tag(str(n)) for n in range(500)) > 0
