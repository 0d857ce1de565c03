"""The kernels as plain Python: the same tests pass, and every bit agrees."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import mtquant

ROOT = Path(__file__).parents[2]

RUN = """
import runpy, sys
import numpy as np
from mtquant.sim.simulator import Simulator

toys = runpy.run_path(sys.argv[1])
rng = np.random.default_rng(12)
bars, specs = [], []
for name in ("AAA", "BBB"):
    hours = np.flatnonzero(rng.random(560) < 0.9)[:500]
    close = 100 * np.exp(np.cumsum(0.01 * rng.standard_t(3, hours.size)))
    opening = np.concatenate([close[:1], close[:-1]])
    reach = 1 + 0.005 * rng.random((2, hours.size))
    high, low = np.maximum(opening, close) * reach[0], np.minimum(opening, close) / reach[1]
    prices = np.round(np.stack([opening, high, low, close], axis=1), 2)
    spread = rng.integers(0, 40, hours.size)
    bars.append(toys["_toy_bars"](prices, name, hours=hours, spread=spread))
    specs.append(toys["_toy_spec"](name, swap_mode="percent", swap_long=-5.3, swap_short=1.1,
                                   commission_per_lot=3.5))
tape = toys["_toy_tape"](bars, specs, sizing_method=0, atr_bars=14, slippage_points=2,
                         first=20, episode_bars=120, randomise=1, daily_loss_level_1=0.03,
                         daily_loss_level_2=0.06, daily_loss_level_3=0.2, money_scale=100.0)
simulator = Simulator(tape, 4)
simulator.seed(5)
seen = [simulator.reset(stagger=True).copy()]
rewards, statuses = [], []
for row in rng.uniform(-1.2, 1.2, (500, 4, 2)).astype(np.float32):
    result = simulator.step(row)
    seen.append(result.observations.copy())
    rewards.append(result.rewards)
    statuses.append(result.statuses)
np.savez(sys.argv[2], market=tape.market, observations=np.array(seen), rewards=np.array(rewards),
         statuses=np.array(statuses), account=simulator.book.account,
         positions=simulator.book.positions, deals=simulator.book.deals)
"""


def python(arguments: list[str], *, jit: bool) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "NUMBA_DISABLE_JIT": "0" if jit else "1",
        "PYTHONPATH": str(Path(mtquant.__file__).parents[1]),
    }
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True
    )


def test_compiled_and_plain_agree_bit_for_bit(tmp_path):
    results = []
    for jit in (True, False):
        out = tmp_path / f"jit{jit}.npz"
        ran = python(["-c", RUN, str(ROOT / "tests" / "conftest.py"), str(out)], jit=jit)
        assert ran.returncode == 0, ran.stderr
        results.append(np.load(out))
    compiled, plain = results
    assert compiled["statuses"].any()
    assert len(np.unique(compiled["rewards"])) > 1_000
    for name in compiled.files:
        assert compiled[name].tobytes() == plain[name].tobytes(), name


@pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="already without the JIT")
@pytest.mark.slow
def test_the_marked_tests_pass_without_the_jit():
    folders = ["tests/sim", "tests/risk"]
    arguments = ["-m", "pytest", "-m", "nojit", "-x", "-p", "no:cacheprovider", *folders]
    ran = python(arguments, jit=False)
    assert ran.returncode == 0, ran.stdout[-3_000:]
