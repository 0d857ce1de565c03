"""Several seeds: each as if trained alone, the median deployed, and nothing lost when stopped."""

from __future__ import annotations

import json
import multiprocessing
from dataclasses import replace
from multiprocessing import get_context
from types import SimpleNamespace

import numpy as np
import pytest

from mtquant.config.schema import LearningConfig
from mtquant.errors import ConfigError, DataError, MTQuantError
from mtquant.training import crew
from mtquant.training.crew import Order, _outcome, _Reporter
from mtquant.training.learn import Learned
from mtquant.training.plan import plan_training
from mtquant.training.progress import Silent
from mtquant.training.seeds import deploy_median, median_seed
from mtquant.training.selection import NOTHING, Score, Selection
from mtquant.training.trainer import Interrupted, resume_training, run_training


class Crowd(Silent):
    """Keeps what each seed says; may raise at a seed's frame."""

    def __init__(self, fails=None, seed=0, at=1024):
        self.news: list[tuple] = []
        self.own: list[str] = []
        self.fails, self.where = fails, (seed, at)

    def on_text(self, text):
        self.own.append(text)

    def of_seed(self, seed):
        def heard(kind):
            def hear(*values):
                self.news.append((seed, kind, *values))
                if self.fails and kind == "validation" and (seed, values[0]) == self.where:
                    self.fails()

            return hear

        kinds = ("text", "progress", "validation")
        return SimpleNamespace(**{f"on_{kind}": heard(kind) for kind in kinds})

    def validated(self, seed):
        return [news[2] for news in self.news if news[:2] == (seed, "validation")]


def stop():
    raise KeyboardInterrupt


@pytest.fixture(scope="module")
def several(tmp_path_factory, small_run, easy_store):
    """Three seeds of the small run by two workers at most; not to be written to."""
    folder = tmp_path_factory.mktemp("several")
    config = replace(
        small_run.config, name="many", seeds=3, out=folder / "models", runs=folder / "runs"
    )
    listener, cores = Crowd(), pytest.MonkeyPatch()
    cores.setattr("os.cpu_count", lambda: 2)
    bundle = run_training(config, listener=listener)
    cores.undo()
    report = json.loads((bundle.path / "report.json").read_text(encoding="utf-8"))
    return SimpleNamespace(config=config, bundle=bundle, listener=listener, report=report)


# Which one is deployed.


@pytest.mark.parametrize(
    ("rewards", "chosen"),
    [
        ({0: 0.1}, 0),
        ({0: 0.3, 1: 0.1, 2: 0.2}, 2),
        ({0: 0.3, 1: 0.1, 2: 0.2, 3: 0.4}, 2),  # of two in the middle the lower
        ({5: 0.0, 6: 0.0, 7: 0.2}, 6),
        ({5: 0.0, 6: 0.0, 7: 0.0}, 6),
        ({8: -0.5, 9: 0.5}, 8),
    ],
)
def test_the_median_seed(rewards, chosen):
    assert median_seed(rewards) == chosen


def learned(reward: float, policy: bytes | None = b"onnx") -> Learned:
    return Learned(policy, Selection(Score(reward, 1.0, NOTHING), 64, []), 128, 1.0)


def test_a_flat_seed_counts_as_nothing_earned():
    """Its incumbent, which chance explains, must not lift it above those that learned."""
    members = {0: learned(0.9, None), 1: learned(0.1), 2: learned(0.2)}
    outcome = deploy_median(members)
    assert outcome.chosen == outcome.seed == 1 and outcome.policy == b"onnx"
    assert outcome.sentence.startswith("Seed 1 is the median of seeds 0 to 2 by validation reward.")


def test_where_the_median_is_flat_the_bundle_is():
    outcome = deploy_median({0: learned(0.9, None), 1: learned(0.1, None), 2: learned(0.2)})
    assert outcome.policy is None and outcome.seed == 1


# A whole run.


def test_each_seed_is_trained_as_if_it_were_alone(several, small_run, tmp_path):
    """The third one too, in a process that has trained another before."""
    runs = several.config.runs / "many"
    alone = run_training(
        replace(small_run.config, seed=2, name="alone", out=tmp_path, runs=tmp_path / "runs")
    )
    for seed, bundle in ((0, small_run.bundle), (2, alone)):
        kept = (runs / f"seed-{seed}" / "trainer" / "policy.onnx").read_bytes()
        assert kept == (bundle.path / "policy.onnx").read_bytes()
    assert [several.listener.validated(seed) for seed in range(3)] == [[512, 1024, 1536, 2048]] * 3
    assert len(list(runs.glob("seed-*/events.out.tfevents*"))) == 3


def test_the_bundle_is_the_median_by_validation(several):
    rows = several.report["seeds"]["runs"]
    rewards = sorted(row["validation_reward"] for row in rows)
    [chosen] = [row for row in rows if row["chosen"]]
    assert chosen["validation_reward"] == rewards[1] and len(set(rewards)) == 3
    manifest = several.bundle.manifest
    assert manifest.seed == chosen["seed"] and manifest.learned
    assert manifest.selection.startswith(f"Seed {chosen['seed']} is the median of seeds 0 to 2")
    assert manifest.selection == several.report["selection"]
    run = several.config.runs / "many" / f"seed-{chosen['seed']}"
    deployed = (several.bundle.path / "policy.onnx").read_bytes()
    assert deployed == (run / "trainer" / "policy.onnx").read_bytes()
    tested = several.report["results"]["agent"]
    assert all(chosen[key] == tested[key] for key in ("net_return", "sharpe", "turnover_per_year"))


def test_the_report_shows_every_seed_and_the_mean(several):
    page = (several.bundle.path / "report.html").read_text(encoding="utf-8")
    returns = [row["net_return"] for row in several.report["seeds"]["runs"]]
    mean = several.report["seeds"]["means"]["net_return"]
    assert mean["mean"] == pytest.approx(np.mean(returns)) and mean["seeds"] == 3
    error = np.std(returns, ddof=1) / np.sqrt(3)
    assert mean["interval"][1] - mean["mean"] == pytest.approx(4.302653 * error, rel=1e-6)
    for number in (*returns, mean["mean"]):
        assert f"{number:+.2%}" in page
    assert "never the best by test" in page and page.count("(deployed)") == 1


def test_no_process_is_left(several):
    assert not multiprocessing.active_children()


# Stopped, killed, resumed.


def test_a_stopped_run_goes_on_and_ends_the_same(several, tmp_path, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    config = replace(several.config, out=tmp_path / "models", runs=tmp_path / "runs")
    stopped = Crowd(stop, seed=1, at=1024)
    with pytest.raises(Interrupted) as interrupted:
        run_training(config, listener=stopped)
    assert interrupted.value.name == "many" and not config.out.exists()
    assert stopped.validated(0)[-1] == 2048 and stopped.validated(1) == [512, 1024]
    assert not [path for path in config.runs.rglob("*") if path.name.startswith(".")]
    assert not multiprocessing.active_children()
    again = Crowd()
    bundle = resume_training("many", out=config.out, runs=config.runs, listener=again)
    assert bundle.manifest.bundle_hash == several.bundle.manifest.bundle_hash
    assert again.validated(0) == [], "it was finished"
    assert again.validated(1)[-1] == 2048 and len(again.validated(1)) < 4
    assert again.validated(2) == [512, 1024, 1536, 2048]


@pytest.mark.slow
def test_a_killed_process_is_one_sentence(several, tmp_path):
    def kill():
        for child in multiprocessing.active_children():
            child.kill()

    config = replace(several.config, seeds=1, out=tmp_path, runs=tmp_path / "runs")
    listener = Crowd(kill, seed=0, at=512)
    with pytest.raises(MTQuantError, match=r"^seed 0: its process ended with exit code -9") as gone:
        with crew.Crew(1) as workers:
            workers.train([order(config)], listener)
    assert "\n" not in str(gone.value) and not multiprocessing.active_children()


def order(config, **changes) -> Order:
    from mtquant.envs.scenario import Scenario

    plan = plan_training(config)
    return replace(Order(plan.of_seed(0), Scenario.fit(plan.record.env, plan.market), False, None))


def test_a_fresh_run_forgets_what_lay_there(config):
    folder = config.runs / "run" / "seed-1"
    (folder / "trainer").mkdir(parents=True)
    (folder / "finished.json").write_text("{}")
    from mtquant.training.seeds import begin, unfinished

    plan = plan_training(replace(config, seeds=2))
    begin(plan)
    assert unfinished(plan) == [0, 1] and not (folder / "trainer").exists()
    assert (plan.folder / "seeds.json").is_file()
    begin(replace(plan, seeds=1))
    assert not (plan.folder / "seeds.json").exists()


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"schema_version": 2}', "null"])
def test_a_damaged_list_of_seeds_is_refused(config, content):
    (config.runs / "run").mkdir(parents=True)
    (config.runs / "run" / "seeds.json").write_text(content)
    with pytest.raises(DataError, match=r"seeds.json' cannot be read"):
        resume_training("run", out=config.out, runs=config.runs)


# What a worker says, without a process.


@pytest.fixture
def line():
    """Both ends of a pipe, and the event that stops a crew."""
    here, there = multiprocessing.Pipe()
    yield here, there, get_context("spawn").Event()
    here.close()
    there.close()


def test_a_failure_in_a_worker_is_its_sentence(config, line, monkeypatch):
    _, there, event = line
    wrong = config.agent.model_copy(update={"params": {**config.agent.params, "gamma": 7}})
    said = _outcome(order(replace(config, agent=wrong)), _Reporter(there, event))
    assert said == (
        "failed",
        ("ConfigError", "agent ppo: gamma = 7 must be a number, 0 or above and at most 1"),
    )
    monkeypatch.setattr(crew, "learn_run", lambda *_: 1 / 0)
    said = _outcome(order(config), _Reporter(there, event))
    assert said == ("failed", ("", "ZeroDivisionError: division by zero"))


def test_a_worker_stops_when_the_crew_does_and_keeps_its_state(config, line):
    _, there, event = line
    event.set()
    wanted = order(config)
    assert _outcome(wanted, _Reporter(there, event)) == ("stopped", ())
    assert (wanted.plan.state / "state.json").is_file()
    assert not (wanted.plan.folder / "finished.json").exists()


def test_a_worker_whose_parent_is_gone_stops(config, line):
    here, there, event = line
    here.close()
    assert _outcome(order(config), _Reporter(there, event)) == ("stopped", ())


def test_a_sentence_of_a_worker_names_the_seed():
    pipe = SimpleNamespace(recv=lambda: ("failed", ("ConfigError", "agent ppo: too much")))
    with pytest.raises(ConfigError, match=r"^seed 4: agent ppo: too much$"):
        crew.Crew(0)._hear(pipe, 4, Silent())


@pytest.mark.parametrize("error", [EOFError(), ConnectionResetError()])
def test_a_worker_that_is_gone_is_one_sentence(error):
    """The second is what one leaves that ended before it read its order."""

    class Gone:
        exitcode = 1

        def recv(self):
            raise error

        def join(self, seconds):
            pass

    workers, gone = crew.Crew(0), Gone()
    workers._processes[gone] = gone
    with pytest.raises(MTQuantError, match=r"^seed 4: its process ended with exit code 1:"):
        workers._hear(gone, 4, Silent())


# Refused before anything is trained.


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"seeds": 0}, "seeds = 0"),
        ({"seeds": 2, "ensemble": "meen"}, "unknown ensemble 'meen'; did you mean 'mean'"),
        ({"ensemble": "mean"}, "nothing to merge"),
        ({"seeds": 2, "profile": True}, "of one training, not of 2"),
    ],
)
def test_a_wrong_choice_is_refused(config, change, told):
    with pytest.raises(ConfigError, match=told):
        run_training(replace(config, **change))
    assert not config.runs.exists() and not config.out.exists()


def test_policies_with_a_memory_are_not_merged(config, small_agent):
    learning = LearningConfig(ensemble="mean")
    agent = small_agent.model_copy(update={"kind": "ppo_recurrent", "learning": learning})
    with pytest.raises(ConfigError, match="has a memory"):
        run_training(replace(config, agent=agent, seeds=2))
