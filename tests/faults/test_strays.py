"""Own working orders that no open intent accounts for count until they end."""

from __future__ import annotations

import pytest
from harness import TAG
from test_late import dealt, intents

from mtquant.brokers import constants as mt5

UNKNOWN = TAG << 40 | 77


def place(one, steps, magic=UNKNOWN, off=0.03):
    """A limit order under a magic, ``off`` of the price from the market; its ticket."""
    quote = one.runner._broker.quote(one.stage.instrument)
    side = 1 if steps > 0 else -1
    request = {
        "action": mt5.TRADE_ACTION_PENDING,
        "symbol": "XAUUSD",
        "volume": abs(steps) / 100,
        "type": mt5.ORDER_TYPE_BUY_LIMIT if steps > 0 else mt5.ORDER_TYPE_SELL_LIMIT,
        "price": round(quote.bid * (1 - side * off), 2),
        "type_time": mt5.ORDER_TIME_GTC,
        "type_filling": mt5.ORDER_FILLING_RETURN,
        "magic": magic,
    }
    answer = one.terminal.order_send(request)
    assert answer.retcode == mt5.TRADE_RETCODE_DONE, answer
    return answer.order


def cancel(one, ticket):
    answer = one.terminal.order_send({"action": mt5.TRADE_ACTION_REMOVE, "order": ticket})
    assert answer.retcode == mt5.TRADE_RETCODE_DONE, answer


def found(one):
    """What reconciliation says now."""
    runner = one.runner
    return runner._reconciler.run(runner._record, one.terminal.now_ns())


@pytest.mark.parametrize("steps", [4, -4])
@pytest.mark.parametrize("book", ["stage", "hedging_stage"])
def test_B1_a_working_order_that_no_intent_explains_counts_and_stops_increases(
    hand, request, book, steps
):
    one = hand(on=request.getfixturevalue(book))
    one.bar()
    held = one.held
    ticket = place(one, steps)
    findings = found(one)
    (exposure,), (guard,) = findings.exposures, findings.guards
    assert (exposure.below, exposure.above) == (min(steps, 0), max(steps, 0))
    assert exposure.worst == max(abs(held), abs(held + steps))
    assert guard.reason == "working order that no intent explains" and not guard.frozen
    assert any(str(ticket) in event and "cancel it" in event for event in findings.events)
    for _ in range(4):
        before = one.held
        decided = one.bar().outlook.decisions[0]
        assert abs(one.held) <= abs(before) and decided.reason in (guard.reason, "script")
    cancel(one, ticket)
    assert found(one).guards == (None,) and found(one).exposures[0].worst == abs(one.held)


def test_B1_what_is_held_is_reduced_only_as_far_as_a_working_order_leaves_it(hand):
    one = hand()
    one.until_held()
    held = one.held
    assert held == 10
    place(one, -4)
    (exposure,) = found(one).exposures
    assert exposure.reducible == 6
    one.stage.strategy.wanted = lambda bar: 0
    try:
        one.bar()
    finally:
        del one.stage.strategy.wanted
    assert one.held == 4, "if the limit is filled too, nothing is left, and nothing is short"


def test_B1_F4_a_settled_order_that_works_still_counts_and_is_journalled_as_it_fills(hand):
    """An answer has settled it, and a rest works on."""
    one = hand()
    one.until_held()
    magic = one.terminal.sent[-1].request["magic"]
    one.runner.on_bar()
    state = intents(one)[magic]
    assert state == ("executed", 10)
    place(one, 3, magic, off=0.0005)
    findings = found(one)
    assert findings.exposures[0].above == 3 and findings.guards[0].reason == "unresolved order"
    assert any("was settled" in event for event in findings.events)
    while one.terminal.orders_get():
        one.terminal.advance()
    report = one.bar()
    assert not any("expected" in event for event in report.events), "the three on top explain it"
    assert dealt(one, magic) == 13 and intents(one)[magic] == ("executed", 13)
    assert found(one).exposures[0].above == 0


@pytest.mark.parametrize("magic", [0, 7 << 40 | 77])
def test_B1_a_working_order_of_somebody_else_is_not_ours(hand, magic):
    one = hand()
    one.bar()
    place(one, 4, magic)
    findings = found(one)
    assert findings.guards == (None,) and findings.exposures[0].above == 0


def test_B1_a_restart_finds_it_again(hand):
    """No intent of an older life is needed: the broker shows it."""
    one = hand()
    place(one, 4)
    one.restart()
    assert found(one).guards[0].reason == "working order that no intent explains"
    assert one.bar().outlook.decisions[0].target == 0
