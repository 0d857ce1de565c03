"""The way out: it closes what is held, all of it, and never opens the other side."""

from __future__ import annotations

from dataclasses import replace

import harness
import pytest

from mtquant.brokers.terminal.lasting_faults import LatePositions, Refusing
from mtquant.brokers.terminal.order_faults import Late, Unanswered
from mtquant.live.kill_switch import Form


def flattening(hand, on, **limits):
    """A life that holds something and whose switch is at FLATTEN."""
    one = hand(on=on, **limits)
    one.until_held()
    one.runner.switch.kill(Form.FLATTEN, "out")
    return one


@pytest.mark.parametrize("lag", [1, 2, 4, 6])
def test_A12_a_reduction_is_not_repeated_while_positions_lag(hand, lag):
    """The script wants out; what has closed it is in history, and is still shown."""
    stage = harness.Stage(bars=12, tail=20)
    stage.strategy._script = (10,)
    one, seen = hand(on=stage), list[int]()
    one.until_held()
    stage.strategy._script = (0,)
    one.terminal.begin(LatePositions(bars=lag))
    for _ in range(lag + 4):
        one.bar()
        seen.append(one.held)
    assert min(seen) == 0 == seen[-1], "nothing was sold short on the way out"


def test_E4_a_shut_market_is_tried_again_when_it_is_quoted_or_after_an_hour(hand, monkeypatch):
    """A holiday: else refusals would use up the day's orders, and make every switch fall."""
    one = flattening(hand, harness.Stage(), on_trigger="hard", orders_per_day=20)
    before, quoted = one.sends, one.terminal.now_ns()
    one.terminal.begin(Refusing(bars=3))
    for bar in range(3):  # an hour each
        for _ in range(6):
            one.runner.on_bar()
        assert one.sends == before + bar + 1
        one.terminal.advance()
        if bar == 1:
            broker = type(one.runner._broker)
            monkeypatch.setattr(broker, "tick_time_ns", lambda *_: quoted)
    one.runner.on_bar()
    assert one.held == 0 and one.runner.switch.read() is Form.FLATTEN


@pytest.mark.parametrize("book", ["stage", "hedging_stage"])
def test_A12_flatten_opens_nothing_while_positions_lag(hand, request, book):
    one = flattening(hand, request.getfixturevalue(book))
    was = one.held
    one.terminal.begin(LatePositions(bars=3))
    for _ in range(6):  # several looks within a bar
        one.runner.on_bar()
    for _ in range(6):
        one.bar()
    assert one.held == 0 != was and not one.terminal.broken
    assert sum(not deal.entry for deal in one.terminal.account.deals[1:]) == 1, "one entry"


def test_E4_an_order_without_an_answer_does_not_block_the_way_out_for_ever(hand, stage):
    """No bars are decided at FLATTEN, so the order grows old by time; and somebody is told."""
    one = flattening(hand, stage)
    one.terminal._plan = {one.terminal._number: Unanswered()}
    for _ in range(3):
        one.runner.on_bar()
    one.bar()  # which takes an hour
    one.runner.on_bar()
    assert one.held, "it might have been executed yet"
    one.bar()
    one.runner.on_bar()
    assert one.held == 0 and not one.terminal.broken
    told = [text for _, text in one.journal.events()]
    assert sum("no answer" in text or "not executed" in text for text in told) < 10


@pytest.mark.parametrize("late", [Unanswered(), Unanswered(executed=True), Late(bars=2)])
def test_E4_a_ticket_is_closed_whatever_became_of_an_order_before(hand, hedging_stage, late):
    """One that is gone refuses the order, so nothing has to be waited for."""
    one = flattening(hand, hedging_stage)
    one.terminal._plan = {one.terminal._number: late}
    for _ in range(2):
        one.runner.on_bar()
    assert one.held == 0
    for _ in range(4):
        one.bar()
    assert one.held == 0 and not one.terminal.broken


def test_E4_what_is_more_than_one_order_may_be_is_closed_by_several(hand, stage):
    one = hand(on=stage)
    one.until_held()
    instrument = stage.instrument
    small = replace(instrument, spec=instrument.spec.model_copy(update={"lot_max": 0.04}))
    one.runner._flattener.instruments = (small,)
    one.runner.switch.kill(Form.FLATTEN, "out")
    one.bar()
    sent = [sent.request["volume"] for sent in one.terminal.sent[1:]]
    assert one.held == 0 and sent == [0.04, 0.04, 0.02]
