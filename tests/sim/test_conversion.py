"""An account in another currency than the quotes: the open knows its own rate and no later one.

A step of EURGBP is 1,000 EUR. Its profits are pounds, which GBPUSD converts: at the open for what
happens at the open and inside the bar, at the close for what is marked there.
"""

from __future__ import annotations

import numpy as np
import pytest

from mtquant.errors import ConfigError
from mtquant.market.panel import Panel
from mtquant.risk.reasons import REASONS
from mtquant.sim.simulator import Simulator
from mtquant.sim.tape import conversion_rates

pytestmark = pytest.mark.nojit

QUIET = (100.0, 100.0, 100.0, 100.0)
FOREX = {"asset_class": "forex", "contract_size": 100_000, "tick_size": 0.0001, "digits": 4}


@pytest.fixture
def start(toy_bars, toy_spec, toy_tape):
    """An account in USD at the close of bar 0 over bars of EURGBP and the pound's rates."""

    def make(euro, pound, *, hours=None, **rules) -> Simulator:
        specs = [
            toy_spec("EURGBP", base="EUR", quote="GBP", **FOREX),
            toy_spec("GBPUSD", base="GBP", quote="USD", **FOREX),
        ]
        bars = [
            toy_bars(euro, "EURGBP", spread=1),
            toy_bars([(a, max(a, b), min(a, b), b) for a, b in pound], "GBPUSD", hours=hours),
        ]
        tape = toy_tape(bars, specs, **rules)
        simulator = Simulator(tape)
        simulator.place(0, 0, len(tape.market) - 1, tape.rules["capital"][0])
        return simulator

    return make


def advance(simulator: Simulator, action: float) -> np.void:
    """One bar, in which only EURGBP is traded; the account after it."""
    simulator.step_lane(0, np.array([[action, 0.0]], np.float32))
    return simulator.book.account[0]


def held(simulator: Simulator) -> int:
    return int(simulator.book.positions["steps"][0, 0])


STILL = (0.8,) * 4
RISEN = (0.82,) * 4


def test_what_is_held_is_converted_at_the_close(start):
    """A pound is 1.25 and then 1.30 USD at the close.

    A step is 1,000 EUR, at 0.80 GBP and 1.25 USD worth 1,000 USD: 10 steps.
    10 * 1,000 * (0.82 - 0.8001) = 199 GBP, at 1.30 258.70 USD.
    """
    simulator = start([STILL, (0.8, 0.82, 0.8, 0.82)], [(1.25, 1.25), (1.25, 1.3)])
    assert advance(simulator, 1.0)["equity"] == pytest.approx(10_258.70)
    assert held(simulator) == 10


@pytest.mark.parametrize("later", [1.1, 1.3, 1.5])
def test_a_close_at_the_open_is_converted_there(start, later):
    """10 steps from 0.8001 to an open of 0.82 are 199 GBP, at that open 1.30 each: 258.70 USD.

    Bought for 10,001.25 USD, sold for 8,200 GBP, 10,660 USD; a tick's spread is 1 GBP, 1.25 USD.
    """
    simulator = start([STILL, STILL, RISEN], [(1.25, 1.25), (1.25, 1.28), (1.3, later)])
    advance(simulator, 1.0)
    account = advance(simulator, 0.0)
    assert held(simulator) == 0
    assert account["balance"] == account["equity"] == 10_258.70
    assert account["traded"] == pytest.approx(20_661.25)
    assert account["spread_cost"] == pytest.approx(1.25)


def test_a_pair_that_has_no_bar_converts_at_its_last_close(start):
    """GBPUSD closed at 1.28 and pauses: 199 GBP are 254.72 USD."""
    pound = [(1.25, 1.25), (1.25, 1.28), (1.4, 1.4)]
    simulator = start([STILL, STILL, RISEN, RISEN], pound, hours=[0, 1, 3])
    advance(simulator, 1.0)
    assert advance(simulator, 0.0)["balance"] == 10_254.72


@pytest.mark.parametrize(
    ("opened", "closed", "taken"),
    [(1.25, 1.25, 9), (1.25, 1.5, 9), (1.5, 1.25, 0)],
)
def test_the_money_for_an_order_is_counted_at_the_open(start, opened, closed, taken):
    """Margin is the whole notional. 9 steps cost 7,200.90 GBP: 9,001.13 USD at 1.25, 10,801.35
    at 1.50, more than there is."""
    pound = [(1.25, 1.25), (opened, closed)]
    simulator = start([STILL] * 2, pound, notional_fraction=0.9, leverage=1.0)
    advance(simulator, 1.0)
    assert held(simulator) == taken
    reason = REASONS[simulator.book.positions["reason"][0, 0]]
    assert reason == ("allowed" if taken else "not enough money")


@pytest.mark.parametrize("later", [1.0, 1.6])
def test_a_stop_inside_the_bar_is_converted_at_the_open(start, later):
    """The stop lies 0.01, an ATR, below 0.80: sold at 0.79, 10 steps lose 101 GBP, at 1.20 USD."""
    euro = [STILL, (0.8, 0.805, 0.795, 0.8), STILL, (0.8, 0.8, 0.78, 0.78)]
    pound = [(1.25, 1.25), (1.25, 1.25), (1.25, 1.25), (1.2, later)]
    simulator = start(euro, pound, stop_atr=1.0)
    for action in (0.0, 1.0):
        advance(simulator, action)
    assert held(simulator) == 10
    assert advance(simulator, np.nan)["balance"] == 10_000.0 - 121.20


def test_the_open_has_a_rate_of_its_own(toy_bars, toy_spec):
    """EURUSD has no bar 1: its last close stands for that open."""
    specs = [toy_spec("XAUUSD"), toy_spec("EURUSD", base="EUR", **FOREX)]
    euro = [(1.25, 1.6, 1.25, 1.6), (2.0, 2.5, 2.0, 2.5)]
    bars = [toy_bars([QUIET] * 3, "XAUUSD"), toy_bars(euro, "EURUSD", hours=[0, 2])]
    rates = conversion_rates(Panel(bars), specs, "EUR")
    np.testing.assert_array_equal(rates[:, 0], [[0.8, 0.625], [0.625, 0.625], [0.5, 0.4]])
    np.testing.assert_array_equal(conversion_rates(Panel(bars), specs, "USD"), 1.0)


def test_the_other_way_round_the_rate_is_divided(toy_bars, toy_spec):
    specs = [toy_spec("XAUUSD"), toy_spec("EURUSD", base="EUR", quote="USD", **FOREX)]
    bars = [toy_bars([QUIET], "XAUUSD"), toy_bars([(1.25,) * 4], "EURUSD", spread=1)]
    np.testing.assert_array_equal(conversion_rates(Panel(bars), specs, "EUR"), [[[0.8] * 2] * 2])


def test_a_currency_that_nothing_converts_is_refused(toy_bars, toy_spec):
    panel = Panel([toy_bars([QUIET], "XAUUSD")])
    with pytest.raises(ConfigError, match=r"quoted in USD .* account is in CHF.* USDCHF or CHFUSD"):
        conversion_rates(panel, [toy_spec("XAUUSD")], "CHF")
