"""Every algorithm, killed in its own process at any moment, ends as if nothing had happened."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mtquant.agents.bundle import Bundle, load_bundle
from mtquant.config.schema import AgentConfig
from mtquant.errors import DataError
from mtquant.training.trainer import Interrupted, TrainingConfig, resume_training, run_training

OFF_POLICY = {
    "learning_starts": 300,  # so that the first snapshots lie before it
    "batch_size": 32,
    "buffer_size": 640,  # 40 rows; it is full and written over before the end
    "gradient_steps": 2,
    "gamma": 0.5,
    "policy_kwargs": {"net_arch": [8]},
}
SMALL = {"learning_rate": {"from": 0.01, "to": 0.001, "shape": "cosine"}, "gamma": 0.5}
AGENTS: dict[str, dict[str, Any]] = {
    "ppo": {**SMALL, "n_steps": 16, "batch_size": 64, "n_epochs": 3, "clip_range": 0.3}
    | {"ent_coef": {"from": 0.01, "to": 0.0}, "policy_kwargs": {"net_arch": [8]}},
    "a2c": {**SMALL, "n_steps": 8, "policy_kwargs": {"net_arch": [8]}},
    "sac": {**OFF_POLICY, "learning_rate": {"from": 0.01, "to": 0.001}},
    "ppo_recurrent": {**SMALL, "n_steps": 16, "batch_size": 64, "n_epochs": 2}
    | {"policy_kwargs": {"lstm_hidden_size": 4, "net_arch": [8]}},
    "td3": {**OFF_POLICY, "action_noise": {"kind": "ornstein_uhlenbeck", "sigma": 0.5}},
}
KILLED = ("a2c", "ppo", "sac", "td3")
FRAMES = 1024

CHILD = """
import json, sys
from pathlib import Path
from mtquant.config.schema import AgentConfig, EnvConfig
from mtquant.training.progress import Silent
from mtquant.training.trainer import TrainingConfig, resume_training, run_training

class Tell(Silent):
    def on_progress(self, frames, total, reward):
        print(frames, flush=True)

told = json.loads(sys.argv[1])
places = {key: Path(told[key]) for key in ("out", "runs")}
sys.stdin.readline()
if told["resume"]:
    resume_training("run", **places, listener=Tell())
else:
    run_training(TrainingConfig(
        env=EnvConfig.model_validate(told["env"]),
        agent=AgentConfig.model_validate(told["agent"]),
        name="run", data_dir=Path(told["data_dir"]), **places,
    ), listener=Tell())
"""


@dataclass
class Child:
    """A process that waits, trains and is killed."""

    process: subprocess.Popen[str]

    @classmethod
    def of(cls, config: TrainingConfig, *, resume: bool = False) -> Child:
        told = {"out": str(config.out), "runs": str(config.runs), "resume": resume}
        told["data_dir"] = str(config.data_dir)
        for key in ("env", "agent"):
            told[key] = getattr(config, key).model_dump(mode="json")
        path = os.pathsep.join(filter(None, sys.path))
        return cls(
            subprocess.Popen(
                [sys.executable, "-c", CHILD, json.dumps(told)],
                env={**os.environ, "PYTHONPATH": path},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )

    def kill(self, frames: int, seconds: float) -> None:
        """Let it train to ``frames`` and a little longer, then SIGKILL."""
        process = self.process
        assert process.stdin is not None and process.stdout is not None
        with process:
            process.stdin.write("go\n")
            process.stdin.flush()
            while int(process.stdout.readline() or FRAMES) < frames:
                pass
            time.sleep(seconds)
            process.kill()


@pytest.fixture
def of_kind(tmp_path_factory, small_env, easy_store):
    """A training of one kind, in an empty folder."""

    def make(kind: str) -> TrainingConfig:
        folder = tmp_path_factory.mktemp(kind)
        learning = {"timesteps": FRAMES, "n_envs": 16, "validate_every": 256}
        agent = {"kind": kind, "params": AGENTS[kind], "learning": learning}
        return TrainingConfig(
            env=small_env,
            agent=AgentConfig.model_validate(agent),
            name="run",
            out=folder / "models",
            runs=folder / "runs",
            data_dir=easy_store,
        )

    return make


@pytest.fixture(scope="module")
def uninterrupted() -> dict[str, tuple[str, str]]:
    """What a run of each kind ends with, as far as they were made."""
    return {}


def result(config: TrainingConfig, bundle: Bundle) -> tuple[str, str]:
    """The bundle's hash, and that of all weights and optimisers as they were left."""
    folder = config.runs / "run" / "trainer"
    files = ("parameters.pt", "tensors.pt")
    learned = [torch.load(folder / file, weights_only=True) for file in files]
    summed = hashlib.sha256()
    for value in leaves(learned):
        summed.update(np.asarray(value).tobytes() if not isinstance(value, str) else value.encode())
    return bundle.manifest.bundle_hash, summed.hexdigest()


def leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for key in sorted(value, key=str):
            yield str(key)
            yield from leaves(value[key])
    elif isinstance(value, list | tuple):
        for one in value:
            yield from leaves(one)
    elif value is not None:
        yield value


def expected(of_kind, uninterrupted, kind: str) -> tuple[str, str]:
    if kind not in uninterrupted:
        config = of_kind(kind)
        uninterrupted[kind] = result(config, run_training(config))
    return uninterrupted[kind]


def resume(config: TrainingConfig) -> Bundle:
    return resume_training("run", out=config.out, runs=config.runs)


@pytest.mark.parametrize(
    ("kind", "frames"),
    [("ppo", 512), ("ppo_recurrent", 512), ("a2c", 768), ("sac", 192), ("sac", 768), ("td3", 768)],
)
def test_every_algorithm_goes_on_where_it_was_stopped(
    of_kind, uninterrupted, heard, kind, frames, monkeypatch
):
    monkeypatch.setattr("mtquant.training.callbacks.SNAPSHOT_FRAMES", 128)
    config = of_kind(kind)
    with pytest.raises(Interrupted):
        run_training(config, listener=heard(KeyboardInterrupt(), frames))
    torch.manual_seed(1)
    np.random.seed(1)
    assert result(config, resume(config)) == expected(of_kind, uninterrupted, kind)


@pytest.fixture
def waiting(of_kind) -> Iterator[dict[str, tuple[TrainingConfig, Child]]]:
    """A process of two kinds; they come up side by side. The slow test kills all of them."""
    configs = {kind: of_kind(kind) for kind in ("ppo", "sac")}
    children = {kind: (config, Child.of(config)) for kind, config in configs.items()}
    yield children
    for _, child in children.values():
        child.process.kill()


def finish(config: TrainingConfig) -> tuple[str, str]:
    """The end of a run that was killed, which leaves nothing half-written behind."""
    if (config.out / "run").exists():
        return result(config, load_bundle(config.out / "run"))
    reached = result(config, resume(config))
    assert [path.name for path in (config.runs / "run").glob(".*")] == []
    return reached


def test_a_killed_process_can_be_resumed(waiting, of_kind, uninterrupted):
    random = np.random.default_rng(3)
    for kind, (config, child) in waiting.items():
        child.kill(int(random.integers(1, FRAMES)), 0.05 * random.random())
        assert finish(config) == expected(of_kind, uninterrupted, kind), kind


@pytest.mark.slow
@pytest.mark.parametrize("kind", KILLED)
def test_a_process_that_is_killed_five_times_ends_the_same(of_kind, uninterrupted, kind):
    random = np.random.default_rng(7)
    config = of_kind(kind)
    for number, frames in enumerate(sorted(random.integers(1, FRAMES, 5))):
        Child.of(config, resume=number > 0).kill(int(frames), 0.1 * random.random())
    assert finish(config) == expected(of_kind, uninterrupted, kind)


@pytest.mark.parametrize("damage", ["missing", "cut", "a bit"])
def test_a_damaged_replay_buffer_is_refused_in_one_sentence(of_kind, heard, damage):
    config = of_kind("sac")
    with pytest.raises(Interrupted):
        run_training(config, listener=heard(KeyboardInterrupt(), 512, "validation"))
    path = next((config.runs / "run" / "trainer").glob("replay-*.npz"))
    content = path.read_bytes()
    bit = bytearray(content)
    bit[len(bit) // 2] ^= 1
    path.unlink()
    if damage != "missing":
        path.write_bytes(bit if damage == "a bit" else content[:-9])
    with pytest.raises(DataError, match=r"run 'run'.*train again"):
        resume(config)


def test_rows_are_written_once_and_linked_to(of_kind, heard):
    config = replace(of_kind("td3"), timesteps=512)
    with pytest.raises(Interrupted):
        run_training(config, listener=heard(KeyboardInterrupt(), 256, "validation"))
    folder: Path = config.runs / "run" / "trainer"
    before = {path.name: path.stat().st_ino for path in folder.glob("replay-*")}
    assert before
    resume(config)
    after = {path.name: path.stat().st_ino for path in folder.glob("replay-*")}
    assert len(after) > len(before) and {name: after[name] for name in before} == before
