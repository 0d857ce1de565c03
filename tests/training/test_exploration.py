"""A deviation of actions that follows the frames: its values, under resume, and its refusals."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import pytest
from pydantic import ValidationError

from mtquant.config.data import given_market
from mtquant.config.schema import AgentConfig, LearningConfig
from mtquant.envs.scenario import Scenario
from mtquant.envs.vec_env import SB3VecEnv
from mtquant.errors import ConfigError
from mtquant.training.learner import build_learner
from mtquant.training.schedules import Exploration
from mtquant.training.trainer import Interrupted, resume_training, run_training

BRIEF: dict[str, dict] = {
    "ppo": {"batch_size": 128, "n_epochs": 2},
    "a2c": {},
    "ppo_recurrent": {
        "batch_size": 512,
        "n_epochs": 1,
        "policy_kwargs": {"lstm_hidden_size": 4, "net_arch": []},
    },
}
FALLING = {"from": 0.4, "to": 0.1, "shape": "geometric"}


@pytest.fixture
def deviations(monkeypatch):
    """For each rollout the frames done, and the deviation before and after it was set."""
    seen: list[tuple[float, float, float]] = []
    move = Exploration.move

    def noted(self, done: float) -> None:
        before = self.log_std.exp()
        move(self, done)
        assert (self.log_std == self.log_std[0]).all()
        seen.append((done, before[0].item(), self.log_std.exp()[0].item()))

    monkeypatch.setattr(Exploration, "move", noted)
    return seen


def explored(config, easy_store, kind: str):
    params = {"n_steps": 32, "learning_rate": 0.01, "ent_coef": 0.1, **BRIEF[kind]}
    learning = {**config.agent.learning.model_dump(), "exploration": FALLING}
    agent = AgentConfig.model_validate({"kind": kind, "params": params, "learning": learning})
    return replace(config, agent=agent, data=None, data_dir=easy_store)


@pytest.mark.parametrize(
    ("kind", "where", "frames"),
    [
        ("ppo", "progress", 700),
        ("ppo", "validation", 1024),
        ("a2c", "progress", 1400),
        ("ppo_recurrent", "validation", 1024),
    ],
)
def test_a_given_deviation_follows_the_frames_and_is_not_learned(
    config, easy_store, heard, deviations, kind, where, frames
):
    given = explored(config, easy_store, kind)
    whole = run_training(replace(given, name="whole"))
    shares = [done for done, _, _ in deviations]
    assert shares[0] == 0.0 and 0.5 in shares and shares == sorted(shares)
    for done, _, after in deviations:
        assert after == pytest.approx(0.4 * 0.25**done, rel=1e-6)
    assert [one[1] for one in deviations[1:]] == [one[2] for one in deviations[:-1]]
    straight = list(deviations)
    deviations.clear()
    with pytest.raises(Interrupted):
        run_training(given, listener=heard(KeyboardInterrupt(), frames, where))
    deviations.clear()
    bundle = resume_training("run", out=config.out, runs=config.runs)
    again = [(done, after) for done, _, after in deviations]
    assert again == [(done, after) for done, _, after in straight][-len(again) :]
    assert bundle.manifest.bundle_hash == whole.manifest.bundle_hash


@pytest.mark.parametrize(("kind", "params"), [("sac", {}), ("td3", {}), ("ppo", {"use_sde": True})])
def test_a_deviation_that_cannot_be_given_is_refused(small_env, easy_bars, kind, params):
    scenario = Scenario.fit(small_env, given_market(small_env, easy_bars))
    learning = LearningConfig.model_validate({"exploration": FALLING})
    agent = AgentConfig(kind=kind, params=params, learning=learning)
    with pytest.raises(ConfigError, match=r"learning\.exploration sets the deviation"):
        build_learner(agent, SB3VecEnv(scenario, 2), 0)


@pytest.mark.parametrize(
    "wrong", [{"from": 0}, {"to": -1}, {"from": inf}, {"to": None}, {"shape": "square"}, {"end": 1}]
)
def test_a_deviation_that_is_none_is_refused(wrong):
    with pytest.raises(ValidationError):
        LearningConfig.model_validate({"exploration": {**FALLING, **wrong}})
