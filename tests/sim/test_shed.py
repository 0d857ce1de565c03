"""LEVEL_2 closes the riskiest first until the exposure is what the breaker leaves."""

from __future__ import annotations

import pytest

from mtquant.risk.breaker import LEVEL_2
from mtquant.sim.decisions import shed
from mtquant.sim.simulator import Simulator

pytestmark = pytest.mark.nojit

CALM, WILD = (100.0, 100.5, 99.5, 100.0), (100.0, 103.0, 97.0, 100.0)


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
