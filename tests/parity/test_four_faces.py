"""Four faces, one ledger: env, batch, backtest and paper agree to the last bit on random markets.

Twenty instruments over 500 bars here; the slow marker brings a hundred over 5,000, and
``benchmarks/four_faces.py`` a hundred over 100,000, where a hand trades in the runner's place.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

LEAST = {
    "deals": 500,
    "limited": 30,
    "new limits": 100,
    "flips": 100,
    "reductions": 50,
    "triple swaps": 20,
    "brakes": 10,
    "releases": 5,
    "restarted": 20,
    "protective stop": 50,
    "target reached": 10,
    "stop-out": 5,
    "part taken on the way to the target": 3,
    "moved stops": 100,
    "passed stops": 1,
    "tickets closed": 200,
    "not enough money": 2,
    "rejected by the server": 20,
    "outside the price band": 1,
    "the open has passed the stop or target": 1,
}
KINDS = (
    "forex metal crypto index energy stock cfd cfd_leverage none points range volume sqrt "
    "netting hedging late"
)
LEAST |= dict.fromkeys(KINDS.split(), 1)
LEAST |= {f"swap {mode}": 1 for mode in ("none", "points", "percent", "money")}


def play(
    faces: ModuleType, instruments: ModuleType, seeds: range, n_bars: int, folder: Path | None
) -> Counter[str]:
    count: Counter[str] = Counter()
    for seed in seeds:
        case = instruments.random_case(seed, n_bars)
        spec, costs = case.scenario.market.specs[0], case.scenario.env.costs
        kinds = (spec.asset_class, spec.margin_mode, f"swap {spec.swap_mode}", costs.slippage)
        env = case.scenario.env
        count.update((*kinds, env.account.book, "late" if env.execution.latency_bars else "prompt"))
        try:
            count += faces.compare_lives(*case, folder)
        except AssertionError as error:
            error.add_note(f"random_case({seed}, {n_bars}): {spec}")
            raise
    return count


def assert_not_empty(count: Counter[str]) -> None:
    missing = {name: count[name] for name, least in LEAST.items() if count[name] < least}
    assert not missing, f"too rare to prove anything: {missing}"


def test_twenty_instruments(faces, instruments, tmp_path):
    assert_not_empty(play(faces, instruments, range(20), 500, tmp_path))


@pytest.mark.slow
@pytest.mark.timeout(2000)
@pytest.mark.parametrize(("many", "how"), [(100, ""), (5, "--runner")])
def test_many_instruments(many, how):
    """Two at a time, in the long form's own words; the runner decides for five of them."""
    script = Path(__file__).parents[2] / "benchmarks" / "four_faces.py"
    words = f"--instruments {many} --bars 5000 --first 100 --workers 2 {how}".split()
    done = subprocess.run([sys.executable, str(script), *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert f"0 of {many} differ" in done.stdout


def test_a_hand_plays_paper_as_the_runner_does(faces, instruments):
    assert_not_empty(play(faces, instruments, range(20), 500, None))


def test_the_first_bar_may_come_after_a_pause(faces, instruments, tmp_path):
    count = faces.compare(*instruments.random_case(3, 100, "pause"), tmp_path)
    assert count["deals"] > 0


def test_the_hour_that_a_clock_shows_twice(faces, instruments, tmp_path):
    count = faces.compare(*instruments.random_case(3, 150, "autumn"), tmp_path)
    assert count["deals"] > 0
