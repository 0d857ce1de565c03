"""What a history that is cut, late or moved by a clock proves, and what it does not."""

from __future__ import annotations

import sqlite3

import pytest
from harness import HOUR

from mtquant.brokers.base import OrderState
from mtquant.brokers.terminal.lasting_faults import ClockJump
from mtquant.brokers.terminal.order_faults import Late, Unanswered

FIRST_ORDER = 16  # number of the first order_send of the script
DAY = 24 * HOUR


def intents(one):
    """``{magic: (state, executed steps)}`` as the journal has them."""
    with sqlite3.connect(one.path) as database:
        rows = database.execute("SELECT magic, state, executed_steps FROM intent").fetchall()
    database.close()
    return {magic: (state, steps) for magic, state, steps in rows}


def dealt(one, magic):
    return sum(round(d.volume * 100) for d in one.terminal.account.deals if d.magic == magic)


def silent(hand, fault, grace=3):
    """A life after the first order, which has no answer, and its id."""
    one = hand({FIRST_ORDER: fault})
    one.runner._reconciler.__dict__["grace_bars"] = grace
    one.bar()
    return one, one.terminal.sent[0].request["magic"]


def cut(monkeypatch, one, shown, orders=True):
    """Let history show only what ``shown(record, since_ns)`` lets through."""
    broker = one.runner._broker
    for name in ("deals", "past_orders") if orders else ("deals",):
        whole = getattr(broker, name)
        monkeypatch.setattr(
            broker,
            name,
            lambda since, whole=whole: tuple(r for r in whole(0) if shown(r, since)),
        )


@pytest.mark.parametrize("days", [-300, -7, -1, 1, 7])
def test_A5_no_clock_moves_the_end_of_history_beyond_the_modules_32_bits(hand, days):
    one = hand()
    one.until_held()
    broker = one.runner._broker
    seen = [deal.ticket for deal in broker.deals(0)]
    one.terminal.begin(ClockJump(seconds=days * 86_400))
    assert [deal.ticket for deal in broker.deals(0)] == seen != []
    assert len(broker.past_orders(0)) == len(one.terminal.account.orders) > 0


def test_A5_an_order_is_given_up_on_the_whole_of_history_alone(hand, monkeypatch):
    """The server's date was wrong when it executed: the fill is stamped five days early."""
    one, magic = silent(hand, Unanswered(executed=True))
    asked = []

    def shown(record, since):
        asked.append(since)
        first = one.terminal.now_ns() - 40 * HOUR
        return record.magic != magic or since - DAY <= first - 5 * DAY

    cut(monkeypatch, one, shown)
    for _ in range(3):
        one.bar()
        assert intents(one)[magic] == ("ambiguous", 0) and min(asked) > 0
    for _ in range(3):
        one.bar()
    assert intents(one)[magic] == ("executed", dealt(one, magic)) and min(asked) == 0
    assert dealt(one, magic) != 0


def test_A5_nothing_is_given_up_in_a_history_with_holes(hand, monkeypatch):
    """What it has shown before, it does not show now: then absence proves nothing."""
    one, magic = silent(hand, Unanswered(executed=True))
    with monkeypatch.context() as cutting:
        cut(cutting, one, lambda record, since: False)
        held, reports = one.held, [one.bar() for _ in range(8)]
    assert intents(one)[magic] == ("ambiguous", 0)
    assert all("history lacks deals" in report.events[0] for report in reports)
    assert {report.outlook.decisions[0].reason for report in reports} <= {
        "unresolved order",
        "script",
    }
    assert abs(one.held) <= abs(held), "nothing grows meanwhile"
    one.bar()
    assert intents(one)[magic] == ("executed", dealt(one, magic))


def test_A5_an_order_that_is_filled_waits_for_its_deals(hand, monkeypatch):
    """The terminal lists the order as filled and its deals not yet."""
    one, magic = silent(hand, Unanswered(executed=True))
    with monkeypatch.context() as cutting:
        cut(cutting, one, lambda deal, since: deal.magic != magic, orders=False)
        for _ in range(8):
            one.bar()
        (past,) = [o for o in one.runner._broker.past_orders(0) if o.magic == magic]
        assert past.state is OrderState.FILLED and intents(one)[magic] == ("ambiguous", 0)
    one.bar()
    assert intents(one)[magic] == ("executed", dealt(one, magic))


def test_F4_a_fill_after_it_was_given_up_is_journalled(hand):
    one, magic = silent(hand, Late(bars=9))
    while intents(one)[magic][0] == "ambiguous":
        one.bar()
    assert intents(one)[magic] == ("not executed", 0)
    events = [event for _ in range(12) for event in one.bar().events]
    assert intents(one)[magic] == ("executed", dealt(one, magic)) and dealt(one, magic)
    assert sum("after all" in event for event in events) == 1
    assert not any("expected" in event for event in events), "it is explained"
    one.restart()  # the journal is whole: it opens


def test_C5_a_server_clock_that_is_set_back_allows_no_increase_and_says_why(hand):
    one = hand({60: ClockJump(seconds=-86_400)})
    while one.terminal._number <= 60:
        one.bar()
    reasons = []
    for _ in range(40):
        before, report = one.held, one.bar()
        assert abs(one.held) <= abs(before)
        if report is not None:
            reasons.append(report.outlook.decisions[0].reason)
    assert set(reasons) <= {"no fresh quote", "script"} and "no fresh quote" in reasons
