"""Where stops should stand: what orders have set, what decisions have moved, what people touch."""

from __future__ import annotations

import pytest

from mtquant.brokers import constants as mt5
from mtquant.brokers.base import Instrument
from mtquant.brokers.terminal.simulated import SimulatedTerminal
from mtquant.live.decision import Guard
from mtquant.live.found import BrokerBalance, FoundPosition, Ticket
from mtquant.live.levels import changes_of, close_passed, is_passed, levels_to_stand
from mtquant.live.record import HeldPosition
from mtquant.risk.reasons import REASONS, STOP
from mtquant.sim.account import empty_book


def ticket(steps=3, stop=0, take=0, number=7):
    return Ticket(number, number, steps, 100.0, 0.0, stop, take)


ASKED = (10_000, (120, 340))
WANTED = HeldPosition(3, stop=9_900, take=10_500, seen_stop=9_850, seen_take=10_500)


@pytest.mark.parametrize(
    ("shown", "steps", "before", "asked", "stands", "doubt"),
    [
        # An own order has set them, and counts from its quote.
        ((9_875, 10_335), 3, WANTED, ASKED, (9_875, 10_335), ""),
        # The server has taken the order without: counted from the price that was paid.
        ((0, 10_335), 3, WANTED, ASKED, (9_880, 10_335), "opened without"),
        ((0, 0), -3, HeldPosition(), ASKED, (10_120, 9_660), "opened without"),
        ((0, 0), 3, WANTED, (10_000, (0, 0)), (0, 0), ""),
        ((0, 0), 3, WANTED, (200, (120, 0)), (0, 0), ""),  # so far away that none is above zero
        # Nothing was dealt: what was decided stands, whoever has touched it since.
        ((9_900, 10_500), 3, WANTED, None, (9_900, 10_500), ""),
        ((9_850, 10_500), 3, WANTED, None, (9_900, 10_500), ""),  # our change never came through
        ((0, 10_500), 3, WANTED, None, (9_900, 10_500), "stands elsewhere"),
        ((9_900, 0), 3, WANTED, None, (9_900, 10_500), "stands elsewhere"),
        # A position of nobody knows what.
        ((9_000, 0), -3, WANTED, None, (9_000, 0), ""),
        ((9_000, 0), 3, HeldPosition(), None, (9_000, 0), ""),
    ],
)
def test_where_levels_should_stand(shown, steps, before, asked, stands, doubt):
    levels, told = levels_to_stand([ticket(steps, *shown)], before, asked)
    assert levels == stands
    assert told.startswith(doubt) if doubt.startswith("opened") else doubt in told
    assert bool(told) == bool(doubt)


def test_all_tickets_follow_the_newest():
    old, new = ticket(1, 9_700, 10_500, 1), ticket(2, 9_875, 10_335, 2)
    assert levels_to_stand([old, new], WANTED, ASKED) == ((9_875, 10_335), "")
    levels, told = levels_to_stand([old, ticket(2, 9_900, 10_500, 2)], WANTED, None)
    assert levels == (9_900, 10_500) and "elsewhere" in told


@pytest.mark.parametrize(
    ("side", "stop", "quoted", "passed"),
    [
        (1, 100, (101, 105), False),
        (1, 100, (100, 105), True),
        (-1, 100, (90, 99), False),
        (-1, 100, (90, 100), True),
        (1, 0, (100, 105), False),
        (-1, 0, (100, 105), False),
    ],
)
def test_a_long_is_passed_by_the_bid_and_a_short_by_the_ask(side, stop, quoted, passed):
    assert is_passed(side, stop, quoted) is passed


def test_only_tickets_that_stand_elsewhere_are_moved(gold):
    tickets = ticket(1, 9_900, 10_500, 1), ticket(2, 9_850, 10_500, 2), ticket(2, 9_900, 0, 3)
    found = FoundPosition(tickets, 9_900, 10_500)
    changes = changes_of(gold, found, WANTED, (10_000, 10_018))
    assert [(one.ticket, one.stop, one.take) for one in changes] == [
        (2, 99.0, 105.0),
        (3, 99.0, 105.0),
    ]
    assert changes_of(gold, found, WANTED, (9_900, 9_918)) == [], "no broker takes it"


@pytest.fixture
def gold(protected):
    spec = protected(120).specs[0]
    return Instrument(spec, spec.name)


@pytest.mark.parametrize(
    ("stop", "bid", "target", "guard", "after"),
    [
        (9_950, 9_940, 3, None, (0, STOP, 1, 9_900)),  # moved up too late: what stood stands
        (9_950, 9_951, 3, None, (3, 0, 0, 9_950)),
        (9_900, 9_890, 3, None, (3, 0, 0, 9_900)),  # at the broker, who acts on it himself
        (9_950, 9_940, 0, None, (0, 0, 0, 9_950)),
        (9_950, 9_940, -2, None, (-2, 0, 0, 9_950)),
        (9_950, 9_940, 3, Guard("no fresh quote", frozen=True), (3, 0, 0, 9_950)),
        (9_950, 9_940, 3, Guard("doubt", frozen=False), (0, STOP, 1, 9_900)),
    ],
)
def test_what_a_moved_stop_would_have_protected_is_closed(stop, bid, target, guard, after):
    book = empty_book(1, 1)
    row = book.positions[0, 0]
    row["steps"], row["stop"], row["target"] = 3, stop, target
    found = BrokerBalance(1e4, (FoundPosition((ticket(3, 9_900),), 9_900),))
    close_passed(book, found, [guard], [(bid, bid + 10)])
    assert tuple(row[name] for name in ("target", "reason", "barred_side", "stop")) == after


@pytest.mark.parametrize("book", ["netting", "hedging"])
@pytest.mark.parametrize("moved", [0.0, -50.0], ids=["removed", "moved"])
def test_a_stop_that_a_person_has_touched_is_put_back(holding, book, moved):
    desk = holding(book=book)
    position = desk.until_held()
    desk.bar()
    desk.change(sl=moved and position.sl + moved)
    report = desk.runner.on_bar()
    assert desk.stop == position.sl
    (event,) = report.events
    assert "stop or target stands elsewhere at the broker" in event
    assert event.endswith(f"wanted {position.sl:g} and 0")
    assert report.outlook.decisions[0].reason in REASONS, "no guard"
    assert event in [text for _, text in desk.journal.events()]
    desk.terminal.advance()
    assert not desk.runner.on_bar().events


def test_a_removed_stop_that_the_quote_has_passed_closes_the_position(holding):
    desk = holding()
    desk.until_held()
    desk.bar()
    desk.change(sl=0.0)
    row = desk.terminal.account.forming
    market = desk.terminal.account.tape.market
    market["open"][row], market["below"][row] = 1, 0
    report = desk.runner.on_bar()
    (decision,) = report.outlook.decisions
    assert (decision.target, decision.reason) == (0, "protective stop")
    assert report.outlook.record.positions[0].barred_side == 1
    assert not desk.terminal.positions_get()
    desk.terminal.advance()
    (decision,) = desk.runner.on_bar().outlook.decisions
    assert (decision.target, decision.reason) == (0, "waiting after a stop")


class Unheard(SimulatedTerminal):
    """Takes orders without their stop, or no change of stops."""

    deaf_to: tuple[int, ...] = ()

    def order_send(self, request):
        if request["action"] == mt5.TRADE_ACTION_SLTP and "change" in self.deaf_to:
            self._error = (mt5.RES_E_INTERNAL_FAIL_TIMEOUT, "IPC timeout")
            return None
        if "stop" in self.deaf_to and request["action"] == mt5.TRADE_ACTION_DEAL:
            request = request | {"sl": 0.0}
        return super().order_send(request)

    def last_error(self):
        return self._error


def test_an_order_that_came_without_its_stop_is_given_one(holding):
    desk = holding(kind=Unheard)
    desk.terminal.deaf_to = ("stop",)
    position = desk.until_held()
    assert position.sl == 0.0
    report = desk.runner.on_bar()
    assert "opened without the stop or target asked for" in report.events[0]
    intents = desk.journal._database.execute("SELECT stop_distance FROM intent").fetchall()
    assert desk.stop == pytest.approx(position.price_open - intents[0][0] / 100)


@pytest.mark.parametrize("book", ["netting", "hedging"])
def test_an_order_that_came_without_its_stop_is_given_one_before_the_next_bar(holding, book):
    desk = holding(kind=Unheard, book=book)
    desk.terminal.deaf_to = ("stop",)
    while not desk.terminal.positions_get():
        report = desk.runner.on_bar()
        if not report.results:
            desk.terminal.advance()
    assert desk.stop == 0.0 and desk.runner.on_bar() is None
    (asked,) = desk.query("SELECT stop_distance FROM intent WHERE stop_distance > 0")
    (position,) = desk.terminal.positions_get()
    assert desk.stop == pytest.approx(position.price_open - asked[0] / 100)
    desk.terminal.advance()
    assert not desk.runner.on_bar().events, "nothing is missing any more"


def test_a_stop_that_cannot_be_set_between_bars_is_tried_once(holding):
    desk = holding(kind=Unheard)
    desk.terminal.deaf_to = ("stop", "change")
    while not desk.terminal.positions_get():
        report = desk.runner.on_bar()
        if not report.results:
            desk.terminal.advance()
    for _ in range(3):
        assert desk.runner.on_bar() is None
    told = [text for _, text in desk.journal.events()]
    assert sum("are ambiguous" in text for text in told) == 1 and desk.stop == 0.0
    desk.terminal.deaf_to = ()
    desk.terminal.advance()
    desk.runner.on_bar()
    assert desk.stop != 0.0


def test_a_change_that_was_not_answered_is_tried_again_at_the_next_bar(holding):
    desk = holding(kind=Unheard)
    position = desk.until_held()
    desk.bar()
    desk.change(sl=0.0)
    desk.terminal.deaf_to = ("change",)
    for _ in range(2):
        report = desk.bar()
        assert "are ambiguous: -10005 IPC timeout" in report.events[-1]
        assert desk.stop == 0.0
    desk.terminal.deaf_to = ()
    desk.bar()
    assert desk.stop == position.sl
    told = [text for _, text in desk.journal.events()]
    assert sum("are ambiguous" in text for text in told) == 2
    assert desk.journal.breaker.failed_bars(24) == []


def test_a_person_may_set_stops_where_the_strategy_has_none(holding):
    desk = holding(stops={"atr": 0.0})
    position = desk.until_held()
    desk.bar()
    desk.change(sl=position.price_open - 60.0)
    report = desk.runner.on_bar()
    assert not report.events and desk.stop == position.price_open - 60.0
