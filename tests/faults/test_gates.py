"""The gates: nothing is sent past them, each cap binds at its bound, and doubt stops increases."""

from __future__ import annotations

import ast
import copy
import pickle
from dataclasses import replace
from math import inf
from pathlib import Path
from types import SimpleNamespace

import harness
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import mtquant
from mtquant.brokers import constants as mt5
from mtquant.brokers.approval import Approved, issue, withheld
from mtquant.brokers.base import BrokerPosition, MarketOrder, OrderResult, Outcome
from mtquant.brokers.terminal.lasting_faults import LatePositions
from mtquant.brokers.terminal.order_faults import Answered, ForeignTrade, Part, Unanswered
from mtquant.brokers.terminal.records import TradeRequest
from mtquant.config.live import LiveLimits
from mtquant.errors import ConfigError, RiskHalt
from mtquant.live.decision import Guard
from mtquant.live.exposure import Exposure, exposure_of
from mtquant.live.gates import Asked, Denied
from mtquant.live.intents import Intent, next_attempt
from mtquant.live.kill_switch import Form

PACKAGE = Path(mtquant.__file__).parent
FIRST_ORDER = 16  # number of the first order_send of the script


def calls_of(name):
    """Files and counts of calls of a name, as attribute or alone."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        if path.parent.name == "terminal":  # what is called, not who calls
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                called = getattr(node.func, "attr", getattr(node.func, "id", ""))
                if called == name:
                    place = path.relative_to(PACKAGE).as_posix()
                    found[place] = found.get(place, 0) + 1
    return found


def test_B8_one_place_calls_order_send_and_one_room_approves():
    assert calls_of("order_send") == {"brokers/mt5_orders.py": 1}
    assert calls_of("withheld") == {"brokers/mt5_orders.py": 1}
    assert calls_of("issue") == {"live/gates.py": 2}
    assert set(calls_of("send_one")) == {"live/flatten.py", "live/sending.py"}


def test_B8_a_hand_made_approval_is_refused(hand):
    one = hand()
    adapter, order = one.runner._broker, MarketOrder(one.stage.instrument, 1, magic=5)
    with pytest.raises(TypeError, match=r"only mtquant\.live\.gates"):
        Approved()
    forged = object.__new__(Approved)
    object.__setattr__(forged, "action", order)
    object.__setattr__(forged, "_last_look", str)
    real = issue(order, "", lambda: "")
    alike = SimpleNamespace(action=order)
    with pytest.raises(AttributeError):
        copy.copy(real)
    for fake in (forged, alike, order, None):
        with pytest.raises(RiskHalt, match="was not approved"):
            adapter.send(fake)
    with pytest.raises(AttributeError):
        real.action = replace(order, steps=100)
    with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
        pickle.dumps(real)
    assert one.sends == 0


def test_A2_an_approval_is_used_up_by_its_use(hand):
    one = hand()
    approved = issue(MarketOrder(one.stage.instrument, 1, magic=5), "", lambda: "")
    assert withheld(approved) == ""
    with pytest.raises(RiskHalt, match="nor twice"):
        one.runner._broker.send(approved)


def asked_for(
    one, steps, *, held=0, moved=0, guard=None, age_s=0.0, price=None, other=0.0, band=inf
):
    quote = one.runner._broker.quote(one.stage.instrument)
    price = quote.ask if price is None else price
    now = one.terminal.now_ns()
    return Asked(
        Intent(5, "XAUUSD", now, 8, steps),
        Exposure(held, moved=moved),
        now - int(age_s * 1e9),
        guard,
        0,
        price,
        price,  # one ounce
        other,
        band,
    )


def shows(one, steps, magic=5):
    """From now on the broker shows so many lot steps of the order's strategy, whatever is held."""
    held = BrokerPosition(9, 9, "XAUUSD", magic, steps / 100, 2000.0, 0.0, 0)
    one.runner._broker.positions = lambda: (held,) if steps else ()


def verdict(one, asked, shown=None):
    shows(one, asked.exposure.held if shown is None else shown)
    answer = one.runner._sender.checker.approve(asked)
    return answer.gate if isinstance(answer, Denied) else ""


def test_B2_every_cap_binds_at_its_bound(hand):
    one = hand(max_delta_lots={"XAUUSD": 0.12})
    ask = one.runner._broker.quote(one.stage.instrument).ask
    assert verdict(one, asked_for(one, 10)) == ""
    assert verdict(one, asked_for(one, 11)) == "limits", "lots of an order"
    assert verdict(one, asked_for(one, 3, held=7)) == ""
    assert verdict(one, asked_for(one, 4, held=7)) == "limits", "lots of the position"
    assert verdict(one, asked_for(one, 5, moved=7)) == ""
    assert verdict(one, asked_for(one, 6, moved=7)) == "limits", "B5: lots of one bar"
    assert verdict(one, asked_for(one, 1, price=ask / 1.19)) == ""
    assert verdict(one, asked_for(one, 1, price=ask / 1.21)) == "limits", "price collar"
    assert verdict(one, asked_for(one, 1, price=ask * 1.3)) == "limits"
    assert verdict(one, asked_for(one, 1, price=ask / 1.09, band=0.1)) == ""
    assert verdict(one, asked_for(one, 1, price=ask / 1.11, band=0.1)) == "limits", "price band"
    assert verdict(one, asked_for(one, 1, price=ask / 1.21, band=0.5)) == "limits", "the narrower"
    assert verdict(one, asked_for(one, -1, held=2, price=ask / 1.11, band=0.1)) == "", "a way out"
    assert verdict(one, asked_for(one, 1, other=1e6 - 2 * ask)) == ""
    assert verdict(one, asked_for(one, 1, other=1e6 - ask / 2)) == "limits", "the sum"
    assert verdict(one, asked_for(one, 1, price=float("nan"))) == "limits"
    one.runner._sender.checker.__dict__["limits"] = one.limits.model_copy(
        update={"max_order_value": 5 * ask}
    )
    assert verdict(one, asked_for(one, 5)) == ""
    assert verdict(one, asked_for(one, 6)) == "limits", "value of an order"


def test_B5_a_flip_moves_no_more_than_its_limit(hand):
    one = hand(max_delta_lots={"XAUUSD": 0.15})
    before, moves = 0, []
    for _ in range(14):
        one.bar()
        moves.append((before, one.held))
        before = one.held
    assert all(
        abs(now - was) <= 15 or (now * was <= 0 and abs(now) < abs(was)) for was, now in moves
    )
    assert (10, 0) in moves, "the reduction of the flip stands, its increase waits a bar"


def test_B3_throttles_count_what_was_sent_across_restarts(hand):
    """An order-hungry strategy in a loop of crashes, all within the same hour."""
    one = hand(orders_per_minute=3, orders_per_hour=4)
    one.stage.strategy.wanted = lambda bar: 10 if one.held < 5 else 0
    try:
        clock = one.terminal.now_ns()
        for _ in range(6):
            one.runner._sender.checker.__dict__["clock"] = lambda: clock
            one.runner._sender.__dict__["clock"] = lambda: clock
            one.bar()
            one.restart()
        increases = [s for s in one.terminal.sent if s.request["type"] == mt5.ORDER_TYPE_BUY]
        assert 1 <= len(increases) <= 3
    finally:
        del one.stage.strategy.wanted


def test_A10_another_price_is_tried_again_as_another_intent(hand):
    """Requotes without end: a few attempts, each its own id, each through the gates."""
    requote = Answered(mt5.TRADE_RETCODE_REQUOTE)
    one = hand({n: requote for n in range(12, 40)}, attempts_per_bar=3)
    report = one.bar()
    assert [r.retcode for r in report.results] == [mt5.TRADE_RETCODE_REQUOTE] * 3
    magics = [s.request["magic"] for s in one.terminal.sent]
    assert [m >> 4 & 7 for m in magics] == [0, 1, 2] and len(set(magics)) == 3
    asked = [name for name in one.terminal.calls if name == "account_info"]
    assert len(asked) >= 2 + 1 + 3, "each is judged anew"
    assert next_attempt(Intent(3 << 4, "X", 0, 0, 1)) is None


def test_A11_an_old_decision_is_not_sent(hand):
    one = hand(max_decision_age_seconds=5.0)
    for age, gate in ((0.0, ""), (5.0, ""), (5.1, "old"), (-1.0, "old")):
        asked = asked_for(one, 1, age_s=age)
        approved = one.runner._sender.checker.approve(asked)
        assert isinstance(approved, Approved)
        assert ("decided" in withheld(approved)) == bool(gate), age


def test_A12_a_reduction_of_what_is_proven_passes_where_increases_do_not(hand):
    one = hand()
    doubt, frozen = Guard("doubt", frozen=False), Guard("nothing at all", frozen=True)
    assert verdict(one, asked_for(one, 1, held=5, guard=doubt)) == "reconciled"
    assert verdict(one, asked_for(one, -5, held=5, guard=doubt)) == ""
    assert verdict(one, asked_for(one, -6, held=5, guard=doubt)) == "reconciled"
    assert verdict(one, asked_for(one, -5, held=5, guard=frozen)) == "reconciled"
    one.runner.switch.kill(Form.REDUCE, "so")
    assert verdict(one, asked_for(one, 1, held=5)) == "kill switch"
    assert verdict(one, asked_for(one, -5, held=5)) == ""
    assert verdict(one, asked_for(one, -5, held=5, price=1.0)) == "", "no collar on the way out"
    one.runner.switch.kill(Form.HARD, "so")
    assert verdict(one, asked_for(one, -5, held=5)) == "kill switch"


@pytest.mark.parametrize("name", ["login", "server", "currency", "is_demo", "hedging"])
def test_E6_another_account_is_not_traded(hand, monkeypatch, name):
    one = hand()
    account = one.runner._broker.account()
    other = {"login": 7, "server": "x", "currency": "EUR", "is_demo": False, "hedging": True}
    monkeypatch.setattr(
        one.runner._broker, "account", lambda: replace(account, **{name: other[name]})
    )
    assert verdict(one, asked_for(one, 1)) == verdict(one, asked_for(one, -1, held=5)) == "account"


@pytest.mark.parametrize("name", ["account", "server", "currency", "is_demo"])
def test_E6_the_limits_name_the_account(hand, name):
    other = {"account": 7, "server": "x", "currency": "EUR", "is_demo": False}
    with pytest.raises(ConfigError, match="the live limits say"):
        hand(**{name: other[name]})


def test_E5_without_the_lock_nothing_is_sent(hand):
    one = hand()
    one.path.with_name(one.path.name + ".lock").unlink()
    assert verdict(one, asked_for(one, 1)) == "one writer"


def test_C1_an_old_quote_stops_increases(hand, monkeypatch):
    one = hand(max_quote_age_seconds=30.0)
    now = one.terminal.now_ns()
    for age, gate in ((30, ""), (31, "fresh")):
        monkeypatch.setattr(
            one.runner._broker, "tick_time_ns", lambda i, n, age=age: now - age * 10**9
        )
        assert verdict(one, asked_for(one, 1)) == gate
        assert verdict(one, asked_for(one, -1, held=1)) == ""


@example(held=5, unanswered=[-3], steps=-5)
@given(
    held=st.integers(-20, 20),
    unanswered=st.lists(st.integers(-20, 20), max_size=5),
    steps=st.integers(-30, 30).filter(bool),
)
def test_B1_a_reduction_cannot_make_more_of_it_whatever_is_executed(held, unanswered, steps):
    """Held against every subset of the orders without an answer."""
    exposure = exposure_of(held, unanswered)
    ends = {held}
    for one in unanswered:
        ends |= {end + one for end in ends}
    assert exposure.worst == max(map(abs, ends))
    if exposure.reduced_by(steps):
        assert all(abs(end + steps) <= abs(end) for end in ends)
    assert exposure.unproven(steps).worst >= max(abs(end + steps) for end in ends)


@pytest.mark.parametrize("side", [1, -1])
def test_B1_what_a_stop_has_closed_since_the_look_is_not_turned_round(hand, hedging_stage, side):
    one, hedging = hand(), hand(on=hedging_stage)
    for held, steps, shown, gate in (
        (5, -5, 5, ""),
        (5, -5, 4, "held"),  # a part was closed since
        (5, -5, 0, "held"),
        (5, -5, -5, "held"),
        (5, -3, 3, ""),  # it reduces still
        (0, -5, 5, ""),  # the reduction before it is not shown yet
        (0, -5, -5, "held"),  # a stop was quicker than the reduction, which has turned it round
        (3, 5, 0, ""),
    ):
        asked = asked_for(one, steps * side, held=held * side)
        assert verdict(one, asked, shown * side) == gate, (held, steps, shown)
        # There an order names the ticket that it closes, and one that is gone refuses it.
        asked = asked_for(hedging, steps * side, held=held * side)
        assert verdict(hedging, asked, shown * side) == ""


def test_B1_a_stop_in_the_middle_of_a_flip_leaves_no_more_than_was_held(hand):
    """The stop fires after the gates of the flip's reduction, which then opens the other side."""
    one = hand()
    one.bar()
    assert one.held == 10, "and the next bar wants -10"
    send = one.runner._broker.send

    def stopped_first(approved):
        one.runner._broker.send = send
        (held,) = one.terminal.account.history.holdings()
        close = TradeRequest.of(
            action=mt5.TRADE_ACTION_DEAL,
            symbol="XAUUSD",
            volume=0.10,
            type=mt5.ORDER_TYPE_SELL,
            position=held.ticket,
            magic=held.request.magic,
        )
        one.terminal.account.history.reason = mt5.DEAL_REASON_SL
        assert one.terminal._serve(close).retcode == mt5.TRADE_RETCODE_DONE
        one.terminal.account.history.reason = mt5.DEAL_REASON_EXPERT
        return send(approved)

    one.runner._broker.send = stopped_first
    results = one.bar().results
    assert [r.outcome for r in results] == [Outcome.EXECUTED, Outcome.WITHHELD]
    assert one.held == -10 and not one.terminal.broken
    one.bar()


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("book", ["stage", "hedging_stage"])
def test_B1_the_position_limit_counts_what_unanswered_orders_may_come_to(hand, request, book, side):
    """Ten lot steps are allowed; each line is the most that passes, and one step more."""
    one = hand(on=request.getfixturevalue(book))
    for held, unanswered, most in (
        (3, [4], 3),
        (0, [5, 4], 1),
        (-2, [5, 4], 3),  # were the order executed alone, it would hold far less
        (3, [4, -9], 3),  # what may be sold makes no room
        (3, [-4], -9),  # nor what is held, for a sale
        (0, [-4, 6], -6),
    ):
        exposure = exposure_of(held * side, [steps * side for steps in unanswered])
        for steps, gate in ((most, ""), (most + (1 if most > 0 else -1), "limits")):
            asked = replace(asked_for(one, steps * side), exposure=exposure)
            assert verdict(one, asked) == gate, (held, unanswered, steps)


@pytest.mark.parametrize("outcome", list(Outcome))
def test_B1_what_an_answer_leaves_open(outcome):
    result = OrderResult(outcome, None, 2 if outcome is Outcome.PARTIAL else 0, 0.0, 0, 0, "")
    if outcome is Outcome.EXECUTED:
        result = replace(result, steps=5)
    after = Exposure(3).answered(5, result)
    expected = {
        Outcome.EXECUTED: (8, 8),
        Outcome.PARTIAL: (5, 5),
        Outcome.PLACED: (3, 8),
        Outcome.AMBIGUOUS: (3, 8),
        Outcome.NOT_EXECUTED: (3, 3),
        Outcome.WITHHELD: (3, 3),
    }
    assert (after.held, after.worst) == expected[outcome]
    moved = {Outcome.PARTIAL: 2, Outcome.NOT_EXECUTED: 0, Outcome.WITHHELD: 0}
    assert after.moved == moved.get(outcome, 5)


def test_A4_after_silence_nothing_grows_and_the_proven_part_can_go(hand):
    """The increase of the flip is unanswered; what was held before it is gone already."""
    one = hand({FIRST_ORDER: Unanswered()})
    one.bar()
    assert one.held == 0 and one.sends == 1
    for _ in range(5):
        assert one.bar().outlook.decisions[0].reason in ("unresolved order", "script")
        assert one.held == 0
    assert one.sends == 1


def test_A9_what_is_missing_of_a_part_is_the_next_order(hand):
    one = hand({FIRST_ORDER: Part(0.5)})
    one.stage.strategy.wanted = lambda bar: 10
    try:
        one.bar()
        part = one.held
        one.bar()
        assert 0 < part < 10 and one.held == 10
    finally:
        del one.stage.strategy.wanted


def test_B7_a_change_that_is_not_ours_stops_increases_until_a_person_arms(hand):
    one = hand({40: ForeignTrade(-3)}, on_foreign="halt")
    for _ in range(6):
        one.bar()
    assert one.runner.switch.read() is Form.REDUCE and "expected" in one.runner.switch.told()


@pytest.mark.parametrize("book", ["stage", "hedging_stage"])
@pytest.mark.parametrize("bars", [1, 2, 4])
def test_B7_positions_that_lag_behind_own_orders_are_no_change_of_others(hand, request, book, bars):
    one = hand(on=request.getfixturevalue(book), on_foreign="halt")
    for bar in range(12):
        if bar in (0, 6):  # before the first order, and while one side is turned into the other
            one.terminal.begin(LatePositions(bars=bars))
        one.bar()
        assert one.runner.switch.read() is Form.ARMED, one.runner.switch.told()


def test_E5_a_deal_under_our_tag_that_we_did_not_send_is_another_runner(hand):
    from harness import TAG

    one = hand()
    one.until_held()
    request = dict(one.terminal.sent[0].request) | {"magic": TAG << 40 | 77, "volume": 0.01}
    one.terminal._before_order = lambda request: None
    one.terminal.order_send(request)
    one.bar()
    assert one.runner.switch.read() is Form.HARD and "another runner" in one.runner.switch.told()


def test_G3_every_limit_must_be_written_out(hand):
    from harness import LIMITS

    whole = LIMITS.model_dump()
    for name in whole:
        with pytest.raises(ValueError, match="Field required"):
            LiveLimits(**{key: value for key, value in whole.items() if key != name})
        for wrong in (True, float("nan"), -1, None):
            if name != "is_demo" or wrong is not True:
                with pytest.raises(ValueError):
                    LiveLimits(**whole | {name: wrong})
    with pytest.raises(ValueError, match="Extra inputs"):
        LiveLimits(**whole, max_order_lot={})
    with pytest.raises(ConfigError, match="says nothing of EURUSD"):
        LIMITS.must_name(["XAUUSD", "EURUSD"])


def test_E5_a_stop_of_what_was_taken_over_is_no_other_runner(hand, tmp_path):
    """A new journal has none of the old orders, whose magic the server's closing deal carries."""
    stage = harness.Stage(bars=6, tail=10)
    stage.strategy._script = (10,)
    one = hand(on=stage)
    one.until_held()
    one.path = tmp_path / "anew.db"
    one.restart()
    one.bar()
    (held,) = one.terminal.account.history.holdings()
    history = one.terminal.account.history
    history.reason = mt5.DEAL_REASON_SL
    closing = TradeRequest.of(
        action=mt5.TRADE_ACTION_DEAL,
        symbol="XAUUSD",
        volume=abs(held.steps) / 100,
        type=mt5.ORDER_TYPE_SELL if held.steps > 0 else mt5.ORDER_TYPE_BUY,
        magic=held.request.magic,
    )
    assert one.terminal._serve(closing).deal
    history.reason = mt5.DEAL_REASON_EXPERT
    one.bar()
    assert one.runner.switch.read() is Form.ARMED
