"""The kill switch: once it falls nothing is sent, whatever else is broken, until it is armed."""

from __future__ import annotations

import errno
import os
import signal
import sys
from dataclasses import replace

import pytest

from mtquant.brokers.base import Outcome
from mtquant.errors import ConfigError, RiskHalt
from mtquant.live.gates import Checker
from mtquant.live.kill_switch import Form, KillSwitch, on_signals


@pytest.fixture
def switch(tmp_path):
    made = KillSwitch(tmp_path / "journal.db")
    made.arm("Ann", "begin", 1)
    return made


def test_E1_after_a_kill_nothing_is_sent(hand):
    one = hand()
    one.until_held()
    sends = one.sends
    KillSwitch(one.path).kill(Form.HARD, "enough")
    for _ in range(4):
        report = one.bar()
        assert report.outlook.decisions[0].reason == "kill switch at HARD"
    assert one.sends == sends and one.held != 0


def test_E1_the_switch_is_read_last_right_before_the_call(hand, monkeypatch):
    """It falls when every gate has passed and the request is made: nothing leaves."""
    one = hand()
    outer = Checker.approve

    def falls_then(checker, asked):
        approved = outer(checker, asked)
        KillSwitch(one.path).kill(Form.HARD, "in between")
        return approved

    monkeypatch.setattr(Checker, "approve", falls_then)
    results = [r for _ in range(3) for r in one.bar().results]
    assert [r.outcome for r in results] == [Outcome.WITHHELD] and "HARD" in results[0].text
    assert one.sends == 0
    assert one.journal.counts.sent_since(0) == 0


def test_E1_at_flatten_only_what_is_held_is_closed(hand):
    one = hand()
    one.until_held()
    KillSwitch(one.path).kill(Form.FLATTEN, "enough")
    while one.held:
        assert one.bar() is None
    sends = one.sends
    for _ in range(3):
        one.bar()
    assert one.held == 0 and one.sends == sends


@pytest.mark.parametrize("form", [Form.REDUCE, Form.FLATTEN, Form.HARD])
def test_E2_a_kill_survives_a_restart(hand, form):
    one = hand()
    one.until_held()
    one.runner.switch.kill(form, "enough")
    one.restart()
    assert one.runner.switch.read() is form
    most = abs(one.held)
    for _ in range(5):
        one.bar()
        assert abs(one.held) <= most
    assert one.journal.switch.rows()[-1][1:] == (form.name, "enough")


def test_E2_only_a_person_with_a_reason_arms_it(switch):
    switch.kill(Form.HARD, "enough")
    for person, reason in (("", "why"), ("Ann", " ")):
        with pytest.raises(ConfigError, match="by somebody, for a reason"):
            switch.arm(person, reason, 2)
    assert switch.read() is Form.HARD
    KillSwitch(switch._beside).arm("Ann", "repaired", 2)
    assert switch.read() is Form.ARMED and switch.told() == "Ann: repaired"


def test_E2_a_first_start_does_not_arm_what_was_killed_before(stage, hand, tmp_path):
    KillSwitch(tmp_path / "0.db").kill(Form.HARD, "not yet")
    one = hand()
    assert one.runner.switch.read() is Form.HARD
    one.runner.switch._file(Form.HARD).unlink()
    one.restart()
    assert one.runner.switch.read() is Form.HARD, "a missing file is not armed by a restart"


def test_E3_a_switch_that_cannot_be_read_allows_no_increase(switch, monkeypatch):
    def broken(path):
        raise OSError(errno.EIO, "I/O error")

    monkeypatch.setattr(os, "lstat", broken)
    assert switch.read() is Form.REDUCE


def test_E3_a_missing_switch_is_hard(tmp_path):
    assert KillSwitch(tmp_path / "journal.db").read() is Form.HARD


@pytest.mark.parametrize("gate", range(10))
def test_E3_a_gate_that_fails_denies(hand, monkeypatch, gate):
    from mtquant.live import gates

    def broken(checker, asked):
        raise ZeroDivisionError("broken")

    name = gates.GATES[gate][0]
    changed = (*gates.GATES[:gate], (name, broken), *gates.GATES[gate + 1 :])
    monkeypatch.setattr(gates, "GATES", changed)
    one = hand()
    texts = [r.text for _ in range(4) for r in one.bar().results]
    assert one.sends == 0 and f"gate '{name}': could not be judged" in texts[0]


def test_E3_a_last_look_that_fails_denies(hand, monkeypatch):
    def broken(checker, asked):
        raise ZeroDivisionError("broken")

    monkeypatch.setattr(Checker, "_last_look", broken)
    one = hand()
    texts = [r.text for _ in range(4) for r in one.bar().results]
    assert one.sends == 0 and "the last look failed" in texts[0]


def test_E4_it_falls_on_a_full_disk(switch, monkeypatch):
    """To kill needs a name, not a byte."""

    def full(path, flags, mode=0o777):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "open", full)
    switch.kill(Form.FLATTEN, "enough")
    assert KillSwitch(switch._beside).read() is Form.FLATTEN
    switch.kill(Form.HARD, "more")
    assert KillSwitch(switch._beside).read() is Form.HARD


def test_E4_where_no_file_can_be_changed_it_holds_in_the_process(switch, monkeypatch):
    def read_only(*args):
        raise OSError(errno.EROFS, "Read-only file system")

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", read_only)
        patched.setattr(os, "open", read_only)
        with pytest.raises(RiskHalt, match="Read-only"):
            switch.kill(Form.HARD, "enough")
    assert switch.read() is Form.HARD
    KillSwitch(switch._beside).arm("Ann", "repaired", 3)
    assert switch.read() is Form.ARMED


@pytest.mark.skipif(sys.platform == "win32", reason="other signals there")
@pytest.mark.parametrize(("number", "form"), [("SIGUSR1", Form.HARD), ("SIGUSR2", Form.FLATTEN)])
def test_E4_a_signal_is_enough(switch, number, form):
    on_signals([switch])
    os.kill(os.getpid(), getattr(signal, number))
    assert switch.read() is form and KillSwitch(switch._beside).read() is form


def test_E4_a_policy_that_hangs_is_not_asked_at_flatten(hand, monkeypatch):
    one = hand()
    one.until_held()
    one.runner.switch.kill(Form.FLATTEN, "it hangs")
    one.restart()

    def hangs(*args):
        raise AssertionError("asked")

    monkeypatch.setattr(one.stage.strategy, "decide", hangs)
    for _ in range(3):
        one.bar()
    assert one.held == 0


def test_a_kill_takes_no_worse_one_back(switch):
    switch.kill(Form.HARD, "enough")
    switch.kill(Form.REDUCE, "less")
    assert switch.read() is Form.HARD


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        ({"executions_per_day": 3}, "3 trades within a day"),
        ({"orders_per_day": 3}, "3 orders within a day"),
        ({"max_position_value": 100.0}, "positions are worth"),
    ],
)
def test_B3_triggers_fall_by_themselves_and_wait_for_a_person(hand, limits, told):
    one = hand(**limits, on_trigger="reduce")
    for _ in range(8):
        one.bar()
    assert one.runner.switch.read() is Form.REDUCE and told in one.runner.switch.told()
    for _ in range(3):
        one.restart()
        most = abs(one.held)
        one.bar()
        assert abs(one.held) <= most, "a restart arms nothing"
    sends = one.sends
    one.runner.switch.arm("Ann", "looked at it", one.terminal.now_ns())
    one.bar()
    one.bar()
    assert one.sends > sends or "worth" in told


def test_B4_an_unknown_equity_lets_the_switch_fall(hand, monkeypatch):
    one = hand(on_trigger="flatten")
    one.until_held()
    account = one.runner._broker.account
    monkeypatch.setattr(
        one.runner._broker, "account", lambda: replace(account(), equity=float("nan"))
    )
    one.bar()
    assert one.runner.switch.read() is Form.FLATTEN
    assert "equity is unknown" in one.runner.switch.told()


def test_E7_a_crash_loop_ends_in_reductions(hand):
    one = hand(starts_per_hour=4)
    for _ in range(4):
        assert one.runner.switch.read() is Form.ARMED
        one.restart()
    assert one.runner.switch.read() is Form.REDUCE
    assert "5 starts within an hour" in one.runner.switch.told()
