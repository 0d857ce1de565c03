"""Two symbols on one account, worked out by hand; a lot step is worth 1 USD per 1.0 of price."""

from __future__ import annotations

import numpy as np
import pytest

from mtquant.backtest.deals import Deal, execution_costs
from mtquant.risk.breaker import LEVEL_3
from mtquant.risk.reasons import REASONS
from mtquant.sim.costs import SLIPPAGE_MODELS
from mtquant.sim.kernel import RUNNING, TERMINATED, open_bar
from mtquant.sim.orders import execute
from mtquant.sim.simulator import Simulator

pytestmark = pytest.mark.nojit

QUIET = (100.0, 100.0, 100.0, 100.0)


def start(tape) -> Simulator:
    simulator = Simulator(tape)
    simulator.place(0, 0, len(tape.market) - 1, tape.rules["capital"][0])
    return simulator


def advance(simulator: Simulator, *action: float) -> int:
    return simulator.step_lane(0, np.array([action], np.float32))[2]


def steps(simulator: Simulator) -> list[int]:
    return simulator.book.positions["steps"][0].tolist()


def reasons(simulator: Simulator) -> list[str]:
    return [REASONS[r] for r in simulator.book.positions["reason"][0]]


def equity(simulator: Simulator) -> float:
    return float(simulator.book.account["equity"][0])


def test_orders_of_a_closed_symbol_are_denied_and_not_queued(toy_bars, toy_tape):
    """B has no bar 2: what was decided before it is not filled, what is decided on it is denied."""
    a = toy_bars([QUIET] * 5, "AAA")
    b = toy_bars([QUIET] * 4, "BBB", hours=[0, 1, 3, 4])
    simulator = start(toy_tape([a, b]))
    advance(simulator, 0.0, 0.0)
    advance(simulator, 0.0, 1.0)  # decided at bar 1, which B has, for bar 2, which it has not
    assert steps(simulator) == [0, 0]
    assert reasons(simulator)[1] == "not tradable"
    advance(simulator, 0.5, 1.0)  # decided on bar 2
    assert steps(simulator) == [50, 0]
    assert reasons(simulator) == ["allowed", "not tradable"]
    advance(simulator, 0.5, 0.5)
    assert steps(simulator) == [50, 49]  # 9,995 / 100 / 2


def test_a_closed_symbol_is_marked_at_its_last_price_and_kept(toy_bars, toy_tape):
    a = toy_bars([QUIET] * 5, "AAA")
    b = toy_bars(
        [QUIET, (100, 103, 100, 103), (50, 50, 50, 50), (50, 50, 50, 50)],
        "BBB",
        hours=[0, 1, 3, 4],
    )
    simulator = start(toy_tape([a, b]))
    advance(simulator, 0.0, 1.0)
    assert equity(simulator) == pytest.approx(10_290.0)  # 100 * (103 - 100.10)
    advance(simulator, 0.0, 0.0)  # wants out; there is no bar to leave on
    assert steps(simulator) == [0, 100]
    assert equity(simulator) == pytest.approx(10_290.0)
    advance(simulator, 0.0, 0.0)  # asked on a bar that B does not have: denied
    assert steps(simulator) == [0, 100]
    assert equity(simulator) == pytest.approx(4_990.0)  # 100 * (50 - 100.10)
    advance(simulator, 0.0, 0.0)
    assert steps(simulator) == [0, 0]


def test_the_night_of_a_symbol_without_a_bar_is_charged_once(toy_bars, toy_spec, toy_tape):
    """B pauses over midnight: its own bar before the pause carries the night, A's bars none."""
    a = toy_bars([QUIET] * 5, "AAA", start="2024-01-02T21:00")
    b = toy_bars([QUIET] * 3, "BBB", start="2024-01-02T21:00", hours=[0, 1, 4])
    specs = [toy_spec("AAA"), toy_spec("BBB", swap_mode="points", swap_long=-20.0)]
    simulator = start(toy_tape([a, b], specs))
    advance(simulator, 0.0, 1.0)
    assert simulator.book.positions["swap"][0].tolist() == [0.0, -20.0]
    for _ in range(3):
        advance(simulator, 0.0, float("nan"))
    assert simulator.book.positions["swap"][0].tolist() == [0.0, -20.0]


def test_symbols_share_one_maximum_exposure(toy_bars, toy_tape):
    """1.5 times equity each, 2 in all: the first takes 150 steps and leaves 50."""
    bars = [toy_bars([QUIET] * 3, name) for name in ("AAA", "BBB")]
    tape = toy_tape(bars, notional_fraction=1.5, max_exposure=2.0)
    simulator = start(tape)
    advance(simulator, 1.0, -1.0)
    assert steps(simulator) == [150, -50]
    assert reasons(simulator) == ["allowed", "reduced to the maximum exposure"]
    # 50 of spread on each side of nothing: equity 9,980; A may keep, B finds no room for more.
    advance(simulator, 1.0, -1.0)
    assert steps(simulator) == [150, -50]


def test_symbols_share_the_budget_of_the_day(toy_bars, toy_tape):
    """100 steps of 100 are asked of each: A's take 10,000 of 15,000 and leave B 50.

    Filled at 100.10 they have cost 15,015: nothing is left for what is asked next.
    """
    bars = [toy_bars([QUIET] * 4, name) for name in ("AAA", "BBB")]
    tape = toy_tape(bars, max_exposure=5.0, checks=1, day_budget=15_000.0)
    simulator = start(tape)
    advance(simulator, 1.0, -1.0)
    assert steps(simulator) == [100, -50]
    assert reasons(simulator) == ["allowed", "budget of the day"]
    advance(simulator, 1.0, -1.0)
    assert steps(simulator) == [100, -50]


def test_symbols_share_the_trades_of_the_day(toy_bars, toy_tape):
    """Two orders: B's first and A's; B's second finds none left, and a flip only closes."""
    bars = [toy_bars([QUIET] * 4, name) for name in ("AAA", "BBB")]
    simulator = start(toy_tape(bars, max_exposure=5.0, checks=1, trades_per_day=2))
    advance(simulator, 0.0, 0.2)
    advance(simulator, 0.1, 0.5)
    assert steps(simulator) == [9, 20]
    assert reasons(simulator) == ["allowed", "trades of the day"]
    advance(simulator, -0.1, 0.1)
    assert steps(simulator) == [0, 9]
    assert reasons(simulator) == ["trades of the day", "allowed"]


def test_a_later_symbol_that_is_held_counts_for_an_earlier_one(toy_bars, toy_tape):
    bars = [toy_bars([QUIET] * 3, name) for name in ("AAA", "BBB")]
    simulator = start(toy_tape(bars, notional_fraction=1.5, max_exposure=2.0))
    advance(simulator, 0.0, 1.0)
    assert steps(simulator) == [0, 150]
    advance(simulator, 1.0, 1.0)
    # Room for 2 * 9,985 - 15,000 = 4,970.
    assert steps(simulator) == [49, 150]


def test_a_stop_out_takes_the_worst_of_all_symbols_together(toy_bars, toy_tape):
    """2,499 steps each: margin 4,998, out at equity 2,499.

    100.10 - 7,501 / 4,998 = 98.5992, rounded against the account to 98.59: A goes first, for
    2,499 * 1.51 = 3,773.49. B's margin is 2,499, out at 1,249.50, which it reaches when it has lost
    10,000 - 3,773.49 - 1,249.50 = 4,977.01: 100.10 - 1.9916 = 98.1084, rounded to 98.10.
    """
    bars = [toy_bars([QUIET, (100.0, 100.0, 98.0, 100.0)], name) for name in ("AAA", "BBB")]
    simulator = start(toy_tape(bars, notional_fraction=24.99, max_exposure=50.0))
    assert advance(simulator, 1.0, 1.0) == TERMINATED
    assert steps(simulator) == [0, 0]
    assert simulator.book.account["balance"][0] == pytest.approx(1_228.51, abs=1e-9)
    deals = simulator.book.deals[0, :4]
    assert simulator.book.account["n_deals"][0] == 4
    np.testing.assert_allclose(deals["price"], [100.10, 100.10, 98.59, 98.10], atol=1e-9)


def test_hedged_symbols_survive_where_one_alone_is_stopped_out(toy_bars, toy_tape):
    """A long and a short in one bar both count with their own worst price: nothing is netted."""
    bars = [toy_bars([QUIET, (100.0, 102.0, 98.0, 100.0)], name) for name in ("AAA", "BBB")]
    simulator = start(toy_tape(bars, notional_fraction=24.99, max_exposure=50.0))
    assert advance(simulator, 1.0, -1.0) == TERMINATED


def test_slippage_by_range_looks_back_over_a_pause(toy_bars, toy_tape):
    """A pauses for two bars; its own last range says what the stop costs on the bar after them.

    100 steps are bought at 100.10 and a tenth of 1.00; they are stopped at the open 98.00 less a
    tenth of 2.00: 100 * (97.80 - 100.20) = -240. Spread and slippage cost 20.00 at either end.
    """
    prices = [QUIET, (100.0, 100.5, 99.5, 100.0), (100.0, 102.0, 100.0, 100.0), (98.0,) * 4]
    a = toy_bars(prices, "AAA", hours=[0, 1, 2, 5])
    b = toy_bars([QUIET] * 6, "BBB")
    by_range = {"slippage_model": SLIPPAGE_MODELS["range"], "slippage_coefficient": 0.1}
    simulator = start(toy_tape([a, b], stop_atr=1.0, **by_range))
    deals = []
    for action in (0.0, 1.0, np.nan, np.nan, np.nan):
        advance(simulator, action, 0.0)
        n_deals = simulator.book.account["n_deals"][0]
        deals += [Deal.of(row) for row in simulator.book.deals[0, :n_deals].copy()]
    assert [(deal.bar, deal.steps) for deal in deals] == [(2, 100), (5, -100)]
    assert [deal.price for deal in deals] == pytest.approx([100.20, 97.80])
    assert simulator.book.account["balance"][0] == pytest.approx(9_760.0)
    assert simulator.book.account["slippage_cost"][0] == pytest.approx(30.0)
    assert execution_costs(deals, simulator.tape).tolist() == pytest.approx([20.0, 20.0])


def test_a_fill_reports_what_was_executed(toy_bars, toy_tape):
    """The terminal asks ``execute`` itself: nothing on a bar that is not there, else in full."""
    a = toy_bars([QUIET] * 4, "AAA")
    b = toy_bars([QUIET] * 3, "BBB", hours=[0, 1, 3])
    simulator = start(toy_tape([a, b]))
    book, tape = simulator.book, simulator.tape
    open_bar(book, tape, 0, 2)
    assert execute(book, tape, 0, 1, 2, 5, 0) == 0
    assert execute(book, tape, 0, 0, 2, 0, 0) == 0
    assert book.account["n_deals"][0] == 0
    assert execute(book, tape, 0, 0, 2, 5, 0) == 5
    assert execute(book, tape, 0, 0, 2, -2, 0) == -2
    assert execute(book, tape, 0, 0, 2, -10, 0) == -10  # a flip from 3 to -7
    assert steps(simulator) == [-7, 0]
    assert book.account["n_deals"][0] == 4
    # Closing finds its way without money; the opening half does not.
    assert execute(book, tape, 0, 0, 2, 1_000_000, 0) == 7
    assert steps(simulator) == [0, 0]
    assert reasons(simulator)[0] == "not enough money"


def test_a_stop_out_closes_only_what_has_a_bar(toy_bars, toy_tape):
    """B pauses while A falls; margin 4,998 in all, so both are out at equity 2,499.

    B stands 249.90 below its entry, A may lose 7,251.10 of its 2,499 steps: 97.1984, rounded
    against the account to 97.19. 10,000 - 2,499 * 2.91 = 2,727.91. B is closed on its next bar.
    """
    a = toy_bars([QUIET, QUIET, (100.0, 100.0, 96.0, 100.0), QUIET], "AAA")
    b = toy_bars([QUIET] * 3, "BBB", hours=[0, 1, 3])
    simulator = start(toy_tape([a, b], notional_fraction=24.99, max_exposure=50.0))
    assert advance(simulator, 1.0, 1.0) == RUNNING
    assert steps(simulator) == [2499, 2499]
    nan = float("nan")
    assert advance(simulator, nan, nan) == RUNNING
    assert steps(simulator) == [0, 2499]
    account, deals = simulator.book.account, simulator.book.deals[0]
    assert (account["n_deals"][0], deals["symbol"][0]) == (1, 0)
    assert deals["price"][0] == pytest.approx(97.19, abs=1e-9)
    assert account["balance"][0] == pytest.approx(2_727.91, abs=1e-9)
    assert account["level"][0] == LEVEL_3
    assert advance(simulator, nan, nan) == TERMINATED
    assert steps(simulator) == [0, 0]
    assert account["balance"][0] == pytest.approx(2_478.01, abs=1e-9)
