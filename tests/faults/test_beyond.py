"""A position does not vanish because it is not shown: only deals move what is held."""

from __future__ import annotations

import pytest
import schedules

from mtquant.brokers.terminal.fault_kinds import Call


def hide(monkeypatch, one):
    """The terminal shows no position, until the patch is taken back."""
    monkeypatch.setattr(one.terminal, "positions_get", lambda *args, **named: (), raising=False)


def guards(one):
    """What stands against trading now, without a decision."""
    runner = one.runner
    return runner._reconciler.run(runner._record, one.terminal.now_ns()).guards


@pytest.mark.parametrize("book", ["stage", "hedging_stage"])
def test_B1_what_is_not_shown_for_three_bars_is_no_flat_account(hand, request, monkeypatch, book):
    one = hand(on=request.getfixturevalue(book))
    one.until_held()
    with monkeypatch.context() as hidden:
        hide(hidden, one)
        for number in range(3):
            held = one.held
            report = one.bar()
            assert any(text.endswith("the broker shows 0") for text in report.events)
            assert abs(one.held) <= abs(held), number
            if number == 1:
                one.restart()
    one.bar()
    assert guards(one) == (None,)  # shown again, it is what all deals say


def test_B1_somebody_elses_position_does_not_hide_ours(tmp_path):
    for read in range(200, 216):  # one of them asks for positions, at a bar with few calls
        plan = {10: "somebody buys", read: "positions are empty"}
        assert not schedules.broken(plan, tmp_path / "journal.db"), plan


def test_B1_deals_of_another_account_are_none_of_ours(tmp_path):
    for call in range(84, 130):
        plan = {call: "another account", call + 3: "raises before"}
        assert not schedules.broken(plan, tmp_path / "journal.db"), plan


@pytest.mark.parametrize("who", ["somebody closes", "somebody closes half"])
def test_B7_what_a_deal_explains_is_taken_over(hand, who):
    one = hand()
    one.until_held()
    one.bar()
    schedules.NAMES[who].strike(one.terminal, Call("", (), {}, lambda: None))
    one.bar()
    one.bar()
    assert guards(one) == (None,)
