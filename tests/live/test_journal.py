from __future__ import annotations

import sqlite3
import stat
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtquant.brokers.base import Deal, OrderResult, Outcome
from mtquant.errors import ConfigError
from mtquant.live.decide import Decision
from mtquant.live.intents import Intent, IntentState, magic_of, plan, strategy_tag, tag_of
from mtquant.live.journal import Journal
from mtquant.live.record import AccountRecord, HeldPosition

NOON = 1_704_196_800_000_000_000
RECORD = AccountRecord(
    NOON,
    0.1 + 0.2,
    1e-300,
    1e16 + 2,
    10_000.07,
    19_724,
    2,
    (HeldPosition(-3, 1 / 3, -0.1, 4, 9, -0.7 / 3),),
    {"trades": 3, "gain_sum": 0.1 + 0.7, "week_start": 2 / 3},
)
DEAL = Deal(5, 4, 3, "XAUUSD", 2, NOON, -0.03, 2000.0, 1.5, -0.1, -0.2, True, False)


def decision(bar=NOON):
    return Decision("XAUUSD", bar, float("nan"), 0, 3, "allowed", 0)


@pytest.fixture
def journal(tmp_path):
    opened = Journal(tmp_path / "deep" / "journal.db")
    yield opened
    opened.close()


def commit(journal, record=RECORD, intents=(), deals=()):
    journal.commit_bar(record, [decision(record.bar_time_ns)], intents, deals, ["seen"], 1.0)


def test_a_record_survives_to_the_last_bit(journal):
    assert journal.latest_record() is None
    commit(journal)
    journal.close()
    again = Journal(journal.path)
    assert again.latest_record() == RECORD
    assert again.decisions(NOON) == [("XAUUSD", 0, 3, "allowed")]
    assert again.events() == [(NOON, "seen")]
    again.close()


def test_one_decision_per_symbol_and_bar(journal):
    commit(journal)
    with pytest.raises(sqlite3.IntegrityError):
        commit(journal)
    assert len(journal.events()) == 1, "a refused bar leaves nothing behind"


def test_the_first_intent_is_being_sent_and_the_next_follows_its_outcome(journal):
    first, second = plan(7, "XAUUSD", 0, NOON, (-3, 2))
    commit(journal, intents=[first, second])
    assert [i.state for i in journal.unfinished()] == [IntentState.SENDING, IntentState.PLANNED]
    result = OrderResult(Outcome.EXECUTED, 10009, 3, 2000.0, 11, 12, "done")
    journal.settle(first, IntentState.EXECUTED, NOON, result, then_sending=second)
    (open_one,) = journal.unfinished()
    assert (open_one.magic, open_one.state) == (second.magic, IntentState.SENDING)
    assert journal.executed_since(NOON) == {"XAUUSD": 3}


def test_deals_are_counted_once(journal):
    assert journal.unseen([DEAL]) == [DEAL]
    commit(journal, deals=[DEAL])
    assert journal.unseen([DEAL]) == [] == journal.unseen([])


@pytest.mark.parametrize("version", [1, 99])
def test_other_schemas_are_refused(journal, version):
    with sqlite3.connect(journal.path) as database:
        database.execute(f"PRAGMA user_version = {version}")
    database.close()
    with pytest.raises(
        ConfigError, match=f"schema version {version}, this mtquant reads 2; choose"
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


@given(held=st.integers(-50, 50), target=st.integers(-50, 50))
def test_a_plan_reduces_before_it_increases(held, target):
    legs = plan(1, "XAUUSD", 0, NOON, (held, target))
    position = held
    for leg in legs:
        after = position + leg.steps
        assert position * after >= 0, "no order goes through zero"
        assert (leg.leg == 0) == (abs(after) < abs(position))
        position = after
    assert position == target
    assert len(legs) == (0 if held == target else 2 if held * target < 0 else 1)


@given(
    tag=st.integers(1, 8191),
    minute=st.integers(0, 2**25 - 1),
    slot=st.integers(0, 255),
    leg=st.integers(0, 7),
    attempt=st.integers(0, 15),
)
def test_magic_numbers_are_unique_and_small(tag, minute, slot, leg, attempt):
    bar = 946_684_800 * 10**9 + minute * 60 * 10**9
    magic = magic_of(tag, bar, slot, leg, attempt)
    assert 0 < magic < 2**53 and tag_of(magic) == tag
    fields = (magic >> 15) & (2**25 - 1), (magic >> 7) & 255, (magic >> 3) & 15, magic & 7
    assert fields == (minute, slot, attempt, leg)
    assert len(Intent(magic, "X", bar, leg, 1).comment) <= 24


def test_a_strategys_tag_is_stable_and_never_zero():
    assert strategy_tag("gold") == strategy_tag("gold") != strategy_tag("silver")
    assert min(strategy_tag(str(n)) for n in range(500)) > 0
