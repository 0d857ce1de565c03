"""The adapter: UTC, closed bars only, exact lots, and no guess where the broker is silent."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtquant.brokers import constants as mt5
from mtquant.brokers.approval import issue
from mtquant.brokers.base import Instrument, MarketOrder, Outcome
from mtquant.brokers.mt5 import MT5Adapter
from mtquant.brokers.mt5_requests import market_filling
from mtquant.brokers.terminal.fault_kinds import changed
from mtquant.errors import BrokerUnavailable, ConfigError, DataError, RiskHalt
from mtquant.live.found import own_tickets
from mtquant.market.timeframe import Timeframe


def approved(action):
    return issue(action, "", lambda: "")


COLUMNS = ("open", "high", "low", "close", "tick_volume", "spread")
REQUEST_MODE, INSTANT, MARKET, EXCHANGE = range(4)


@pytest.mark.parametrize("start", ["2024-03-09T20:00", "2024-11-02T20:00", "2024-06-01T00:00"])
def test_bars_come_back_in_utc_over_every_change_of_the_servers_clock(make, adapter_for, start):
    terminal = make([100.0 + n for n in range(40)], clock="ny+7", start=start)
    adapter, instrument = adapter_for(terminal)
    for _ in range(38):
        terminal.advance()
    bars = adapter.closed_bars(instrument, Timeframe.H1, 100)
    expected = terminal._panel.bars[0]
    assert bars.symbol == "TOY" and len(bars) == 39
    assert np.array_equal(bars.time, expected.time[:-1])
    assert np.array_equal(bars.close, expected.close[:-1])
    assert np.array_equal(bars.spread, expected.spread[:-1])
    assert adapter.tick_time_ns(instrument, terminal.now_ns()) == expected.time[-1]


def test_the_forming_bar_is_never_among_the_closed(make, adapter_for):
    terminal = make([100.0, 101.0, 102.0, 103.0])
    adapter, instrument = adapter_for(terminal)
    for closed in (1, 2, 3):
        bars = adapter.closed_bars(instrument, Timeframe.H1, 100)
        assert len(bars) == closed and bars.time[-1] < terminal.now_ns()
        assert bars.close[-1] == terminal._panel.bars[0].close[closed - 1]
        terminal.advance()


def test_a_bar_at_a_skipped_hour_betrays_a_wrong_clock(make, adapter_for):
    terminal = make([100.0, 101.0, 102.0], clock="utc", start="2024-03-31T03:00")
    adapter, instrument = adapter_for(terminal)
    wrong = Instrument(instrument.spec.model_copy(update={"clock": "eet"}), "TOY.x")
    with pytest.raises(DataError, match="skipped; correct the symbol's clock"):
        MT5Adapter(terminal, [wrong]).closed_bars(wrong, Timeframe.H1, 5)
    assert adapter.closed_bars(instrument, Timeframe.H1, 5).time.size == 1


@pytest.mark.parametrize(
    ("timeframe", "opens", "over"),
    [
        ("D1", "2024-10-27T00:00", "2024-10-27T22:00"),  # 25 hours
        ("H4", "2024-10-27T00:00", "2024-10-27T02:00"),
        ("H1", "2024-10-27T03:00", "2024-10-27T01:00"),  # of two that the server shows
        ("D1", "2024-03-31T00:00", "2024-03-31T21:00"),
    ],
)
def test_a_bar_in_which_the_clock_changes_is_over_with_its_day(toy_spec, timeframe, opens, over):
    """It opens on the server's clock and is over in UTC; a quote of any symbol tells."""
    rows = np.ones(1, [("time", "i8"), *((name, "f8") for name in COLUMNS)])
    rows["time"] = np.datetime64(opens, "s").astype(np.int64)
    module = SimpleNamespace(copy_rates_from_pos=lambda *_: rows)
    instrument = Instrument(toy_spec.model_copy(update={"clock": "eet"}), "TOY.x")
    adapter, kind = MT5Adapter(module, [instrument]), Timeframe.parse(timeframe)
    over_ns = int(np.datetime64(over, "ns").astype(np.int64))
    for known_ns, closed in ((over_ns - 1, 0), (over_ns, 1)):
        assert len(adapter.closed_bars(instrument, kind, 5, known_ns)) == closed


def test_an_order_its_deal_and_its_position(make, adapter_for):
    terminal = make([100.0, 101.0, 102.0])
    adapter, instrument = adapter_for(terminal)
    result = adapter.send(approved(MarketOrder(instrument, -7, magic=5, comment="c")))
    assert (result.outcome, result.steps, result.price) == (Outcome.EXECUTED, -7, 101.0)
    (position,) = adapter.positions()
    assert instrument.steps(position.volume_lots) == -7
    assert (position.magic, position.price_open) == (5, 101.0)
    assert position.opened_time_ns == terminal.now_ns()
    balance, deal = adapter.deals(terminal.now_ns())
    assert (balance.is_trade, balance.profit, balance.volume_lots) == (False, 10_000.0, 0.0)
    assert (deal.is_trade, deal.magic, deal.volume_lots) == (True, 5, -0.07)
    assert (deal.stop_out, deal.position_id) == (False, position.identifier)
    assert [order.magic for order in adapter.past_orders(terminal.now_ns())] == [5]
    assert adapter.open_orders() == ()


def test_what_a_listing_shows_otherwise_than_before_is_read_anew(make, adapter_for, monkeypatch):
    terminal = make([100.0, 101.0, 102.0])
    adapter, instrument = adapter_for(terminal)
    adapter.send(approved(MarketOrder(instrument, -7, magic=5)))
    (row,) = terminal.positions_get()
    for values in ({}, {"volume": 0.05}, {"volume": 0.05, "swap": -1.0}, {"magic": 6}):
        monkeypatch.setattr(terminal, "positions_get", lambda v=values: (changed(row, **v),))
        (read,), told = adapter.positions(), changed(row, **values)
        assert adapter.positions()[0] is read, "what is the same is not read again"
        assert (read.volume_lots, read.swap, read.magic) == (-told.volume, told.swap, told.magic)
    monkeypatch.setattr(terminal, "positions_get", lambda: (changed(row, swap=float("nan")),))
    with pytest.raises(BrokerUnavailable, match="makes no sense"):
        adapter.positions()


def test_refusals_and_silence(make, adapter_for, monkeypatch):
    terminal = make([100.0, 101.0, 102.0])
    adapter, instrument = adapter_for(terminal)
    refused = adapter.send(approved(MarketOrder(instrument, 9_900, magic=5)))
    assert (refused.outcome, refused.retcode, refused.steps) == (Outcome.NOT_EXECUTED, 10019, 0)
    never_left = adapter.send(approved(MarketOrder(instrument, 1, magic=-5)))
    assert never_left.outcome is Outcome.NOT_EXECUTED and "magic" in never_left.text

    def broken(request):
        raise ConnectionResetError("pipe")

    monkeypatch.setattr(terminal, "order_send", broken)
    assert adapter.send(approved(MarketOrder(instrument, 1, magic=6))).outcome is Outcome.AMBIGUOUS
    monkeypatch.setattr(terminal, "positions_get", lambda: None)
    with pytest.raises(BrokerUnavailable, match="positions_get failed"):
        adapter.positions()


def test_connecting_checks_account_and_symbols(make, adapter_for):
    terminal = make([100.0, 101.0])
    _, instrument = adapter_for(terminal)
    missing = Instrument(instrument.spec, "TOY")
    with pytest.raises(ConfigError, match="no symbol 'TOY' for TOY"):
        MT5Adapter(terminal, [missing]).connect()
    other = MT5Adapter(terminal, [instrument], (terminal._terms.login, "elsewhere"))
    with pytest.raises(RiskHalt, match="not on 5000001 at elsewhere"):
        other.connect()
    with pytest.raises(BrokerUnavailable, match="initialize failed"):
        MT5Adapter(terminal, [instrument], (1, "elsewhere")).connect()
    elsewhere = Instrument(instrument.spec.model_copy(update={"clock": "eet"}), "TOY.x")
    with pytest.raises(ConfigError, match="one server has one clock"):
        MT5Adapter(terminal, [instrument, elsewhere])


@pytest.mark.parametrize(
    ("mode", "flags", "filling"),
    [
        (REQUEST_MODE, 0, mt5.ORDER_FILLING_FOK),
        (INSTANT, 2, mt5.ORDER_FILLING_FOK),
        (MARKET, 1, mt5.ORDER_FILLING_FOK),
        (MARKET, 2, mt5.ORDER_FILLING_IOC),
        (MARKET, 3, mt5.ORDER_FILLING_FOK),
        (EXCHANGE, 2, mt5.ORDER_FILLING_IOC),
        (EXCHANGE, 0, mt5.ORDER_FILLING_RETURN),
        (EXCHANGE, 4, mt5.ORDER_FILLING_RETURN),
    ],
)
def test_filling_is_chosen_from_the_table(mode, flags, filling):
    assert market_filling(mode, flags) == filling


def test_no_filling_is_a_refusal():
    with pytest.raises(ConfigError, match="no market order"):
        market_filling(MARKET, 4)


@given(steps=st.integers(-100_000, 100_000), step=st.sampled_from([0.01, 0.1, 1.0, 0.001, 0.25]))
def test_lots_and_steps_are_exact(steps, step, toy_spec):
    instrument = Instrument(toy_spec.model_copy(update={"lot_step": step}), "TOY.x")
    lots = instrument.lots(steps)
    assert instrument.steps(lots) == steps
    assert lots == round(lots, 3)


def test_lots_off_the_grid_are_an_error(toy_spec):
    with pytest.raises(DataError, match="no multiple of lot_step"):
        Instrument(toy_spec, "TOY.x").steps(0.015)


def test_a_volume_beside_the_grid_is_counted_toward_zero(make, adapter_for, monkeypatch, caplog):
    terminal = make([100.0, 101.0, 102.0])
    adapter, instrument = adapter_for(terminal)
    adapter.send(approved(MarketOrder(instrument, -7, magic=5 << 40)))
    shown = {
        "positions_get": (terminal.positions_get(), 0.065),
        "history_deals_get": (terminal.history_deals_get(0, 2**31 - 1), 0.055),
    }
    for function, (honest, volume) in shown.items():
        rows = tuple(changed(row, volume=volume) for row in honest)
        monkeypatch.setattr(terminal, function, lambda *args, rows=rows: rows)
    for _ in range(3):
        (position,) = adapter.positions()
        deal = adapter.deals(terminal.now_ns())[-1]
        assert (position.volume_lots, deal.volume_lots) == (-0.06, -0.05)
    assert caplog.text.count("no multiple of lot_step") == 2, "each is told once"
    assert [one.steps for one in own_tickets(instrument, 5, [position])] == [-6]
    dust = replace(position, volume_lots=0.0)
    assert own_tickets(instrument, 5, [dust]) == ()


@given(steps=st.integers(-1000, 1000), part=st.floats(0.001, 0.999))
def test_whole_lots_lie_toward_zero(steps, part, toy_spec):
    instrument = Instrument(toy_spec, "TOY.x")
    assert instrument.whole_lots(instrument.lots(steps)) == instrument.lots(steps)
    beyond = instrument.lots(steps) + (part if steps >= 0 else -part) * 0.01
    assert instrument.steps(instrument.whole_lots(beyond)) == steps
