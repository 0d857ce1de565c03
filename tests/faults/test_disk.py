"""A journal that cannot be written: nothing is sent without an intent; the way out stays open."""

from __future__ import annotations

import sqlite3

import pytest

from mtquant.errors import RiskHalt
from mtquant.live.chain import Chain
from mtquant.live.kill_switch import Form


class FullDisk:
    """Every commit from the N-th on fails, as SQLite says it."""

    def __init__(self, monkeypatch, allowed):
        self.left, real = allowed, Chain._seal

        def seal(chain, before):
            if chain._told and self.left <= 0:
                raise sqlite3.OperationalError("database or disk is full")
            self.left -= bool(chain._told)
            real(chain, before)

        monkeypatch.setattr(Chain, "_seal", seal)


@pytest.mark.parametrize("allowed", range(12))
def test_F2_a_write_that_fails_sends_nothing_without_an_intent(hand, monkeypatch, allowed):
    """The N-th write and all after it; then the disk is well again and the life goes on."""
    one = hand()
    with monkeypatch.context() as patched:
        FullDisk(patched, allowed)
        for _ in range(5):
            try:
                one.runner.on_bar()
            except (RiskHalt, sqlite3.Error):
                pass
            one.terminal.advance()
    sent = one.sends
    assert not one.terminal.broken, "A3: the terminal looks into the journal before each order"
    one.restart()
    for _ in range(3):
        one.bar()
    assert not one.terminal.broken and one.sends >= sent


def test_F2_on_a_full_disk_the_spare_orders_flatten(hand, monkeypatch):
    one = hand()
    one.until_held()
    with monkeypatch.context() as patched:
        FullDisk(patched, 0)
        one.runner.switch.kill(Form.FLATTEN, "the disk is full")
        for _ in range(4):
            one.bar()
    assert one.held == 0 and not one.terminal.broken
    magic = one.terminal.sent[-1].request["magic"]
    assert magic >> 4 & 7 == 7, "under the name of a spare one"
    one.runner.switch.arm("Ann", "made room", one.terminal.now_ns())
    one.restart()
    report = one.bar()
    assert f"spare order {magic} was sent, says history" in " ".join(report.events)
    assert not [event for event in report.events if "expected" in event]
