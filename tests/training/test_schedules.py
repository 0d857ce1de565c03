"""What changes while an agent learns: rates, costs, and whether it goes on at all."""

from __future__ import annotations

import re
from dataclasses import replace
from math import inf

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger

from mtquant.config.data import given_market
from mtquant.config.schema import AgentConfig, CurriculumConfig, EnvConfig, LearningConfig
from mtquant.envs.scenario import Scenario
from mtquant.envs.vec_env import SB3VecEnv
from mtquant.errors import ConfigError
from mtquant.training import callbacks
from mtquant.training.learner import build_learner
from mtquant.training.schedules import LEAST_FACTOR, CostRamp, Schedule
from mtquant.training.selection import NOTHING, Score
from mtquant.training.trainer import Interrupted, resume_training, run_training

# By hand; the cosine's from cos 0, 60, 90, 120 and 180 degrees.
LINEAR = [(1.0, 4.0), (0.75, 3.5), (0.5, 3.0), (0.0, 2.0), (-0.1, 2.0)]
COSINE = [(1.0, 4.0), (2 / 3, 3.5), (0.5, 3.0), (1 / 3, 2.5), (0.0, 2.0), (-0.1, 2.0)]

GEOMETRIC = [(1.0, 4.0), (0.75, 2.0**1.75), (0.5, 2.0**1.5), (0.0, 2.0), (-0.1, 2.0)]


@pytest.mark.parametrize(
    ("shape", "table"), [("linear", LINEAR), ("cosine", COSINE), ("geometric", GEOMETRIC)]
)
def test_a_schedule_goes_from_one_value_to_the_other(shape, table):
    schedule = Schedule.parse({"from": 4, "to": 2, "shape": shape}, "here")
    for remaining, value in table:
        assert schedule(remaining) == pytest.approx(value, abs=1e-12)
    assert Schedule.parse({"from": 4, "to": 2}, "here").shape == "linear"


@pytest.mark.parametrize(
    ("kind", "name", "value", "told"),
    [
        ("ppo", "learning_rate", {"from": 0.1}, "learning_rate: the key 'to' is missing"),
        ("ppo", "learning_rate", {"from": 0.1, "to": "0"}, "learning_rate.to = '0' must be a"),
        ("ppo", "learning_rate", {"from": -1, "to": 0}, "learning_rate = -1.0 must be a number, 0"),
        ("ppo", "clip_range", {"from": 0.2, "to": 1.5}, "clip_range = 1.5 must be"),
        ("a2c", "ent_coef", {"from": 0.1, "to": 0, "end": 1}, "ent_coef: unknown key 'end'"),
        ("sac", "ent_coef", {"from": 0.1, "to": 0}, "must be a number or 'auto'"),
        (
            "ppo",
            "learning_rate",
            {"from": 0.1, "to": 0, "shape": "geometric"},
            "learning_rate.to = 0 must be above 0 if geometric",
        ),
        ("ppo", "gamma", {"from": 0.9, "to": 0.99}, "gamma = "),
    ],
)
def test_a_schedule_that_is_none_is_refused(scenario, kind, name, value, told):
    with pytest.raises(ConfigError, match=re.escape(told)):
        build_learner(AgentConfig(kind=kind, params={name: value}), SB3VecEnv(scenario, 2), 0)


@pytest.fixture(scope="module")
def scenario(small_env, easy_bars) -> Scenario:
    return Scenario.fit(small_env, given_market(small_env, easy_bars))


class Rates(BaseCallback):
    """Notes what the last update was done with."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[float, float]] = []

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        rate = self.model.policy.optimizer.param_groups[0]["lr"]
        self.seen.append((round(rate, 12), round(self.model.ent_coef, 12)))


def learned(scenario, kind: str, frames: int = 128, **params):
    torch.set_num_threads(1)
    agent = AgentConfig(kind=kind, params={"n_steps": 8, **params})
    model = build_learner(agent, SB3VecEnv(scenario, 4), 1)
    model.set_logger(Logger(None, []))
    rates = Rates()
    return model.learn(frames, callback=rates), rates.seen


@pytest.mark.parametrize("kind", ["ppo", "a2c", "ppo_recurrent"])
def test_rates_follow_the_frames(scenario, kind):
    params = {"learning_rate": {"from": 0.4, "to": 0}, "ent_coef": {"from": 0.8, "to": 0}}
    params |= {"batch_size": 16, "n_epochs": 1} if kind != "a2c" else {}
    _, seen = learned(scenario, kind, **params)
    assert seen == [(0.4, 0.8), (0.3, 0.6), (0.2, 0.4), (0.1, 0.2)]


def test_an_entropy_that_stays_is_sb3_s_own(scenario):
    params = {"batch_size": 16, "n_epochs": 2}
    constant, level, falling = (
        learned(scenario, "ppo", **params, ent_coef=entropy)[0].policy.log_std.item()
        for entropy in (0.3, {"from": 0.3, "to": 0.3}, {"from": 0.3, "to": 0.0})
    )
    assert constant == level != falling


# Early stop.


@pytest.fixture
def scores(monkeypatch):
    """Each pass is given the next of these rewards."""

    def give(*rewards: float) -> None:
        coming = iter([Score(reward, inf if reward > 0 else -1.0, NOTHING) for reward in rewards])
        monkeypatch.setattr(callbacks, "score_of", lambda _: next(coming))

    return give


def patient(config, easy_store, patience: int | None):
    learning = config.agent.learning.model_copy(update={"patience": patience})
    agent = config.agent.model_copy(update={"learning": learning})
    return replace(config, agent=agent, data=None, data_dir=easy_store)


@pytest.mark.parametrize(
    ("patience", "rewards", "passes"),
    [
        (None, (1.0, 0.5, 0.5, 0.5), 4),
        (1, (1.0, 0.5), 2),
        (2, (1.0, 0.5, 2.0, 0.5), 4),
        (2, (1.0, 0.5, 0.6), 3),
        (1, (-1.0,), 1),
    ],
)
def test_patience_counts_passes_without_a_new_incumbent(
    config, easy_store, heard, scores, patience, rewards, passes
):
    scores(*rewards)
    news = heard()
    bundle = run_training(patient(config, easy_store, patience), listener=news)
    assert news.validated == [512 * number for number in range(1, passes + 1)]
    assert bundle.manifest.timesteps == 512 * passes
    stopped = [text for text in news.texts if "without a new incumbent" in text]
    assert len(stopped) == (passes < 4)


@pytest.mark.parametrize("at", [512, 1024, 1536])
def test_a_resumed_run_remembers_how_long_it_waited(config, easy_store, heard, scores, at):
    rewards = (1.0, 0.5, 0.6)
    patience = patient(config, easy_store, 2)
    scores(*rewards)
    expected = run_training(replace(patience, name="whole")).manifest.bundle_hash
    scores(*rewards)
    with pytest.raises(Interrupted):
        run_training(patience, listener=heard(KeyboardInterrupt(), at, "validation"))
    bundle = resume_training("run", out=config.out, runs=config.runs)
    assert bundle.manifest.timesteps == 1536 and bundle.manifest.bundle_hash == expected


@pytest.mark.parametrize("patience", [0, -1, 1.5, "long"])
def test_patience_is_a_whole_number_above_zero(patience):
    with pytest.raises(ValidationError):
        LearningConfig(patience=patience)


# Costs that grow.


def ramped(env: EnvConfig, easy_bars, costs: float = 0.2, until: float = 0.5):
    """A fresh env, and the ramp over it."""
    fees = {"commission_per_lot": 8.0, "commission_per_fill": 4.0, "commission_fraction": 0.001}
    costly = env.model_copy(update={"costs": env.costs.model_copy(update=fees)})
    lanes = SB3VecEnv(Scenario.fit(costly, given_market(costly, easy_bars)), 8)
    lanes.reset()
    return lanes, CostRamp(CurriculumConfig(costs=costs, until=until), lanes)


# 0.2 + 0.8 * done / 0.5, by hand.
FACTORS = [(0.0, 0.2), (0.125, 0.4), (0.25, 0.6), (0.5, 1.0), (0.9, 1.0), (1.1, 1.0)]


def test_costs_rise_in_all_lanes_at_once(small_env, easy_bars):
    lanes, ramp = ramped(small_env, easy_bars)
    rules, contract = lanes.simulator.tape.rules[0], lanes.simulator.tape.contracts[0]
    per_step = float(contract["commission"])
    assert per_step == pytest.approx(0.08)
    for done, factor in FACTORS:
        ramp.move(done)
        assert lanes.simulator.book.account["cost_factor"] == pytest.approx(factor)
        assert rules["cheapest"] == rules["dearest"] == pytest.approx(factor)
        assert rules["commission_per_fill"] == pytest.approx(4.0 * factor)
        assert rules["commission_fraction"] == pytest.approx(0.001 * factor)
        assert contract["commission"] == pytest.approx(per_step * factor)
    other = lanes.scenario.simulator("validation", 1, training=False).tape
    assert other.rules[0]["commission_per_fill"] == 4.0 and other.rules[0]["dearest"] == 0.0


def test_what_the_env_draws_stays_drawn(small_env, easy_bars):
    randomised = small_env.costs.model_copy(update={"randomise": (0.5, 2.0)})
    lanes, ramp = ramped(small_env.model_copy(update={"costs": randomised}), easy_bars, costs=0.0)
    drawn = lanes.simulator.book.account["cost_factor"].copy()
    assert np.ptp(drawn) > 0.1
    ramp.move(0.0)
    assert lanes.simulator.book.account["cost_factor"] == pytest.approx(drawn * LEAST_FACTOR)
    lanes.reset()
    fresh = lanes.simulator.book.account["cost_factor"].copy()
    assert ((0.5 * LEAST_FACTOR <= fresh) & (fresh <= 2.0 * LEAST_FACTOR)).all()
    for done in np.linspace(0.0, 1.0, 1001):
        ramp.move(done)
    assert lanes.simulator.book.account["cost_factor"] == pytest.approx(
        fresh / LEAST_FACTOR, rel=1e-9
    )


def test_free_trades_cost_nothing_and_full_ones_what_they_did(small_env, easy_bars):
    def paid(done: float | None) -> float:
        lanes, ramp = ramped(small_env, easy_bars, costs=0.0)
        lanes.seed(4)
        lanes.simulator.reset()  # episodes that do not end within two bars
        if done is not None:
            ramp.move(done)
        for action in (1.0, -1.0):
            lanes.simulator.step(np.full((8, 1), action, np.float32))
        account = lanes.simulator.book.account
        names = ("spread_cost", "slippage_cost", "commission")
        return float(sum(account[name].sum() for name in names))

    assert paid(0.0) == 0.0
    assert paid(1.0) == pytest.approx(paid(None)) and paid(1.0) > 0.0


@pytest.mark.parametrize("frames", [512, 1536])
def test_a_resumed_run_pays_what_the_other_paid(config, easy_store, heard, frames):
    learning = config.agent.learning.model_copy(
        update={"curriculum": CurriculumConfig(costs=0.1, until=0.9)}
    )
    agent = config.agent.model_copy(update={"learning": learning})
    costly = replace(config, agent=agent, data=None, data_dir=easy_store)
    whole = run_training(replace(costly, name="whole"))
    with pytest.raises(Interrupted):
        run_training(costly, listener=heard(KeyboardInterrupt(), frames, "validation"))
    bundle = resume_training("run", out=config.out, runs=config.runs)
    assert bundle.manifest.bundle_hash == whole.manifest.bundle_hash


@pytest.mark.parametrize("wrong", [{"costs": 1.5}, {"costs": -0.1}, {"until": 0}, {"until": 2}])
def test_a_ramp_that_is_none_is_refused(wrong):
    with pytest.raises(ValidationError):
        CurriculumConfig.model_validate(wrong)
