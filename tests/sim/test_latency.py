"""Limits on an account whose targets are whole bars late, worked out by hand.

A lot step is worth 1 USD per 1.0 of price, the spread is 0.10 and the account holds 10,000 USD:
full size is 100 steps.
"""

from __future__ import annotations

import numpy as np
import pytest

from mtquant.risk.reasons import REASONS
from mtquant.sim.pending import on_its_way
from mtquant.sim.simulator import Simulator

pytestmark = pytest.mark.nojit

QUIET = (100.0, 100.5, 99.5, 100.0)  # ATR 1.00
NAN = float("nan")


class Lane:
    """One account over quiet symbols, or over the bars given."""

    def __init__(self, tape, late: int) -> None:
        self.simulator = Simulator(tape)
        self.simulator.place(0, 1, len(tape.market) - 1, 10_000.0)
        self.simulator.book.account["latency"] = late

    def step(self, *action: float) -> list[int]:
        """Signed lot steps held after one bar."""
        self.simulator.step_lane(0, np.array([action], np.float32))
        return self.simulator.book.positions["steps"][0].tolist()

    @property
    def reasons(self) -> list[str]:
        return [REASONS[r] for r in self.simulator.book.positions["reason"][0]]

    def account(self, name: str) -> float:
        return float(self.simulator.book.account[name][0])


@pytest.fixture
def lane(toy_bars, toy_tape):
    def make(*symbols, late: int = 1, **rules) -> Lane:
        listed = [toy_bars(bars, f"{n}" * 3) for n, bars in zip("ABC", symbols, strict=False)]
        late_rules = {"latency_least": late, "latency_most": late}
        return Lane(
            toy_tape(listed, **{"max_exposure": 5.0, "checks": 1} | late_rules | rules), late
        )

    return make


@pytest.mark.parametrize("late", [1, 2, 3])
def test_a_target_that_closed_is_not_reopened_beyond_the_trades_of_the_day(lane, late):
    """Each bar reaches the target of 101.00; the second order of the day is denied."""
    one = lane([(100.0, 101.0, 99.5, 100.0)] * 12, late=late, take_atr=0.5, trades_per_day=1)
    for _ in range(9):
        assert one.step(0.1) == [0]
    assert one.account("orders_today") == 1
    assert one.account("trades") == 1
    assert one.reasons == ["trades of the day"]


def test_a_target_that_closed_is_not_reopened_where_increases_are_barred(lane):
    one = lane([(100.0, 101.0, 99.5, 100.0)] * 8, take_atr=0.5)
    one.simulator.tape.market["barred"][3:] = REASONS.index("on the prohibited list")
    for _ in range(6):
        one.step(0.1)
    assert one.account("trades") == 1


def test_what_is_on_its_way_to_a_closed_side_is_called_off(lane):
    """+10, and +20 on its way when the target of 101.00 ends the first: the rest opens nothing."""
    rise = (100.0, 101.2, 99.8, 100.0)
    one = lane([QUIET] * 4 + [rise] + [QUIET] * 4, late=2, take_atr=1.0)
    assert [one.step(a) for a in (0.1, 0.2, 0.2)] == [[0], [0], [0]]
    assert one.account("trades") == 1
    assert [one.step(NAN) for _ in range(3)] == [[0], [0], [0]]


def test_an_order_that_found_no_bar_is_decided_anew(toy_bars, toy_tape):
    """B has no bar 3, for which 100 were decided at bar 1: the same at bar 2 is not sent again.

    Bar 3 denies it, B having no bar there; what bar 4 decides is filled at bar 6.
    """
    a = toy_bars([QUIET] * 8, "AAA")
    b = toy_bars([QUIET] * 7, "BBB", hours=[0, 1, 2, 4, 5, 6, 7])
    one = Lane(toy_tape([a, b], latency_least=1.0, latency_most=1.0), 1)
    assert [one.step(0.0, 1.0)[1] for _ in range(5)] == [0, 0, 0, 0, 100]


def test_a_reduction_that_found_no_bar_is_repeated(toy_bars, toy_tape):
    """B holds 100 at bar 3; 0 is decided at bars 3 and 4 for bars 5, which is not there, and 6."""
    a = toy_bars([QUIET] * 8, "AAA")
    b = toy_bars([QUIET] * 7, "BBB", hours=[0, 1, 2, 3, 4, 6, 7])
    one = Lane(toy_tape([a, b], latency_least=1.0, latency_most=1.0), 1)
    actions = (1.0, 1.0, 0.0, 0.0, NAN)
    assert [one.step(0.0, action)[1] for action in actions] == [0, 100, 100, 100, 0]


QUIETLY = [QUIET] * 9


@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        ({"max_exposure": 1.0}, "reduced to the maximum exposure"),
        ({"max_class_exposure": 1.0}, "maximum exposure of the asset class"),
        ({"max_positions": 1}, "maximum number of positions"),
    ],
)
def test_what_a_later_symbol_has_on_its_way_counts(lane, limit, reason):
    """B's 100 of 100 are all of equity; A finds no room, whether they are filled or not."""
    one = lane(QUIETLY, QUIETLY, **limit)
    assert one.step(0.0, 1.0) == [0, 0]
    assert one.step(1.0, 1.0) == [0, 100]
    assert one.reasons[0] == reason
    assert [one.step(1.0, 1.0)[0] for _ in range(3)] == [0, 0, 0]


def test_margin_of_what_is_on_its_way_is_not_free(lane):
    """At a leverage of 1 the margin of B's 60 is 6,000 of 10,000: A is left 40."""
    one = lane(QUIETLY, QUIETLY)
    one.simulator.tape.contracts["margin_share"] = 1.0
    one.step(0.0, 0.6)
    one.step(0.8, 0.6)
    assert one.reasons[0] == "reduced to the free margin"
    assert one.simulator.book.positions["target"][0, 0] == 40


def test_what_is_to_be_sold_counts_until_it_is(lane):
    """A's 100 are sold at bar 5, and B is allowed at its close: 9,990 buy 99."""
    one = lane(QUIETLY, QUIETLY, max_exposure=1.0)
    actions = [(1.0, 0.0), (1.0, 0.0), *[(0.0, 1.0)] * 4]
    held = [one.step(*action) for action in actions]
    assert held == [[0, 0], [100, 0], [100, 0], [0, 0], [0, 0], [0, 99]]


@pytest.mark.parametrize("late", [1, 2, 3])
def test_the_day_pays_for_what_is_on_its_way(lane, late):
    """20 of 100 are 2,000 of 3,000: the next order may open 10, and none is left for the third."""
    one = lane(QUIETLY, late=late, day_budget=3_000.0)
    held = [one.step(action)[0] for action in (0.2, 0.4, *[0.6] * 5)]
    assert held == [*[0] * late, 20, *[30] * (6 - late)]
    assert one.account("spent_today") == pytest.approx(3_003.0)


@pytest.mark.parametrize("late", [1, 2, 3])
def test_an_order_on_its_way_is_one_of_the_day(lane, late):
    """+10 and the flip to -10 are two: what turns round once more only closes."""
    one = lane(QUIETLY, late=late, trades_per_day=2)
    held = [one.step(action)[0] for action in (0.1, -0.1, *[0.1] * 5)]
    assert held == [*[0] * late, 10, -10, *[0] * (5 - late)]
    assert one.account("orders_today") == 2


def test_all_that_may_come_of_what_is_on_its_way(lane):
    """From 5 to 8, by way of -4 to 0: at most 8 are held, two orders open 3 and 4."""
    book = lane(QUIETLY, late=3).simulator.book
    book.positions["steps"][0, 0] = 5
    for t, target in zip((6, 7, 8), (8, -4, 0), strict=True):
        book.queue[0, t % 4] = target
    assert on_its_way(book, 0, 0, 8) == (8, 7, 2)
