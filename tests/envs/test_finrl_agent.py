"""FinRL's own code on mtquant's frames and env, in the virtual environment that a script builds.

``MTQUANT_FINRL_VENV`` may name a folder that ``scripts/install_finrl.py`` has filled before.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import mtquant

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

ROOT = Path(mtquant.__file__).parents[1]

# Two stocks whose every open is the close before: there StockTradingEnv's fill at the close that
# was seen is the next open, and the two accounts may differ by the tick of spread alone.
DRIVER = """
import json, warnings
warnings.filterwarnings("ignore")
import numpy as np
from finrl.agents.stablebaselines3.models import DRLAgent
from finrl.meta.env_stock_trading.env_stocktrading import StockTradingEnv
from finrl.meta.preprocessor.preprocessors import FeatureEngineer, data_split
from mtquant.envs.finrl import FinRLStockEnv
from mtquant.market.bars import Bars
from mtquant.market.finrl import to_finrl
from mtquant.market.timeframe import Timeframe

def bars(symbol, seed, count=300):
    rng = np.random.default_rng(seed)
    close = (100 * np.exp(np.cumsum(rng.normal(0, 0.01, count)))).round(2)
    opened = np.concatenate([[100.0], close[:-1]])
    high, low = np.maximum(opened, close) + 0.5, np.minimum(opened, close) - 0.5
    days = np.datetime64("2020-01-01", "D") + np.arange(count)
    time = days.astype("datetime64[ns]").astype(np.int64)
    more = np.full(count, 1e6), np.zeros(count)
    return Bars(symbol, Timeframe.D1, time, opened, high, low, close, *more)

indicators = ["macd", "rsi_30"]
engineer = FeatureEngineer(tech_indicator_list=indicators)
whole = engineer.preprocess_data(to_finrl([bars("AAA", 1), bars("BBB", 2)]))
train = data_split(whole, "2020-01-01", "2020-07-01")
trade = data_split(whole, "2020-07-01", "2021-01-01")
settings = dict(
    stock_dim=2, hmax=100, initial_amount=1_000_000, num_stock_shares=[0, 0],
    buy_cost_pct=[0.001] * 2, sell_cost_pct=[0.001] * 2, reward_scaling=1e-4,
    state_space=9, action_space=2, tech_indicator_list=indicators,
)
told = {}
theirs, ours = (kind(df=train, **settings) for kind in (StockTradingEnv, FinRLStockEnv))
states = [[list(theirs.reset()[0]), ours.reset(seed=0)[0].tolist()]]
rewards, bought = [], 0.0
rng = np.random.default_rng(0)
for _ in range(60):
    action = rng.uniform(-1, 1, 2).astype(np.float32)
    held = np.array(states[-1][0][3:5])
    state, reward, *_ = theirs.step(action)
    seen, own, *_ = ours.step(action)
    bought += float(np.maximum(np.array(state[3:5]) - held, 0).sum())
    rewards.append([reward, own])
    states.append([list(state), seen.tolist()])  # theirs changes with its next step
told["states"], told["rewards"], told["bought"] = states, rewards, bought

agent = DRLAgent(env=FinRLStockEnv(df=train, **settings).get_sb_env()[0])
model = agent.get_model("a2c", verbose=0, seed=0)
before = {k: v.clone() for k, v in model.policy.state_dict().items()}
trained = DRLAgent.train_model(model, tb_log_name="a2c", total_timesteps=400)
after = trained.policy.state_dict()
told["moved"] = sum(not bool((before[k] == after[k]).all()) for k in before)
env = FinRLStockEnv(df=trade, **settings)
values, actions = DRLAgent.DRL_prediction(model=trained, environment=env)
told["values"], told["columns"] = values["account_value"].tolist(), list(actions.columns)
told["dates"], told["actions"] = values["date"].tolist(), actions.values.tolist()
told["index"], told["trade"] = actions.index.tolist(), trade["date"].unique().tolist()
print("\\n" + json.dumps(told, default=float))
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter that has FinRL."""
    given = os.environ.get("MTQUANT_FINRL_VENV")
    folder = Path(given) if given else tmp_path_factory.mktemp("finrl") / "venv"
    if not given:
        script = [sys.executable, str(ROOT / "scripts" / "install_finrl.py"), str(folder)]
        ran = subprocess.run(script, capture_output=True, text=True)
        if ran.returncode == 2:
            pytest.skip(f"FinRL cannot be fetched: {ran.stdout.strip().splitlines()[-1]}")
        assert ran.returncode == 0, ran.stderr
    return folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"


@pytest.fixture(scope="module")
def told(python: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the driver printed; FinRL runs in a folder of its own, with this checkout's mtquant."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(
        [str(python), "-c", DRIVER],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path_factory.mktemp("run"),
    )
    assert ran.returncode == 0, ran.stderr
    result: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return result


def test_observations_are_those_of_stock_trading_env(told):
    """Closes, shares and indicators are equal in float32, cash but for a tick a share bought."""
    for theirs, ours in told["states"]:
        assert ours[1:] == pytest.approx(theirs[1:], rel=1e-6, abs=1e-6)
        assert -0.1 <= theirs[0] - ours[0] <= 0.0101 * told["bought"] + 0.1
    theirs, ours = told["states"][-1]
    assert theirs[0] - ours[0] == pytest.approx(0.01001 * told["bought"], abs=0.1)
    assert told["bought"] > 1000


def test_rewards_are_those_of_stock_trading_env(told):
    for theirs, ours in told["rewards"]:
        assert -1e-9 <= theirs - ours <= 0.0101 * 200 * 1e-4 + 1e-9


def test_finrls_agent_learns_on_the_env_and_is_judged_by_its_own_prediction(told):
    assert told["moved"] > 0
    assert told["dates"] == told["trade"]
    assert told["index"] == told["trade"][:-1]
    assert told["columns"] == ["AAA", "BBB"]
    assert told["values"][0] == 1_000_000.0
    assert all(abs(n) <= 100 and n == int(n) for row in told["actions"] for n in row)
    assert any(n for row in told["actions"] for n in row)
