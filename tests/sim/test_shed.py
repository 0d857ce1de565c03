"""LEVEL_2 closes the riskiest first until the exposure is what the breaker leaves."""

from __future__ import annotations

import numpy as np
import pytest

from mtquant.risk.breaker import LEVEL_2
from mtquant.sim.decisions import shed
from mtquant.sim.simulator import Simulator

pytestmark = pytest.mark.nojit

CALM, WILD = (100.0, 100.5, 99.5, 100.0), (100.0, 103.0, 97.0, 100.0)
STILL = (100.0, 100.0, 100.0, 100.0)


@pytest.mark.parametrize(
    ("held", "left", "targets"),
    [
        # 300 steps of 100: B moves six times as far, so all of it goes before any of A.
        ((100, -200), 15_000.0, [100, -50]),
        ((100, -200), 10_000.0, [100, 0]),
        ((100, -200), 5_000.0, [50, 0]),
        ((100, -200), 0.0, [0, 0]),
        ((100, -200), 4_950.0, [49, 0]),  # half a step too many is a step too many
        ((100, -200), 30_000.0, [100, -200]),
        # What rounding leaves over is nothing; it must neither be closed nor waited for.
        ((100, -200), 30_000.0 * (1.0 - 1e-13), [100, -200]),
        ((100, -200), 30_000.0 * (1.0 - 1e-8), [100, -199]),
    ],
)
def test_targets_at_level_2(toy_bars, toy_tape, held, left, targets):
    bars = [toy_bars([row] * 3, name) for name, row in (("AAA", CALM), ("BBB", WILD))]
    simulator = Simulator(toy_tape(bars, shed=0.5))
    simulator.place(0, 1, 2, 100_000.0)
    book = simulator.book
    book.account["level"], book.account["shed_to"] = LEVEL_2, left
    book.positions["steps"] = book.positions["target"] = [held]
    shed(book, simulator.tape, 0, 1)
    assert book.positions["target"][0].tolist() == targets


@pytest.mark.parametrize(("left", "targets"), [(15_000.0, [0, -150]), (4_000.0, [0, -40])])
def test_what_has_not_moved_of_late_is_shed_after_what_has(toy_bars, toy_tape, left, targets):
    bars = [toy_bars([row] * 3, name) for name, row in (("AAA", CALM), ("BBB", STILL))]
    simulator = Simulator(toy_tape(bars, shed=0.5))
    simulator.place(0, 1, 2, 100_000.0)
    book = simulator.book
    book.account["level"], book.account["shed_to"] = LEVEL_2, left
    book.positions["steps"] = book.positions["target"] = [(100, -200)]
    shed(book, simulator.tape, 0, 1)
    assert book.positions["target"][0].tolist() == targets


def test_a_brake_that_binds_on_sheds_once(toy_bars, toy_tape):
    """At 5 % of the week; every row of prices is an hour, and each line below a day."""
    closes = [100.0, 95.0, 95.0]  # 100 steps lose 510, and half of them go
    closes += [95.0, 95.0]  # no new loss: the 50 stay
    closes += [95.4, 94.0, 94.0]  # 490 lost and NORMAL: up to 99, which lose 643.50; 49 are left
    closes += [94.0, 94.0, 94.0]
    hours = [0, 1, 2, 3, 4, 27, 28, 29, 51, 52, 53]
    rows = [
        (before, max(before, close) + 0.5, min(before, close) - 0.5, close)
        for before, close in zip([100.0, *closes], closes, strict=False)
    ]
    bars = toy_bars(rows, start="2024-01-02T21:00", hours=hours)
    brakes = {"brakes": 1, "weekly_loss": 0.05, "weekly_loss_level": 2}
    off = {"drawdown": 1.0, "start_loss": 1.0}
    simulator = Simulator(toy_tape(bars, shed=0.5, **brakes, **off))
    simulator.place(0, 0, len(rows) - 1, 10_000.0)
    seen = []
    for _ in rows[2:]:
        simulator.step(np.ones((1, 1), np.float32))
        account, position = simulator.book.account[0], simulator.book.positions[0, 0]
        seen.append(
            (int(position["steps"]), int(account["level"]), round(float(account["equity"]), 2))
        )
    assert seen == [
        (100, 2, 9_490.0),
        (50, 2, 9_490.0),
        (50, 2, 9_490.0),
        (50, 2, 9_490.0),
        (50, 0, 9_510.0),
        (99, 2, 9_366.5),
        (49, 2, 9_366.5),
        (49, 2, 9_366.5),
        (49, 2, 9_366.5),
    ]
