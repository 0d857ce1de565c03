"""Nothing is lost, doubled or unbounded on a terminal that goes wrong in every known way.

The oracle of :mod:`harness` judges A1, A2, A3, B1, C4, E6 and F4 in each life; what fails is shrunk
and printed with the command that replays it. More of them: ``benchmarks/fault_schedules.py``.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import schedules

# As many lives as fit the ordinary run; the rest are in the slow one.
ORDINARY = {"single_plans": 600, "pair_plans": 300, "random_plans": 300}
SLOW = {"single_plans": 600, "pair_plans": 1_200, "random_plans": 1_200}
ELSEWHERE, SLOW_ELSEWHERE = 40, 400
PARTS = 8  # of the ordinary run, so that cores share them
SEED = int(os.environ.get("MTQUANT_FAULT_SEED", "1"))


def must_hold(
    kind: str, count: int, part: int, parts: int, path: Path, on: str = "netting"
) -> None:
    rng = np.random.default_rng([SEED, len(kind), schedules.STAGES.index(on)])
    found = []
    for number, plan in enumerate(getattr(schedules, kind)(rng, count, on)):
        if number % parts == part and schedules.broken(plan, path, on=on):
            found.append(schedules.smallest(plan, path, on=on))
            if len(found) == 3:
                break
    assert not found, "\n".join(f"{command}\n    {broken}" for command, broken in found)


def test_A1_an_undisturbed_life_is_whole(stage, tmp_path):
    import harness

    life = harness.play(stage, {}, tmp_path / "journal.db")
    assert not life.broken and life.armed and life.reports > harness.BARS
    assert life.held == stage.strategy.wanted(2**62) != 0
    assert life.calls.count("order_send") > harness.BARS


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("kind", sorted(ORDINARY))
def test_A1_A2_A3_B1_F4_schedules_of_faults(kind, part, tmp_path):
    must_hold(kind, ORDINARY[kind], part, PARTS, tmp_path / "journal.db")


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(20))
@pytest.mark.parametrize("kind", sorted(SLOW))
def test_A1_A2_A3_B1_F4_many_schedules_of_faults(kind, part, tmp_path):
    must_hold(kind, SLOW[kind], part, 20, tmp_path / "journal.db")


@pytest.mark.parametrize("part", range(4))
@pytest.mark.parametrize("on", ["hedging", "company"])
def test_A1_A2_A3_B1_F4_schedules_on_other_accounts(on, part, tmp_path):
    must_hold("random_plans", ELSEWHERE, part, 4, tmp_path / "journal.db", on)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(8))
@pytest.mark.parametrize("on", ["hedging", "company"])
def test_A1_A2_A3_B1_F4_many_schedules_on_other_accounts(on, part, tmp_path):
    must_hold("random_plans", SLOW_ELSEWHERE, part, 8, tmp_path / "journal.db", on)


@pytest.mark.parametrize("after", [False, True])
def test_A1_A3_death_at_every_call(stage, tmp_path, after):
    """Each call of a whole life, the process dies before or after it and is born again."""
    import harness

    plans = [
        plan
        for plan in schedules.single_plans(np.random.default_rng(0), 10**9)
        if set(plan.values()) == {"dies after" if after else "dies before"}
    ]
    assert len(plans) > 150
    for plan in plans[:: 1 if os.environ.get("MTQUANT_FAULT_ALL") else 6]:
        life = harness.play(
            stage, {n: schedules.NAMES[name] for n, name in plan.items()}, tmp_path / "journal.db"
        )
        assert not life.broken and life.deaths == 1, plan


@pytest.mark.parametrize("delay", ["executed before the next call", "executed two calls later"])
@pytest.mark.parametrize(
    "lag", ["history lags a bar", "history lags 25 bars", "positions lag a bar"]
)
def test_A5_a_late_fill_in_a_history_that_lags(tmp_path, delay, lag):
    """Absence from history is no proof: the order counts until it is found or cannot come."""
    sends = [n for n, name in schedules.calls().items() if name == "order_send"]
    for send in sends[::4]:
        plan = {send: delay, send + 1: lag}
        assert not schedules.broken(plan, tmp_path / "journal.db"), plan
