"""``mtquant kill | flatten | arm | status | journal``: none of them needs the runner."""

from __future__ import annotations

import json
import sqlite3
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from mtquant.errors import RiskHalt
from mtquant.live.journal import Journal
from mtquant.live.kill_switch import Form, KillSwitch
from mtquant.live.record import AccountRecord, HeldPosition
from mtquant.live.writer import WriterLock

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


def test_whoever_flattens_is_told_where_nobody_is_there_to_do_it(journal, mtquant):
    alone = mtquant("flatten", "--journal", journal)
    assert alone.code == 0 and "NO RUNNER IS THERE" in alone.out
    assert "not there" in mtquant("status", "--journal", journal).out
    assert not journal.with_name("journal.db.lock").exists()
    lock = WriterLock(journal.with_name("journal.db.lock"))
    assert "NO RUNNER" not in mtquant("flatten", "--journal", journal).out
    assert "not there" not in mtquant("status", "--journal", journal).out
    lock.release()
    assert "NO RUNNER IS THERE" in mtquant("flatten", "--journal", journal).out


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


@pytest.fixture
def bridge(desk, monkeypatch):
    """Of account ``far``, with two runners' journals here; ``near`` has no bridge."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "brokers"))
    bridges = import_module("bridges")
    module = SimpleNamespace(terminal_info=lambda: True)
    made = bridges.Bridge(lambda: bridges.ThreadWorker(module), desk / "bridge")
    entry = {"broker_id": "ic_markets", "login": 7, "server": "x", "is_demo": True}
    far = {**entry, "bridge": {"url": made.url, "token": "${FAR_TOKEN}"}}
    (desk / "configs").mkdir()
    (desk / "configs/brokers.yaml").write_text(yaml.safe_dump({"far": far, "near": entry}))
    monkeypatch.setenv("FAR_TOKEN", made.trade.secret)
    for name in ("far-gold-1", "far-gold-2", "near-gold-1"):
        path = desk / "live" / name / "journal.sqlite3"
        Journal(path).close()
        KillSwitch(path).arm("runner", "first start", 1)
    yield made
    made.close()


def form_of(desk, name):
    return KillSwitch(desk / "live" / name / "journal.sqlite3").read()


def test_E1_a_kill_of_an_account_reaches_its_runners_and_its_bridge(bridge, desk, mtquant):
    done = mtquant("kill", "--account", "far", "--reduce", "--reason", "two\nlines " * 60)
    assert done.code == 0 and "bridge of 'far' is at REDUCE" in done.out
    assert bridge.supervisor.switch.state().reason.startswith("two lines two")
    assert form_of(desk, "far-gold-1") is form_of(desk, "far-gold-2") is Form.REDUCE
    assert form_of(desk, "near-gold-1") is Form.ARMED
    done = mtquant("kill", "--account", "near", "--reason", "enough")
    assert done.code == 0 and form_of(desk, "near-gold-1") is Form.HARD
    assert bridge.supervisor.switch.state().form is Form.REDUCE


def test_a_kill_of_an_account_that_is_a_path_is_refused(bridge, desk, mtquant):
    for name in ("/etc", "../far", "far-gold-1/../far", "*"):
        done = mtquant("kill", "--account", name)
        assert done.code == 2 and "unknown account" in done.err
    assert form_of(desk, "far-gold-1") is Form.ARMED


def test_E1_a_kill_of_an_account_leaves_one_alone_whose_name_begins_alike(bridge, desk, mtquant):
    listed = yaml.safe_load((desk / "configs/brokers.yaml").read_text())
    listed["far-east"] = listed["near"] | {"login": 8}
    (desk / "configs/brokers.yaml").write_text(yaml.safe_dump(listed))
    told = {"far-east-1": "8@x", "far-east-2": "7@x", "far-east-3": None}
    for name, account in told.items():
        journal = Journal(desk / "live" / name / "journal.sqlite3")
        if account is not None:
            journal.bind({"account": account}, {})
        journal.close()
        KillSwitch(journal.path).arm("runner", "first start", 1)
    assert mtquant("kill", "--account", "far", "--reason", "enough").code == 0
    forms = [form_of(desk, name) for name in (*told, "far-gold-1")]
    assert forms == [Form.ARMED, Form.HARD, Form.HARD, Form.HARD], "in doubt it is stopped"
    assert mtquant("kill", "--account", "far-east", "--reason", "enough").code == 0
    assert form_of(desk, "far-east-1") is Form.HARD


def test_E1_what_is_wrong_with_one_journal_keeps_no_other_from_being_stopped(
    bridge, desk, mtquant, monkeypatch
):
    """A start that died at its birth left an empty file; another folder cannot be written."""
    empty = desk / "live" / "far-aaa-1" / "journal.sqlite3"
    empty.parent.mkdir()
    empty.touch()
    kill = KillSwitch.kill

    def failing(self, form, *rest):
        if "far-gold-1" in str(self._beside):
            raise RiskHalt("the kill switch beside 'far-gold-1' fails: read-only")
        kill(self, form, *rest)

    monkeypatch.setattr(KillSwitch, "kill", failing)
    done = mtquant("kill", "--account", "far", "--reason", "enough")
    assert done.code != 0 and "fails: read-only" in done.err and "NOT STOPPED" in done.out
    assert form_of(desk, "far-gold-2") is form_of(desk, "far-aaa-1") is Form.HARD
    assert bridge.supervisor.switch.state().form is Form.HARD


def test_E4_a_kill_marks_the_files_where_the_bridge_does_not_answer(
    bridge, desk, mtquant, monkeypatch
):
    monkeypatch.setenv("FAR_TOKEN", bridge.read.secret)
    done = mtquant("kill", "--account", "far", "--reason", "enough")
    assert done.code != 0 and "HTTP 403" in done.err and "other machines may trade on" in done.err
    assert form_of(desk, "far-gold-1") is form_of(desk, "far-gold-2") is Form.HARD
    assert bridge.supervisor.switch.state().form is Form.ARMED


def test_a_kill_of_nothing_is_one_line(desk, refused):
    assert "say what is to be stopped" in refused("kill")
    assert "unknown account 'dem'" in refused("kill", "--account", "dem")
    said = refused("kill", "--account", "demo")
    assert "no bridge and no journal" in said


def test_a_bridge_is_armed_beside_its_terminal(bridge, desk, mtquant, refused):
    bridge.supervisor.switch.kill(Form.HARD, "enough", "Bob", 1)
    orders = ("--orders", "bridge/orders.sqlite3")
    assert "name both" in mtquant("bridge", "arm", "--by", " ", "--reason", "x", *orders).err
    said = refused("bridge", "arm", "--by", "Ann", "--reason", "x", "--orders", "none.sqlite3")
    assert "there is no table of orders" in said
    assert bridge.supervisor.switch.state().form is Form.HARD
    assert mtquant("bridge", "arm", "--by", "Ann", "--reason", "fine", *orders).code == 0
    state = bridge.supervisor.switch.state()
    assert (state.form, state.by, state.reason) == (Form.ARMED, "Ann", "fine")
