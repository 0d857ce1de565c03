"""A hedging book: tickets closed oldest first, and by the stop-out one by one."""

from __future__ import annotations

import numpy as np
import pytest

from mtquant.risk.breaker import LEVEL_3
from mtquant.risk.reasons import STOP, STOP_OUT
from mtquant.sim.simulator import Simulator

pytestmark = pytest.mark.nojit

RULES = {"hedging": 1, "rebalance_band": 0.0}


def flat_rows(*closes: float) -> list[tuple[float, float, float, float]]:
    return [(x, x, x, x) for x in closes]


def play(tape, *actions: float) -> Simulator:
    simulator = Simulator(tape)
    simulator.place(0, 0, len(tape.market) - 1, 10_000.0)
    for action in actions:
        simulator.step_lane(0, np.array([action], np.float32))
    return simulator


def tickets(simulator: Simulator) -> list[tuple[int, int]]:
    count = simulator.book.positions["tickets"][0, 0]
    return [(int(t["number"]), int(t["steps"])) for t in simulator.book.tickets[0, :count]]


def test_the_oldest_ticket_goes_first_and_whole(toy_bars, toy_tape):
    """50 and 49 more (9,995 * .99 / 100.00 = 98 in all); then 20 are left, of the second."""
    simulator = play(toy_tape(toy_bars(flat_rows(*[100.0] * 5)), **RULES), 0.5, 0.99, 0.2)
    assert tickets(simulator) == [(2, 19)]
    deals = simulator.book.deals[0, : simulator.book.account["n_deals"][0]]
    assert deals["ticket"].tolist() == [1, 2]
    assert deals["steps"].tolist() == [-50, -29]
    assert (deals["profit"] == [-5.0, -2.9]).all()


def test_eight_tickets_are_the_most(toy_bars, toy_tape):
    actions = [0.1 * k for k in range(1, 11)]
    simulator = play(toy_tape(toy_bars(flat_rows(*[100.0] * 12)), **RULES), *actions)
    assert len(tickets(simulator)) == 8
    assert simulator.book.positions["steps"][0, 0] == 79


def test_a_stop_closes_every_ticket(toy_bars, toy_tape):
    """The second increase sets 100.00 - 1.00 for both."""
    rows = [(100.0, 100.5, 99.5, 100.0)] * 3 + [(100.0, 100.0, 97.0, 98.0)]
    simulator = play(toy_tape(toy_bars(rows), **RULES, stop_atr=1.0), 0.5, 1.0, np.nan)
    deals = simulator.book.deals[0, : simulator.book.account["n_deals"][0]]
    assert deals["reason"].tolist() == [STOP, STOP]
    assert deals["ticket"].tolist() == [1, 2]
    np.testing.assert_allclose(deals["price"], 99.0)
    assert simulator.book.positions["steps"][0, 0] == 0
    assert simulator.book.positions["barred_side"][0, 0] == 1


def test_the_stop_out_closes_the_ticket_that_lost_most(toy_bars, toy_tape):
    """500 steps at 100.10 and 296 at 98.10; margin 7,800.80 at 98.00, out at equity 3,900.40.

    8,920.40 - 796 * 6.3065 = 3,900.40 at 91.6935, rounded to 91.69: the first ticket goes, for
    500 * 8.41 = 4,205. The other one's margin is 2,900.80, and even at 91.00 it is covered.
    """
    rows = [*flat_rows(100.0, 100.0, 98.0), (98.0, 98.0, 91.0, 94.0), *flat_rows(94.0)]
    sizes = {"leverage": 10.0, "notional_fraction": 10.0, "max_exposure": 10.0}
    simulator = play(toy_tape(toy_bars(rows), **RULES, **sizes), 0.5, 0.8)
    assert tickets(simulator) == [(1, 500), (2, 296)]
    simulator.step_lane(0, np.array([np.nan], np.float32))
    deals = simulator.book.deals[0, : simulator.book.account["n_deals"][0]]
    assert deals[["ticket", "steps", "reason"]].tolist() == [(1, -500, STOP_OUT)]
    assert deals["price"][0] == pytest.approx(91.69)
    assert tickets(simulator) == [(2, 296)]
    assert simulator.book.account["balance"][0] == pytest.approx(5_795.0)
    assert simulator.book.account["level"][0] == LEVEL_3


def test_swap_is_booked_on_each_ticket(toy_bars, toy_spec, toy_tape):
    spec = toy_spec(swap_mode="money", swap_long=-3.0, swap_triple_day=None, swap_weekend=True)
    bars = toy_bars(flat_rows(*[100.0] * 5), hours=24 * np.arange(5))
    simulator = play(toy_tape(bars, spec, **RULES), 0.5, 1.0, 1.0)
    held = simulator.book.tickets[0, :2]
    # 50 steps of 0.01 lots at 3 USD a lot: 1.50 a night; the second ticket has held one night less.
    assert held["swap"][0] == pytest.approx(-4.5)
    assert held["swap"][1] == pytest.approx(-0.03 * held["steps"][1] * 2)
    assert simulator.book.positions["swap"][0, 0] == pytest.approx(held["swap"].sum())


def test_random_starts_hold_one_ticket(toy_bars, toy_tape):
    rules = {"randomise": 1, "first": 3, "last": 50, "episode_bars": 10, "atr_bars": 2}
    rows = [(100.0, 101.0, 99.0, 100.0)] * 60
    late = {"latency_least": 0.0, "latency_most": 2.0}
    simulator = Simulator(toy_tape(toy_bars(rows), **RULES, **rules, **late, stop_atr=2.0), 64)
    simulator.seed(3)
    simulator.reset()
    book = simulator.book
    held = book.positions["steps"][:, 0]
    assert 10 < np.count_nonzero(held) < 54
    np.testing.assert_array_equal(book.tickets["steps"][:, 0], held)
    np.testing.assert_array_equal(book.queue, np.repeat(held[:, None], 3, axis=1))
    assert ((book.positions["stop"][:, 0] > 0) == (held != 0)).all()
    assert 0.0 <= book.account["latency"].min() < book.account["latency"].max() < 2.0
