"""The simulated terminal behaves like the module: arguments, results, failures, money."""

from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime
from enum import IntEnum

import numpy as np
import pytest

from mtquant.brokers import constants as mt5
from mtquant.brokers.terminal.records import RATES, Tick

GOOD = {
    "action": mt5.TRADE_ACTION_DEAL,
    "symbol": "TOY.x",
    "volume": 0.10,
    "type": mt5.ORDER_TYPE_BUY,
    "type_filling": mt5.ORDER_FILLING_FOK,
    "magic": 77,
    "comment": "hello",
}


class Side(IntEnum):
    SELL = 1


def sent(terminal, **changes):
    return terminal.order_send(GOOD | changes)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("volume", 1),
        ("volume", np.float32(0.1)),
        ("volume", "0.1"),
        ("price", 100),
        ("sl", None),
        ("type", 1.0),
        ("type", np.int64(1)),
        ("type", -1),
        ("magic", -1),
        ("magic", 2**64),
        ("deviation", 10.0),
        ("symbol", None),
        ("symbol", b"TOY.x"),
        ("comment", "x" * 30),
        ("comment", "\U0001f600" * 15),
        ("expiration", datetime(2024, 1, 1, tzinfo=UTC)),
    ],
)
def test_wrong_types_are_refused(terminal, key, value):
    assert sent(terminal, **{key: value}) is None
    assert terminal.last_error() == (-2, f'Invalid "{key}" argument')
    assert terminal.positions_total() == 0


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("volume", np.float64(0.1)),
        ("type", Side.SELL),
        ("comment", "x" * 29),
        ("magic", 2**64 - 1),
        ("postion", 5),
    ],
)
def test_what_the_module_takes_is_taken(terminal, key, value):
    assert sent(terminal, **{key: value}).retcode == mt5.TRADE_RETCODE_DONE


def test_a_request_is_a_dict(terminal):
    for request in (None, list(GOOD.items()), 5):
        assert terminal.order_send(request) is None
        assert terminal.last_error()[0] == -2
    for call in (lambda: terminal.order_send(request=GOOD), lambda: terminal.order_check(GOOD, 1)):
        assert call() is None and terminal.last_error()[0] == -2


@pytest.mark.parametrize(
    ("changes", "retcode"),
    [
        ({"volume": 0.0}, mt5.TRADE_RETCODE_INVALID_VOLUME),
        ({"volume": 0.015}, mt5.TRADE_RETCODE_INVALID_VOLUME),
        ({"volume": 100.01}, mt5.TRADE_RETCODE_INVALID_VOLUME),
        ({"volume": float("nan")}, mt5.TRADE_RETCODE_INVALID_VOLUME),
        ({"volume": 99.0}, mt5.TRADE_RETCODE_NO_MONEY),
        ({"type_filling": mt5.ORDER_FILLING_RETURN}, mt5.TRADE_RETCODE_INVALID_FILL),
        ({"type": mt5.ORDER_TYPE_BUY_LIMIT}, mt5.TRADE_RETCODE_INVALID),
        ({"action": mt5.TRADE_ACTION_SLTP}, mt5.TRADE_RETCODE_INVALID),
    ],
)
def test_refusals_have_a_retcode_and_change_nothing(terminal, changes, retcode):
    assert terminal.order_check(GOOD | changes).retcode in (retcode, 0)
    answer = sent(terminal, **changes)
    assert answer.retcode == retcode
    assert answer.deal == answer.order == 0
    assert terminal.account_info().balance == 10_000.0
    assert not terminal.positions_get() and len(terminal.account.deals) == 1


def test_unknown_symbol_and_shut_market(terminal):
    assert sent(terminal, symbol="TOY") is None
    assert terminal.last_error() == (-4, "Terminal: Not found")
    while not terminal.finished:
        terminal.advance()
    assert sent(terminal).retcode == mt5.TRADE_RETCODE_MARKET_CLOSED


def test_a_missing_filling_means_fill_or_kill(terminal):
    request = {key: value for key, value in GOOD.items() if key != "type_filling"}
    assert terminal.order_send(request).request.type_filling == mt5.ORDER_FILLING_FOK


def test_money_of_a_round_trip(terminal):
    bought = sent(terminal)
    assert (bought.volume, bought.price, bought.bid) == (0.10, 101.10, 101.0)
    (position,) = terminal.positions_get()
    assert (position.price_open, position.magic, position.comment) == (101.10, 77, "hello")
    assert position.identifier == position.ticket == bought.order
    assert position.profit == pytest.approx(-1.0)
    terminal.advance()
    sold = sent(terminal, type=mt5.ORDER_TYPE_SELL, volume=0.04, magic=78)
    (position,) = terminal.positions_get()
    assert position.volume == 0.06 and position.magic == 77
    sent(terminal, type=mt5.ORDER_TYPE_SELL, volume=0.06)
    assert terminal.positions_get() == ()
    out = terminal.history_deals_get(ticket=sold.order)[0]
    assert (out.entry, out.profit, out.commission) == (mt5.DEAL_ENTRY_OUT, 3.6, -0.08)
    assert out.position_id == position.identifier
    life = terminal.history_deals_get(position=position.identifier)
    assert sum(d.profit + d.commission for d in life) == pytest.approx(9.0 - 0.4)
    assert terminal.account_info().balance == 10_008.6


def test_a_turned_position_is_another_position(terminal):
    first = sent(terminal)
    sent(terminal, type=mt5.ORDER_TYPE_SELL, volume=0.3)
    (position,) = terminal.positions_get()
    assert position.type == mt5.POSITION_TYPE_SELL and position.volume == 0.2
    assert position.identifier != first.order


def test_margin_stops_out_with_the_reason(make):
    terminal = make([100.0, 100.0, 100.0, 100.0], balance=120.0, low=7.0)
    terminal.initialize()
    assert sent(terminal, volume=0.2).retcode == mt5.TRADE_RETCODE_DONE
    terminal.advance()
    assert terminal.positions_get() == ()
    newest = terminal.account.deals[-1]
    assert (newest.reason, newest.entry, newest.magic) == (
        mt5.DEAL_REASON_SO,
        mt5.DEAL_ENTRY_OUT,
        77,
    )
    assert terminal.account_info().equity == terminal.account_info().balance < 120.0


def test_more_orders_in_a_bar_than_the_book_remembers(terminal):
    for _ in range(300):
        assert sent(terminal, volume=0.01).retcode == mt5.TRADE_RETCODE_DONE
        assert sent(terminal, volume=0.01, type=1).retcode == mt5.TRADE_RETCODE_DONE
    assert len(terminal.account.deals) == 601
    assert terminal.account_info().balance == pytest.approx(10_000 - 300 * (0.1 + 0.04))


def test_bars_ascend_and_the_forming_one_shows_only_its_open(terminal):
    rows = terminal.copy_rates_from_pos("TOY.x", mt5.TIMEFRAME_H1, 0, 10)
    assert rows.dtype == RATES and list(rows["open"]) == [100.0, 101.0]
    assert rows[-1]["high"] == rows[-1]["low"] == rows[-1]["close"] == 101.0
    assert rows[0]["close"] == 101.0
    closed = terminal.copy_rates_from_pos("TOY.x", mt5.TIMEFRAME_H1, 1, 10)
    assert list(closed["open"]) == [100.0]
    terminal.advance()
    at = int(closed["time"][0])
    ranged = terminal.copy_rates_range("TOY.x", mt5.TIMEFRAME_H1, at, at + 3600)
    assert list(ranged["open"]) == [100.0, 101.0] and ranged["close"][-1] == 102.0
    back = terminal.copy_rates_from("TOY.x", mt5.TIMEFRAME_H1, at + 9 * 3600, 2)
    assert list(back["open"]) == [101.0, 102.0] and back["high"][-1] == 102.0
    assert terminal.copy_rates_from_pos("TOY.x", mt5.TIMEFRAME_D1, 0, 1) is None
    with pytest.raises(TypeError):
        terminal.copy_rates_from_pos(symbol="TOY.x", timeframe=16385, start_pos=0, count=1)


@pytest.mark.parametrize("date", [np.int64(5), "2024-01-01", None, np.datetime64("2024-01-01")])
def test_dates_are_numbers_or_datetimes(terminal, date):
    assert terminal.history_deals_get(date, 2_000_000_000) is None
    assert terminal.last_error()[0] == -2
    assert terminal.history_deals_get(np.float64(0.0), datetime(2030, 1, 1, tzinfo=UTC))


def test_history_needs_dates_by_position(terminal):
    with pytest.raises(TypeError):
        terminal.history_deals_get(date_from=0, date_to=9)
    assert terminal.history_deals_get() is None
    assert len(terminal.history_deals_get(0, 2**31 - 1)) == 1


def test_before_initialize_nothing_answers(make):
    terminal = make([100.0, 101.0])
    assert terminal.account_info() is None
    assert terminal.last_error() == (-10004, "No IPC connection")
    assert terminal.symbol_select("TOY.x", True) is False
    assert not terminal.initialize(login=1)
    assert terminal.last_error()[0] == mt5.RES_E_AUTH_FAILED
    assert terminal.initialize(login=terminal._terms.login)


def test_results_are_struct_sequences(terminal):
    tick = terminal.symbol_info_tick("TOY.x")
    assert isinstance(tick, tuple) and tick.bid == 101.0 == tick[1]
    assert tick._asdict()["ask"] == tick.ask and tick.n_fields == 8
    assert not hasattr(tick, "_fields") and "bid=101.0" in repr(tick)
    with pytest.raises(TypeError, match="pickle"):
        pickle.dumps(tick)
    with pytest.raises(TypeError):
        copy.copy(tick)
    with pytest.raises(AttributeError):
        tick.bid = 1.0
    with pytest.raises(AttributeError, match="did you mean 'bid'"):
        Tick.of(bidd=1.0)


def test_symbol_facts_and_calculations(terminal):
    info = terminal.symbol_info("TOY.x")
    assert (info.point, info.volume_step, info.trade_contract_size) == (0.01, 0.01, 100.0)
    assert info.spread == 10 and info.currency_profit == "USD"
    assert terminal.symbols_total() == len(terminal.symbols_get("*TOY*")) == 1
    assert terminal.symbols_get(group="EUR*") == ()
    assert terminal.order_calc_margin(0, "TOY.x", 1.0, 100.0) == pytest.approx(100.0)
    assert terminal.order_calc_profit(1, "TOY.x", 0.5, 100.0, 99.0) == pytest.approx(50.0)
    assert terminal.order_calc_profit(9, "TOY.x", 0.5, 100.0, 99.0) is None
    assert terminal.TIMEFRAME_H1 == 16385
    with pytest.raises(AttributeError):
        terminal.TIMEFRAME_H5  # noqa: B018


def test_money_now_is_converted_at_the_open_of_the_forming_bar(terminal_of, toy_bars, toy_spec):
    """A lot is 100 USD: 5 JPY on each are 500 JPY, at 155 to the dollar and, at the end, at 140.

    Bought at 155.10 and quoted at 155.00 it has lost 10 JPY.
    """
    spec = toy_spec.model_copy(update={"name": "USDJPY", "base": "USD", "quote": "JPY"})
    bars = toy_bars([(150.0,) * 4, (150.0,) * 4, (155.0, 155.0, 140.0, 140.0)], "USDJPY")
    terminal = terminal_of(bars, spec, 1)
    assert terminal.initialize()
    assert terminal.order_calc_profit(0, "USDJPY", 1.0, 150.0, 155.0) == pytest.approx(500 / 155)
    assert terminal.order_send(GOOD | {"symbol": "USDJPY", "volume": 1.0}).price == 155.1
    held, account = terminal.positions_get()[0], terminal.account_info()
    assert held.profit == pytest.approx(-10 / 155)
    assert account.equity - account.balance == pytest.approx(-10 / 155)
    terminal.advance()
    assert terminal.order_calc_profit(0, "USDJPY", 1.0, 150.0, 155.0) == pytest.approx(500 / 140)
