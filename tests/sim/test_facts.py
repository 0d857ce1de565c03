"""What the checks are told of an order, by hand; and the correlations that one of them reads."""

from __future__ import annotations

import numpy as np
import pytest

from mtquant.sim.correlation import pair_correlations
from mtquant.sim.facts import describe, reserve, tally
from mtquant.sim.simulator import Simulator

pytestmark = pytest.mark.nojit

QUIET = (100.0, 100.0, 100.0, 100.0)
ON = {
    "checks": 1,
    "max_daily_volume_share": 0.5,
    "max_day_trades": 3,
    "max_class_exposure": 5.0,
    "max_correlation": 0.7,
}


@pytest.fixture
def three(toy_bars, toy_spec, toy_tape):
    """A long of 10, a short of 20 and a flat symbol; the first two are metals, the last a crypto.

    Correlations: .9 of the first two, -.8 of the first and last, .3 of the others.
    """
    names = ("AAA", "BBB", "CCC")
    classes = ("metal", "metal", "crypto")
    specs = [toy_spec(n, asset_class=c) for n, c in zip(names, classes, strict=True)]
    tape = toy_tape([toy_bars([QUIET] * 3, name) for name in names], specs, **ON)
    tape.market["volume"] = 5.0
    tape = tape._replace(correlation=np.tile(np.array([[0.9, -0.8, 0.3]], np.float32), (3, 1)))
    simulator = Simulator(tape)
    simulator.place(0, 1, 2, 10_000.0)
    book = simulator.book
    book.positions["steps"] = book.positions["target"] = [[10, -20, 0]]
    book.account["day_trades"] = 1 + (2 << 8) + (1 << 32)
    tally(book, tape, 0, 1)
    return book, tape


def facts(three, s: int, target: int) -> np.void:
    book, tape = three
    describe(book, tape, 0, s, 1, int(book.positions["steps"][0, s]), target)
    return book.orders[0]


def test_sums_leave_the_symbol_itself_out(three):
    order = facts(three, 0, 30)
    assert (order["held"], order["target"], order["step_notional"]) == (10, 30, 100.0)
    assert (order["others_gross"], order["others_open"]) == (2_000.0, 1)
    assert order["others_margin"] == pytest.approx(20.0)
    order = facts(three, 2, 5)
    assert (order["others_gross"], order["others_open"], order["others_class"]) == (3_000.0, 2, 0.0)


def test_only_the_own_class_counts_in_it(three):
    assert facts(three, 0, 30)["others_class"] == 2_000.0
    assert facts(three, 1, -30)["others_class"] == 1_000.0


def test_the_same_bet_is_positive_whatever_its_sign(three):
    """A long of AAA and a short of BBB are opposite bets at .9; a short of both is one."""
    assert facts(three, 0, 30)["correlation"] == 0.0
    assert facts(three, 0, -30)["correlation"] == pytest.approx(0.9)
    # A long of CCC: against the long of AAA -.8, against the short of BBB -.3.
    assert facts(three, 2, 5)["correlation"] == 0.0
    assert facts(three, 2, -5)["correlation"] == pytest.approx(0.8)


def test_what_an_earlier_symbol_was_allowed_is_reserved(three):
    book, tape = three
    book.positions["target"][0, 0] = 60
    reserve(book, tape, 0, 0, 1)
    order = facts(three, 1, -30)
    assert (order["others_gross"], order["others_class"]) == (6_000.0, 6_000.0)
    book.positions["target"][0, 2] = 5
    reserve(book, tape, 0, 2, 1)
    assert facts(three, 1, -30)["others_open"] == 2


def test_an_order_that_an_earlier_symbol_sends_counts_as_sent(three):
    """From a long of 10 to 60 are 50 of 100; from a short of 20 to a long of 5 are 5."""
    book, tape = three
    book.account["orders_today"], book.account["spent_today"] = 3, 700.0
    book.positions["target"][0, 0] = 60
    reserve(book, tape, 0, 0, 1)
    order = facts(three, 1, 5)
    assert (order["orders_today"], order["spent_today"]) == (4, 5_700.0)
    book.positions["target"][0, 1] = 5
    reserve(book, tape, 0, 1, 1)
    order = facts(three, 2, 5)
    assert (order["orders_today"], order["spent_today"]) == (5, 6_200.0)
    tally(book, tape, 0, 1)
    order = facts(three, 2, 5)
    assert (order["orders_today"], order["spent_today"]) == (3, 700.0)


def test_days_of_volume_and_trades(three):
    """Five lots a bar are 500 steps, 24 bars a day; day trades are one byte for each of five."""
    order = facts(three, 0, 30)
    assert order["day_volume"] == pytest.approx(12_000.0)
    assert order["day_trades"] == 4


def test_correlation_of_returns(toy_bars, toy_tape):
    rng = np.random.default_rng(3)
    first = np.round(100.0 * np.exp(np.cumsum(0.01 * rng.standard_normal(60))), 2)
    second = np.round(100.0 * np.exp(np.cumsum(0.01 * rng.standard_normal(60))), 2)
    paths = [first, second, np.round(10_000.0 / first, 2)]
    bars = [
        toy_bars([(x, x, x, x) for x in path], name)
        for path, name in zip(paths, ("AAA", "BBB", "CCC"), strict=True)
    ]
    found = pair_correlations(toy_tape(bars).market, 20)
    assert found.shape == (60, 3)
    assert not found[:20].any()
    returns = np.diff(np.log(np.stack(paths)), axis=1)
    for t in (20, 41, 59):
        expected = np.corrcoef(returns[:, t - 20 : t])
        pairs = [expected[0, 1], expected[0, 2], expected[1, 2]]
        np.testing.assert_allclose(found[t], pairs, atol=1e-6)
    assert found[59, 1] < -0.99
    window = pair_correlations(toy_tape([b[30:] for b in bars]).market, 20)
    assert window[-1].tobytes() == found[-1].tobytes(), "a live window gives the same"
    quiet = [toy_bars([QUIET] * 60, name) for name in ("XX", "YY", "ZZ")]
    still = pair_correlations(toy_tape(quiet).market, 20)
    assert not still.any()
