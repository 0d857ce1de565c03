"""What a fault changes, and that it changes nothing else: the money is the kernel's."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from mtquant.brokers import constants as mt5
from mtquant.brokers.base import Outcome
from mtquant.brokers.terminal.fault_kinds import POSITIONS, QUOTES
from mtquant.brokers.terminal.fault_plans import (
    CATALOGUE,
    DEATHS,
    pairs,
    random_plan,
    shrunk,
    singles,
)
from mtquant.brokers.terminal.faults import FaultyTerminal
from mtquant.brokers.terminal.lasting_faults import (
    FOR_EVER,
    AccountSwitched,
    ClockJump,
    Frozen,
    LateHistory,
    LatePositions,
    Outage,
    Refusing,
    TradingOff,
)
from mtquant.brokers.terminal.order_faults import (
    Answered,
    CommentRewritten,
    ForeignClose,
    ForeignTrade,
    Late,
    Part,
    Unanswered,
)
from mtquant.brokers.terminal.read_faults import Dropped, Emptied, ProcessDied, Raises, SpoiltBars
from mtquant.brokers.terminal.simulated import SimulatedTerminal
from mtquant.errors import BrokerUnavailable, RiskHalt

BUY = {
    "action": mt5.TRADE_ACTION_DEAL,
    "symbol": "TOY.x",
    "volume": 0.10,
    "type": mt5.ORDER_TYPE_BUY,
    "magic": 77,
    "comment": "hello",
}
SELL = BUY | {"type": mt5.ORDER_TYPE_SELL, "magic": 78}
PRICES = [100.0, 101.0, 102.0, 103.0, 104.0, 105.0, 106.0, 107.0]
AGES = (0, 2**31 - 1)


@pytest.fixture
def faulty(make):
    """A connected terminal whose plan counts calls after ``initialize``."""

    def made(plan=None, **options):
        shifted = {number + 1: fault for number, fault in (plan or {}).items()}
        terminal = make(PRICES, kind=FaultyTerminal, plan=shifted, **options)
        terminal.initialize()
        return terminal

    return made


def session(terminal):
    """Reads, orders of both kinds and stops over all bars; everything that was answered."""
    answers = []
    for side in (BUY, SELL, SELL, BUY, BUY, SELL):
        answers += [
            terminal.copy_rates_from_pos("TOY.x", mt5.TIMEFRAME_H1, 0, 9),
            terminal.history_deals_get(*AGES),
            terminal.history_orders_total(*AGES),
            terminal.orders_get(),
            terminal.positions_get(),
            terminal.account_info(),
            terminal.terminal_info(),
            terminal.symbol_info_tick("TOY.x"),
            terminal.order_send(side),
        ]
        held = terminal.positions_get()
        if held:
            change = {"action": mt5.TRADE_ACTION_SLTP, "symbol": "TOY.x", "sl": 90.0}
            answers.append(terminal.order_send(change | {"position": held[0].ticket}))
        terminal.advance()
    return [answer.tolist() if isinstance(answer, np.ndarray) else answer for answer in answers]


def positions_sum(account):
    """Signed lots that the deals leave, and the balance that they make."""
    volumes = sum(
        deal.volume * (1 if deal.type == mt5.DEAL_TYPE_BUY else -1)
        for deal in account.deals
        if deal.type <= mt5.DEAL_TYPE_SELL
    )
    money = sum(deal.profit + deal.swap + deal.commission for deal in account.deals)
    return round(volumes, 6), round(money, 6)


def check_books(account):
    """Positions, balance and history say the same."""
    volumes, money = positions_sum(account)
    assert volumes == round(account.lots(0, account.held(0)), 6)
    assert money == round(float(account.book.account["balance"][0]), 6)
    executed = Counter(order.ticket for order in account.orders)
    assert max(executed.values(), default=1) == 1


def test_without_a_plan_nothing_differs(make, faulty):
    plain = make(PRICES)
    plain.initialize()
    terminal = faulty()
    assert session(terminal) == session(plain)
    assert terminal.account.book.account.tobytes() == plain.account.book.account.tobytes()
    assert terminal.calls[:2] == ["initialize", "copy_rates_from_pos"]
    kinds = [sent.request["action"] for sent in terminal.sent]
    assert kinds.count(mt5.TRADE_ACTION_DEAL) == 6 and mt5.TRADE_ACTION_SLTP in kinds
    assert [sent.retcode for sent in terminal.sent][:2] == [10009, 10009]
    assert terminal.calls[terminal.sent[0].call] == "order_send" and not terminal.struck


@pytest.mark.parametrize("executed", [False, True])
@pytest.mark.parametrize("code", [mt5.RES_E_INTERNAL_FAIL_TIMEOUT, mt5.RES_E_FAIL])
def test_no_answer(faulty, executed, code):
    terminal = faulty({0: Unanswered(executed, code)})
    assert terminal.order_send(BUY) is None
    assert terminal.last_error()[0] == code
    assert terminal.positions_total() == executed
    assert terminal.sent[0].retcode is None and terminal.sent[0].request["magic"] == 77
    assert terminal.order_send(BUY).retcode == mt5.TRADE_RETCODE_DONE


@pytest.mark.parametrize(("bars", "calls"), [(0, 0), (0, 2), (1, 0), (1, 2), (3, 1)])
def test_late_is_the_same_order_sent_later(make, faulty, bars, calls):
    terminal, plain = faulty({0: Late(bars, calls)}), make(PRICES)
    plain.initialize()
    assert terminal.order_send(BUY) is None
    for _ in range(bars):
        assert terminal.account.held(0) == 0
        terminal.advance()
        plain.advance()
    seen = [terminal.positions_total() for _ in range(calls + 1)]
    assert seen == [0] * calls + [1]
    plain.order_send(BUY)
    late, direct = terminal.account.deals[-1], plain.account.deals[-1]
    assert (late.price, late.time, late.magic) == (direct.price, direct.time, 77)
    assert terminal.account.book.account.tobytes() == plain.account.book.account.tobytes()


def test_late_orders_wait_for_the_end_of_their_bar_and_an_open_market(faulty):
    terminal = faulty({0: Late(0, 0)})
    terminal.order_send(BUY)
    terminal.advance()
    assert terminal.account.deals[-1].price == 101.1  # of the bar in which it was sent
    terminal = faulty({0: Late(FOR_EVER)})
    terminal.order_send(BUY)
    while not terminal.finished:
        terminal.advance()
    assert terminal.positions_total() == 0


def test_placed_orders_keep_their_ticket(faulty):
    terminal = faulty({0: Late(1, 0, code=0)})
    answer = terminal.order_send(BUY)
    assert (answer.retcode, answer.deal) == (mt5.TRADE_RETCODE_PLACED, 0)
    (working,) = terminal.orders_get(ticket=answer.order)
    assert (working.magic, working.type, working.volume_current) == (77, mt5.ORDER_TYPE_BUY, 0.10)
    terminal.advance()
    assert terminal.orders_total() == 0
    assert terminal.positions_get()[0].ticket == answer.order
    assert terminal.history_orders_get(ticket=answer.order)[0].magic == 77


def test_what_the_server_refuses_is_not_kept(faulty):
    terminal = faulty({0: Late(1)})
    answer = terminal.order_send(BUY | {"volume": 0.015})
    assert answer.retcode == mt5.TRADE_RETCODE_INVALID_VOLUME


@pytest.mark.parametrize(("fraction", "lots"), [(0.5, 0.05), (0.99, 0.09), (0.01, 0.0)])
def test_a_part(faulty, fraction, lots):
    terminal = faulty({0: Part(fraction)})
    answer = terminal.order_send(BUY)
    expected = mt5.TRADE_RETCODE_DONE_PARTIAL if lots else mt5.TRADE_RETCODE_REJECT
    assert (answer.retcode, answer.volume) == (expected, lots)
    assert sum(p.volume for p in terminal.positions_get()) == lots
    if lots:
        order = terminal.account.orders[-1]
        assert (order.volume_initial, order.state) == (0.10, mt5.ORDER_STATE_PARTIAL)


@pytest.mark.parametrize("executed", [False, True])
@pytest.mark.parametrize("retcode", [10004, 10018, 10019, 10020, 10027, 10999, 0, -7])
def test_any_code_whatever_was_done(faulty, retcode, executed):
    terminal = faulty({0: Answered(retcode, executed)})
    answer = terminal.order_send(BUY)
    assert (answer.retcode, answer.deal, answer.request.magic) == (retcode, 0, 77)
    assert terminal.positions_total() == executed


def test_comments_are_rewritten_everywhere(faulty):
    terminal = faulty({0: CommentRewritten("x")})
    assert terminal.order_send(BUY).request.comment == "hello"
    shown = (terminal.positions_get()[0], terminal.account.deals[-1], terminal.account.orders[-1])
    assert {entry.comment for entry in shown} == {"x"}
    assert {entry.magic for entry in shown} == {77}


@pytest.mark.parametrize("after", [False, True])
def test_calls_that_raise_or_die(faulty, desk, after):
    terminal = faulty({0: Raises(after), 2: DEATHS["dies after" if after else "dies before"]})
    with pytest.raises(ConnectionResetError):
        terminal.order_send(BUY)
    assert terminal.positions_total() == after
    with pytest.raises(ProcessDied):
        terminal.order_send(SELL)
    assert terminal.positions_total() == 0
    made = desk(kind=FaultyTerminal, plan={5: Raises()})
    assert made.terminal.calls[-1] == "account_info"
    assert made.send(1).outcome is Outcome.AMBIGUOUS


def test_reads_fail_or_are_empty(faulty):
    terminal = faulty(
        {1: Dropped(), 2: Dropped(functions=POSITIONS), 4: Emptied(), 6: Emptied(POSITIONS)}
    )
    terminal.order_send(BUY)
    assert terminal.account_info() is None
    assert terminal.last_error() == (-10005, "IPC timeout")
    assert terminal.account_info() is not None  # that fault waits for positions
    assert terminal.positions_get() is None
    assert terminal.copy_rates_from_pos("TOY.x", mt5.TIMEFRAME_H1, 0, 9).size == 0
    assert len(terminal.history_deals_get(*AGES)) == 2
    assert terminal.positions_total() == 0
    assert terminal.positions_total() == 1


def test_history_lags_and_positions_do_not(faulty):
    terminal = faulty({0: LateHistory(bars=1, calls=1)})
    terminal.order_send(BUY)
    shown = [len(terminal.history_deals_get(*AGES)), terminal.history_deals_total(*AGES)]
    shown += [len(terminal.history_orders_get(*AGES)), terminal.history_orders_total(*AGES)]
    assert shown == [1, 1, 0, 0] and terminal.positions_total() == 1
    terminal.advance()
    assert len(terminal.history_deals_get(*AGES)) == 1
    assert len(terminal.history_deals_get(*AGES)) == 2


def test_positions_lag_and_history_does_not(faulty):
    terminal = faulty({0: LatePositions(bars=0, calls=2)})
    terminal.order_send(BUY)
    assert terminal.positions_get() == () and len(terminal.history_deals_get(*AGES)) == 2
    assert terminal.positions_total() == 1


@pytest.mark.parametrize("functions", [None, QUOTES])
def test_a_frozen_feed_and_a_frozen_quote(faulty, functions):
    fault = Frozen(bars=2) if functions is None else Frozen(bars=2, functions=functions)
    terminal = faulty({0: fault})
    first = terminal.symbol_info_tick("TOY.x")
    terminal.advance()
    assert terminal.symbol_info_tick("TOY.x") == first
    assert terminal.symbol_info("TOY.x").bid == 101.0
    rows = terminal.copy_rates_from_pos("TOY.x", mt5.TIMEFRAME_H1, 0, 9)
    assert len(rows) == (2 if functions is None else 3)
    assert terminal.order_send(BUY).price == 102.1  # the server's market goes on
    terminal.advance()
    assert terminal.symbol_info_tick("TOY.x").bid == 103.0


def test_another_account_takes_what_is_sent_meanwhile(faulty, make, adapter_for):
    terminal = faulty({1: AccountSwitched(bars=0, calls=4)})
    terminal.order_send(BUY)
    info = terminal.account_info()
    assert (info.login, info.server, info.balance) == (5_000_002, "elsewhere", 10_000.0)
    assert terminal.positions_get() == () and len(terminal.history_deals_get(*AGES)) == 1
    terminal.order_send(SELL)
    terminal.advance()
    assert terminal.positions_get()[0].type == mt5.POSITION_TYPE_SELL
    assert terminal.positions_get()[0].type == mt5.POSITION_TYPE_BUY
    (guest,) = terminal.guests
    check_books(guest)
    assert len(guest.orders) == 1 and len(terminal.account.orders) == 1
    switched = make(PRICES, kind=FaultyTerminal, plan={5: AccountSwitched()})
    adapter, _ = adapter_for(switched)
    with pytest.raises(RiskHalt, match="5000002 at elsewhere"):
        adapter.account()


@pytest.mark.parametrize(
    ("where", "retcode"), [("terminal", 10027), ("server", 10026), ("api", None)]
)
def test_trading_is_off_where_it_shows(faulty, where, retcode):
    terminal = faulty({0: TradingOff(bars=1, where=where)})
    terminal.positions_get()
    answer = terminal.order_send(BUY)
    assert (answer and answer.retcode) == retcode
    assert terminal.last_error()[0] == (1 if retcode else mt5.RES_E_AUTO_TRADING_DISABLED)
    program, account = terminal.terminal_info(), terminal.account_info()
    shown = (not program.trade_allowed, not account.trade_expert, program.tradeapi_disabled)
    assert shown == (where == "terminal", where == "server", where == "api")
    terminal.advance()
    assert terminal.order_send(BUY).retcode == mt5.TRADE_RETCODE_DONE
    assert terminal.terminal_info().trade_allowed


def test_refusals_and_silence_last(faulty):
    terminal = faulty({0: Refusing(bars=1, retcode=10018)})
    assert [terminal.order_send(BUY).retcode for _ in range(3)] == [10018] * 3
    terminal.advance()
    assert terminal.order_send(BUY).retcode == mt5.TRADE_RETCODE_DONE
    terminal = faulty({0: Outage(bars=1)})
    assert terminal.account_info() is None and not terminal.initialize()
    assert terminal.last_error() == (-10004, "No IPC connection")
    terminal.advance()
    assert terminal.account_info() is not None


def test_the_servers_clock_jumps_in_all_it_shows(faulty):
    terminal, still = faulty({1: ClockJump(bars=1)}), faulty()
    for one in (terminal, still):
        one.order_send(BUY)
    at = still.account.deals[-1].time
    for read in (
        lambda t: t.symbol_info_tick("TOY.x").time,
        lambda t: t.symbol_info_tick("TOY.x").time_msc / 1000,
        lambda t: t.symbol_info("TOY.x").time,
        lambda t: t.positions_get()[0].time,
        lambda t: t.copy_rates_from_pos("TOY.x", mt5.TIMEFRAME_H1, 0, 2)["time"][-1],
        lambda t: t.history_deals_get(*AGES)[-1].time,
    ):
        assert read(terminal) == read(still) + 3600 == at + 3600
    # What is asked for is on that clock too.
    assert terminal.history_deals_total(at + 3600, at + 3600) == 1
    assert terminal.history_deals_total(at + 1, at + 1) == 0
    assert terminal.copy_rates_range("TOY.x", mt5.TIMEFRAME_H1, at + 3600, at + 3600).size == 1
    assert terminal.copy_rates_from("TOY.x", mt5.TIMEFRAME_H1, at + 3600, 2).size == 2
    assert terminal.positions_get()[0].volume == 0.10
    terminal.advance()
    assert terminal.positions_get()[0].time == at


@pytest.mark.parametrize(
    ("how", "seen"),
    [
        ("duplicate", lambda r: len(r) == 4 and r["time"][-1] == r["time"][-2]),
        ("gap", lambda r: len(r) == 3 and r["time"][-1] == r["time"][0] + 3 * 3600 - 3600),
        ("reorder", lambda r: r["time"][-1] < r["time"][-2]),
        ("revise", lambda r: r["close"][-1] == r["high"][-1] + 0.0 and r["close"][-1] == 104.5),
        ("zero", lambda r: not any(r[-1][name] for name in ("open", "high", "low", "close"))),
        ("nan", lambda r: np.isnan(r["close"][-1])),
        ("negative", lambda r: r["close"][-1] == -104.0),
        ("crossed", lambda r: r["high"][-1] < r["low"][-1]),
    ],
)
def test_spoilt_bars(faulty, how, seen):
    terminal = faulty({0: SpoiltBars(how)}, high=0.5)
    for _ in range(3):
        terminal.advance()
    rows = terminal.copy_rates_from_pos("TOY.x", mt5.TIMEFRAME_H1, 1, 4)
    assert seen(rows)
    again = terminal.copy_rates_from_pos("TOY.x", mt5.TIMEFRAME_H1, 1, 4)
    assert list(again["close"]) == [101.0, 102.0, 103.0, 104.0]


def test_somebody_else_trades(faulty):
    terminal = faulty({0: ForeignTrade(-3), 1: ForeignTrade(2, magic=9), 2: ForeignClose(0.5)})
    assert terminal.positions_get()[0].volume == 0.03
    by_hand = terminal.account.deals[-1]
    assert (by_hand.magic, by_hand.reason) == (0, mt5.DEAL_REASON_CLIENT)
    assert terminal.account.orders[-1].reason == mt5.ORDER_REASON_CLIENT
    assert terminal.positions_get()[0].volume == 0.01
    other = terminal.account.deals[-1]
    assert (other.magic, other.reason) == (9, mt5.DEAL_REASON_EXPERT)
    terminal.order_send(SELL)
    assert terminal.account.deals[-1].reason == mt5.DEAL_REASON_EXPERT
    assert terminal.positions_get()[0].volume == 0.11  # half of one smallest lot is none
    terminal = faulty({1: ForeignClose(0.5), 2: ForeignClose()}, rules={"hedging": 1})
    terminal.order_send(BUY)
    assert terminal.positions_get()[0].volume == 0.05
    assert terminal.positions_get() == ()
    check_books(terminal.account)


@pytest.mark.parametrize("hedging", [0, 1])
def test_the_books_add_up_after_every_single_fault(make, hedging):
    whole = make(PRICES, kind=FaultyTerminal, rules={"hedging": hedging})
    whole.initialize()
    session(whole)
    struck = set()
    calls = dict(list(enumerate(whole.calls))[11:22])  # a bar, which has each of them
    assert set(calls.values()) == set(whole.calls) - {"initialize"}
    for plan in singles(calls):
        terminal = make(PRICES, kind=FaultyTerminal, plan=plan, rules={"hedging": hedging})
        try:
            terminal.initialize() or terminal.initialize()
            session(terminal)
        except (ConnectionResetError, TypeError):
            pass  # the session takes None for a list as little as others do
        for account in (terminal.account, *terminal.guests):
            check_books(account)
        struck |= set(terminal.struck.values())
    assert struck == set(CATALOGUE.values())


def test_plans_meet_only_calls_that_they_apply_to():
    calls = {0: "positions_get", 5: "order_send", 6: "history_deals_get"}
    chosen = (Unanswered(), Dropped(), Raises(), LateHistory())
    made = list(singles(calls, chosen))
    assert len(made) == 3 + 3 + 3 and {5: Unanswered()} in made and {0: Unanswered()} not in made
    two = list(pairs(calls, chosen))
    assert len(two) == 3 * 3 * 3 and {0: Dropped(), 5: Unanswered()} in two
    assert len({str(plan) for plan in two}) == 27


def test_random_plans_come_from_their_generator():
    calls = {n: ("order_send", "positions_get", "account_info")[n % 3] for n in range(40)}

    def drawn(seed):
        rng = np.random.default_rng(seed)
        return [random_plan(rng, calls) for _ in range(50)]

    assert drawn(3) == drawn(3) != drawn(4)
    assert {len(plan) for plan in drawn(3)} == {3, 4, 5, 6, 7, 8}
    assert all(f.applies(calls[n]) for plan in drawn(3) for n, f in plan.items())
    assert len(random_plan(np.random.default_rng(0), {1: "order_send"})) == 1


def test_a_failing_plan_shrinks_to_what_is_to_blame():
    plan = {n: Raises() for n in range(8)} | {3: Dropped(), 6: Unanswered()}
    guilty = shrunk(plan, lambda p: {3, 6} <= set(p))
    assert guilty == {3: Dropped(), 6: Unanswered()}


def test_nothing_is_kept_without_a_record(faulty):
    terminal = faulty({0: Unanswered()}, record=False)
    assert terminal.order_send(BUY) is None and terminal.order_send(BUY)
    assert not (terminal.calls or terminal.sent or terminal.struck)
    assert isinstance(terminal, SimulatedTerminal)


def test_a_read_that_raises_is_no_answer(make, adapter_for):
    terminal = make(PRICES, kind=FaultyTerminal, plan={5: Raises()})
    adapter, _ = adapter_for(terminal)
    with pytest.raises(BrokerUnavailable, match="positions_get failed: ConnectionReset"):
        adapter.positions()


def test_the_page_names_every_kind():
    page = (Path(__file__).parents[2] / "docs/terminal.md").read_text(encoding="utf-8")
    table = page[page.index("| kind |") :]
    for fault in (*CATALOGUE.values(), *DEATHS.values()):
        assert f"`{type(fault).__name__}`" in table, fault


def test_history_stays_hidden_only_for_what_is_new(faulty):
    terminal = faulty({1: LateHistory(bars=1)})
    terminal.order_send(BUY)
    terminal.order_send(SELL)
    assert [d.magic for d in terminal.history_deals_get(*AGES)] == [0, 77]


def test_a_placed_order_that_fails_later_is_dead(faulty):
    terminal = faulty({0: Late(1, 0, code=0)})
    ticket = terminal.order_send(BUY | {"sl": 100.5}).order
    terminal.account.book.account["balance"] = 1.0
    terminal.advance()
    assert terminal.orders_total() == terminal.positions_total() == 0
    assert terminal.history_orders_get(ticket=ticket)[0].state == mt5.ORDER_STATE_REJECTED
