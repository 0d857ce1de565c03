"""``mtquant kill | flatten | arm | status | journal``: none of them needs the runner."""

from __future__ import annotations

import json
import sqlite3

import pytest

from mtquant.live.journal import Journal
from mtquant.live.kill_switch import Form, KillSwitch
from mtquant.live.record import AccountRecord, HeldPosition

NOON = 1_704_196_800 * 10**9


@pytest.fixture
def journal(desk):
    path = desk / "journal.db"
    opened = Journal(path)
    opened.bind({"account": "7@x", "strategy": "gold", "symbols": "XAUUSD", "clock": "utc"}, {})
    record = AccountRecord(NOON, 1e4, 9_900.0, 1e4, 1e4, 19_724, 0, (HeldPosition(-3),))
    opened.commit_bar(record, [], [], [], ["seen"], 9_900.0, at_ns=NOON)
    opened.close()
    KillSwitch(path).arm("runner", "first start", 1)
    return path


def test_a_kill_and_an_arming(journal, mtquant):
    done = mtquant("kill", "--journal", journal, "--reason", "enough")
    assert done.code == 0 and "at HARD" in done.out
    assert KillSwitch(journal).read() is Form.HARD
    refused = mtquant("flatten", "--journal", journal)
    assert refused.code == 2 and "arm it first" in refused.err
    nameless = mtquant("arm", "--journal", journal, "--by", " ", "--reason", "x")
    assert nameless.code == 2 and KillSwitch(journal).read() is Form.HARD
    assert mtquant("arm", "--journal", journal, "--by", "Ann", "--reason", "fine").code == 0
    assert KillSwitch(journal).told() == "Ann: fine"
    assert mtquant("flatten", "--journal", journal).code == 0
    assert KillSwitch(journal).read() is Form.FLATTEN


def test_the_status(journal, mtquant):
    mtquant("kill", "--journal", journal, "--reduce", "--reason", "look")
    out = mtquant("status", "--journal", journal).out
    for told in ("REDUCE", "look", "7@x", "gold", "9,900.00", "-3", "NORMAL"):
        assert told in out
    assert "seen" in mtquant("journal", "show", "--journal", journal).out


def test_verify_and_export(journal, desk, mtquant):
    verified = mtquant("journal", "verify", "--journal", journal)
    assert verified.code == 0 and "2 commits are what was written" in verified.out
    out = desk / "rows.jsonl"
    assert mtquant("journal", "export", "--journal", journal, "--out", out).code == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["table"] for row in rows] == [*["run"] * 4, "account", "event"]
    assert rows[-1]["text"] == "seen"
    again = mtquant("journal", "export", "--journal", journal, "--out", out)
    assert again.code == 2 and "name a new file" in again.err
    with sqlite3.connect(journal) as database:
        database.execute("UPDATE event SET text = 'unseen'")
    database.close()
    broken = mtquant("journal", "verify", "--journal", journal)
    assert broken.code != 0 and "commit 2 was changed" in broken.err


def test_a_journal_that_is_not_there(desk, mtquant):
    for command in (("kill",), ("status",), ("journal", "verify")):
        done = mtquant(*command, "--journal", desk / "none.db")
        assert done.code == 2 and "there is no journal" in done.err
    assert not list(desk.glob("none.db*"))
