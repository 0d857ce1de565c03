"""What a stopped training needs to go on: arrays, tensors and JSON under ``runs/NAME/trainer``.

It is no part of a bundle. Tensors are read with ``weights_only=True`` and arrays without pickle;
the algorithm itself is built again from its configuration. The folder is written beside its place
and renamed, so a kill leaves the last whole checkpoint.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm

from mtquant.envs.vec_env import SB3VecEnv
from mtquant.errors import ConfigError, DataError
from mtquant.training.selection import Score, Selection

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class RunRecord:
    """What was asked for, so that ``--resume NAME`` needs no other option.

    Attributes:
        name: Of the run and of the bundle.
        env: Resolved environment, JSON values.
        agent: Resolved agent, JSON values.
        agent_name: Name of the agent's configuration.
        seed: Of the training.
        data_dir: Folder of the store.
        fingerprints: Of the bars.
    """

    name: str
    env: dict[str, Any]
    agent: dict[str, Any]
    agent_name: str
    seed: int
    data_dir: str
    fingerprints: tuple[str, ...]


@dataclass(frozen=True)
class Checkpoint:
    """A run read back.

    Attributes:
        record: What was asked for.
        frames: Trained.
        selection: The incumbent so far.
        policy: Its ONNX model; None while flat leads.
        folder: Where the tensors lie.
    """

    record: RunRecord
    frames: int
    selection: Selection
    policy: bytes | None
    folder: Path


def save_checkpoint(
    folder: Path,
    record: RunRecord,
    model: BaseAlgorithm,
    selection: Selection,
    policy: bytes | None,
) -> None:
    """Write the state of a run; the old state is replaced only by a whole new one."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=".trainer-", dir=folder.parent))
    env = model.env
    assert isinstance(env, SB3VecEnv)
    try:
        torch.save(model.get_parameters(), fresh / "parameters.pt")
        _, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
        arrays: dict[str, Any] = {
            "torch_rng": torch.get_rng_state().numpy(),
            "numpy_keys": keys,
            "numpy_rest": np.array([position, has_gauss]),
            "numpy_gauss": np.array([gauss]),
            "episode_starts": model._last_episode_starts,
            **env.simulator.state(),
        }
        np.savez(fresh / "arrays.npz", **arrays)
        state = {
            "schema_version": SCHEMA_VERSION,
            "record": asdict(record),
            "frames": model.num_timesteps,
            "updates": getattr(model, "_n_updates", 0),
            "selection": asdict(selection),
        }
        (fresh / "state.json").write_text(json.dumps(state, indent=2))
        if policy is not None:
            (fresh / "policy.onnx").write_bytes(policy)
        old = folder.with_name(f"{fresh.name}-old")
        if folder.exists():
            os.replace(folder, old)
        os.replace(fresh, folder)
        shutil.rmtree(old, ignore_errors=True)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def read_checkpoint(runs: Path, name: str) -> Checkpoint:
    """The state of a stopped run.

    Raises:
        ConfigError: There is none of that name.
        DataError: It cannot be read.
    """
    folder = runs / name / "trainer"
    path = folder / "state.json"
    if not path.is_file():
        known = sorted(p.parent.parent.name for p in runs.glob("*/trainer/state.json"))
        raise ConfigError(
            f"no run '{name}' to resume in '{runs}' "
            f"(there {'are ' + ', '.join(known) if known else 'is none'})"
        )
    try:
        state = json.loads(path.read_text())
        if state["schema_version"] != SCHEMA_VERSION:
            raise DataError(f"'{path}' is of schema {state['schema_version']}; train again")
        kept = state["selection"]
        selection = Selection(Score(**kept["best"]), kept["best_frames"], kept["tried"])
        fingerprints = tuple(state["record"].pop("fingerprints"))
        record = RunRecord(**state["record"], fingerprints=fingerprints)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"'{path}' cannot be read ({error!r}); train again") from None
    policy = folder / "policy.onnx"
    content = policy.read_bytes() if policy.is_file() else None
    return Checkpoint(record, int(state["frames"]), selection, content, folder)


def restore_model(checkpoint: Checkpoint, model: BaseAlgorithm) -> None:
    """Bring a freshly built algorithm to where the run stopped."""
    env = model.env
    assert isinstance(env, SB3VecEnv)
    parameters = torch.load(checkpoint.folder / "parameters.pt", weights_only=True)
    model.set_parameters(parameters)
    with np.load(checkpoint.folder / "arrays.npz", allow_pickle=False) as arrays:
        lanes = {key: arrays[key] for key in ("account", "positions")}
        model._last_obs = env.simulator.restore(lanes)
        model._last_episode_starts = arrays["episode_starts"]
        torch.set_rng_state(torch.from_numpy(arrays["torch_rng"]))
        position, has_gauss = (int(value) for value in arrays["numpy_rest"])
        gauss = float(arrays["numpy_gauss"][0])
        np.random.set_state(("MT19937", arrays["numpy_keys"], position, has_gauss, gauss))
    model.num_timesteps = checkpoint.frames
    state = json.loads((checkpoint.folder / "state.json").read_text())
    model._n_updates = state["updates"]
