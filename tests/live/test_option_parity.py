"""Whatever a rule remembers, the live runner remembers too, however often it is started anew."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from mtquant.live.record import COUNTS, MONEY, SUMS
from mtquant.risk.breaker import LEVEL_1, LEVEL_2, LEVEL_3
from mtquant.risk.reasons import STOP_OUT
from mtquant.sim.records import DEAL
from mtquant.sim.simulator import Simulator

BARS = 800
RESTART_EVERY = 97
NAMES = (*COUNTS, *MONEY, *SUMS)
BAR, COMMISSION, REASON = map((DEAL.names or ()).index, ("bar", "commission", "reason"))

KELLY = {"method": "kelly", "kelly": {"fraction": 1.0, "prior_trades": 5.0}}
LOOSE = {"daily_loss": (0.7, 0.8, 0.9)}  # so that the brake under test is the one that binds
BRAKES: dict[str, tuple[dict[str, Any], int]] = {
    "weekly_loss": ({"weekly_loss": 0.02, "weekly_loss_level": LEVEL_2}, LEVEL_2),
    "drawdown": ({"drawdown": 0.03, "drawdown_level": LEVEL_1}, LEVEL_1),
    "start_loss": ({"start_loss": 0.03}, LEVEL_3),
    "losing_run": ({"losing_run": 3, "losing_run_level": LEVEL_2}, LEVEL_2),
}
COSTS = [
    {"slippage": "none", "commission_per_fill": 0.37, "commission_per_lot": 0.0},
    {"slippage": "range", "slippage_coefficient": 0.03, "commission_fraction": 0.00003},
    {"slippage": "volume", "slippage_coefficient": 90.0},
    {"slippage": "sqrt", "slippage_coefficient": 0.7, "commission_per_fill": 1.0},
]


def memories_of_backtest(world: Any) -> list[dict[str, float]]:
    """What the kernel remembers at the close of every bar that the paper run decides on."""
    simulator, (first, last) = Simulator(world.tape()), world.rows
    observation = simulator.place(0, first, last, world.env.account.capital)
    memories = []
    for _ in range(last - first):
        account = simulator.book.account[0]
        memories.append({name: account[name].item() for name in NAMES})
        action, _ = world.agent.predict(observation)
        observation, _, _ = simulator.step_lane(0, action.reshape(1, -1))
    return memories


def memories_of_journal(path: Path) -> list[dict[str, float]]:
    with sqlite3.connect(path) as database:
        rows = database.execute("SELECT memory FROM account ORDER BY bar_time_ns").fetchall()
    database.close()
    return [json.loads(memory) for (memory,) in rows]


def check_parity(world: Any, path: Path) -> Any:
    """Backtest and a paper run that is started anew every few bars; returns the backtest."""
    backtest = world.backtest()
    seen, world.agent.seen = world.agent.seen, []
    terminal, parts = world.terminal(), []
    while not terminal.finished:
        parts.append(world.paper(terminal, path, bars=RESTART_EVERY))
    assert len(parts) > 6
    for name in ("equity", "deals", "steps", "levels"):
        assert [x for part in parts for x in getattr(part, name)] == getattr(backtest, name)
    assert world.agent.seen == seen, "every observation"
    assert memories_of_journal(path) == memories_of_backtest(world)
    return backtest


def test_kelly_sizes_by_the_same_round_trips(make_world, tmp_path):
    world = make_world(BARS, sizing=KELLY)
    learning = check_parity(world, tmp_path / "journal.db")
    stubborn = {**KELLY, "kelly": {**KELLY["kelly"], "prior_trades": 1e9}}
    assert make_world(BARS, sizing=stubborn).backtest().steps != learning.steps
    last = memories_of_journal(tmp_path / "journal.db")[-1]
    assert 5 < last["wins"] < last["trades"] - 5


@pytest.mark.parametrize("brake", BRAKES)
def test_brakes_bind_at_the_same_bar(make_world, tmp_path, brake):
    changes, level = BRAKES[brake]
    world = make_world(BARS, breaker={**LOOSE, **changes})
    backtest = check_parity(world, tmp_path / "journal.db")
    assert set(backtest.levels) == {0, level}
    assert set(make_world(BARS, breaker=LOOSE).backtest().levels) == {0}


@pytest.mark.parametrize("costs", COSTS, ids=lambda costs: costs["slippage"])
def test_costs_are_charged_alike(make_world, tmp_path, costs):
    world = make_world(BARS, costs=costs, sizing=KELLY)
    backtest = check_parity(world, tmp_path / "journal.db")
    plain = make_world(BARS, sizing=KELLY).backtest()
    assert len(backtest.deals) > 50
    assert {deal[COMMISSION] for deal in backtest.deals} != {0.0}
    assert backtest.equity != plain.equity


def test_options_in_company(make_world, tmp_path):
    brakes = {**BRAKES["weekly_loss"][0], **BRAKES["drawdown"][0], **BRAKES["losing_run"][0]}
    world = make_world(
        BARS,
        sizing={**KELLY, "min_change_steps": 2, "max_volume_share": 0.02},
        breaker={**LOOSE, **brakes},
        costs=COSTS[3],
    )
    backtest = check_parity(world, tmp_path / "journal.db")
    assert set(backtest.levels) == {0, LEVEL_1, LEVEL_2}
    assert len(backtest.deals) > 100


def test_a_stop_out_is_a_lost_round_trip(make_world, tmp_path):
    world = make_world(
        1500,
        sizing={"method": "fixed_fractional", "notional_fraction": 99.0},
        limits={"max_exposure": 99.0},
        breaker={"daily_loss": (0.97, 0.98, 0.99), "losing_run": 50},
    )
    backtest = check_parity(world, tmp_path / "journal.db")
    assert backtest.deals[-1][REASON] == STOP_OUT
    assert backtest.deals[-2][BAR] == backtest.deals[-1][BAR], "opened and lost in one bar"
    assert memories_of_journal(tmp_path / "journal.db")[-1]["losing_run"] > 1
