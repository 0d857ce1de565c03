"""mtquant: reinforcement learning for trading, with a broker bridge to MetaTrader 5.

Names are imported when they are first used, so ``import mtquant`` is quick and loads no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mtquant.envs.registration import register_when_loaded

if TYPE_CHECKING:
    from mtquant.agents.bundle import Bundle, load_bundle
    from mtquant.backtest.run import BacktestResult, run_backtest
    from mtquant.config.data import read_bars
    from mtquant.envs.trading import make_env
    from mtquant.envs.vec_env import make_vec_env
    from mtquant.sim.custom_reward import register_reward
    from mtquant.sim.target import Target
    from mtquant.training.plan import TrainingConfig
    from mtquant.training.trainer import run_training

__version__ = "0.1.0"

_HOMES = {
    "BacktestResult": "mtquant.backtest.run",
    "Bundle": "mtquant.agents.bundle",
    "Target": "mtquant.sim.target",
    "TrainingConfig": "mtquant.training.plan",
    "load_bundle": "mtquant.agents.bundle",
    "make_env": "mtquant.envs.trading",
    "make_vec_env": "mtquant.envs.vec_env",
    "read_bars": "mtquant.config.data",
    "register_reward": "mtquant.sim.custom_reward",
    "run_backtest": "mtquant.backtest.run",
    "run_training": "mtquant.training.trainer",
}

__all__ = [
    "BacktestResult",
    "Bundle",
    "Target",
    "TrainingConfig",
    "load_bundle",
    "make_env",
    "make_vec_env",
    "read_bars",
    "register_reward",
    "run_backtest",
    "run_training",
]


register_when_loaded()


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mtquant' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
