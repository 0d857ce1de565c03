"""The mean of several policies as one model: what each would do, averaged, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from mtquant.agents.policy import OnnxPolicy
from mtquant.config.data import given_market
from mtquant.envs.scenario import Scenario
from mtquant.envs.vec_env import SB3VecEnv
from mtquant.errors import ConfigError
from mtquant.training.ensemble import mean_policy
from mtquant.training.export import export_policy, flat_policy
from mtquant.training.learn import Learned
from mtquant.training.learner import build_learner
from mtquant.training.seeds import deploy_mean
from mtquant.training.selection import NOTHING, Score, Selection


@pytest.fixture(scope="module")
def scenario(small_env, easy_bars):
    """The easy market."""
    return Scenario.fit(small_env, given_market(small_env, easy_bars))


@pytest.fixture(scope="module")
def actors(scenario, small_agent):
    """Three actors that differ, as far from 0 as trained ones."""
    env, contents = SB3VecEnv(scenario, 4), []
    for seed in range(3):
        model = build_learner(small_agent, env, seed)
        model.policy.action_net.weight.data *= 100.0
        contents.append(export_policy(model))
    return contents


def opened(content: bytes) -> OnnxPolicy:
    return OnnxPolicy(content, name="x", inputs=())


def answers(content: bytes, rows) -> np.ndarray:
    agent = opened(content)
    return np.array([agent.predict(row)[0] for row in rows])


@pytest.mark.parametrize("flat", [0, 1, 2])
def test_the_mean_of_separate_sessions(actors, flat):
    members = [None] * flat + actors[flat:]
    merged = mean_policy(members)
    rows = np.random.default_rng(0).uniform(-3, 3, (500, opened(merged).width)).astype(np.float32)
    each = [np.zeros((500, 1)) if one is None else answers(one, rows) for one in members]
    np.testing.assert_allclose(answers(merged, rows), np.mean(each, axis=0), rtol=0, atol=1e-6)
    assert np.abs(answers(merged, rows)).max() > 0.2, "it says something"


def test_equal_members_give_one_file(actors):
    assert mean_policy(actors) == mean_policy(list(actors))
    assert mean_policy(actors) != mean_policy(actors[:2])


def test_where_all_are_flat_there_is_nothing_to_merge():
    assert mean_policy([None, None]) is None


def with_memory() -> bytes:
    model = onnx.load_from_string(flat_policy(11, 1))
    state = helper.make_tensor_value_info("state_in", TensorProto.FLOAT, [2, 1, 4])
    model.graph.input.append(state)
    return model.SerializeToString()


def test_a_policy_with_a_memory_is_refused(actors):
    with pytest.raises(ConfigError, match="policies with a memory cannot be merged"):
        mean_policy([actors[0], with_memory()])


# Tried on validation again.


def member(policy: bytes | None, *shocks) -> Learned:
    return Learned(policy, Selection(Score(0.1, 1.0, NOTHING), 64, list(shocks)), 128, 1.0)


def test_a_mean_that_clears_the_hurdle_is_deployed(scenario, small_run):
    good = (small_run.bundle.path / "policy.onnx").read_bytes()
    outcome = deploy_mean({4: member(good), 5: member(None)}, scenario, "ppo")
    assert outcome.policy == mean_policy([good, None]) and outcome.chosen is None
    assert outcome.seed == 4 and outcome.frames == 256
    assert outcome.sentence.startswith("The mean of the actions of seeds 4 to 5, 1 of them flat")
    assert outcome.sentence.endswith("it is deployed.")


def test_a_mean_that_does_not_stays_flat_and_says_so(scenario, small_run):
    """The members' own passes set the hurdle: here they varied wildly."""
    good = (small_run.bundle.path / "policy.onnx").read_bytes()
    bars = scenario.rows("validation")[1] - scenario.rows("validation")[0]
    wild = (1000.0 * np.random.default_rng(0).standard_normal((2, bars))).astype(np.float32)
    members = {4: member(good, wild[0]), 5: member(good, wild[1])}
    outcome = deploy_mean(members, scenario, "ppo")
    assert outcome.policy is None
    assert "set by the 3 policies tried: this bundle stays flat." in outcome.sentence


def test_a_mean_of_losers_stays_flat(scenario, small_run):
    model = onnx.load_from_string((small_run.bundle.path / "policy.onnx").read_bytes())
    model.graph.node.append(helper.make_node("Neg", ["action"], ["against"]))
    model.graph.output[0].name = "against"
    for node in model.graph.node:
        node.input[:] = [{"action": "before"}.get(name, name) for name in node.input]
        node.output[:] = [
            {"action": "before", "against": "action"}.get(name, name) for name in node.output
        ]
    model.graph.output[0].name = "action"
    outcome = deploy_mean({0: member(model.SerializeToString())}, scenario, "ppo")
    assert outcome.policy is None and "mean reward -" in outcome.sentence


def test_flat_seeds_make_a_flat_mean(scenario):
    outcome = deploy_mean({0: member(None), 1: member(None)}, scenario, "ppo")
    assert outcome.policy is None and outcome.sentence.startswith("Each of seeds 0 to 1 is flat")


def test_the_bundle_holds_the_mean(small_run, tmp_path, monkeypatch):
    from mtquant.training import trainer

    monkeypatch.setattr(trainer, "Crew", OneAfterTheOther)
    config = replace(
        small_run.config, name="mean", seeds=2, ensemble="mean", out=tmp_path, runs=tmp_path / "r"
    )
    bundle = trainer.run_training(config)
    kept = [tmp_path / "r" / "mean" / f"seed-{k}" / "trainer" / "policy.onnx" for k in range(2)]
    rows = np.random.default_rng(0).uniform(-3, 3, (50, bundle.policy.width)).astype(np.float32)
    wanted = np.mean([answers(path.read_bytes(), rows) for path in kept], axis=0)
    np.testing.assert_allclose(
        answers((bundle.path / "policy.onnx").read_bytes(), rows), wanted, rtol=0, atol=1e-6
    )
    manifest = bundle.manifest
    assert manifest.agent.learning.ensemble == "mean" and manifest.timesteps == 4096
    assert "seeds 0 to 1, 0 of them flat" in manifest.selection
    assert "mean of all seeds" in (bundle.path / "report.html").read_text(encoding="utf-8")


class OneAfterTheOther:
    """A crew without processes."""

    def __init__(self, size):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def train(self, orders, listener):
        from mtquant.training.run import learn_run
        from mtquant.training.seeds import mark_finished

        for order in orders:
            mark_finished(order.plan, learn_run(order.plan, order.scenario, listener))
