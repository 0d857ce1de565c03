"""What a stopped training needs to go on: arrays, tensors and JSON under ``runs/NAME/trainer``.

It is no part of a bundle. Tensors are read with ``weights_only=True`` and arrays without pickle;
the algorithm itself is built again from its configuration. The folder is written beside its place
and renamed, so a kill leaves the last whole checkpoint.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm

from mtquant.config.rules import STORED
from mtquant.config.schema import AgentConfig, EnvConfig
from mtquant.envs.vec_env import SB3VecEnv
from mtquant.errors import ConfigError, DataError
from mtquant.training.selection import Selection

SCHEMA_VERSION = 3
TRIED = "tried.npz"  # what selection keeps of each validation pass


@dataclass(frozen=True)
class RunRecord:
    """What was asked for, so that ``--resume NAME`` needs no other option.

    Attributes:
        name: Of the run and of the bundle.
        env: Resolved environment.
        agent: Resolved agent.
        agent_name: Name of the agent's configuration.
        seed: Of the training.
        data_dir: Folder of the store.
        fingerprints: Of the bars.
        history: Opens of their first and last, ns UTC.
    """

    name: str
    env: EnvConfig
    agent: AgentConfig
    agent_name: str
    seed: int
    data_dir: str
    fingerprints: tuple[str, ...] = ()
    history: tuple[int, int] = (0, 0)

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        plain = {
            **self.__dict__,
            "fingerprints": list(self.fingerprints),
            "history": list(self.history),
        }
        return plain | {key: plain[key].model_dump(mode="json") for key in ("env", "agent")}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> RunRecord:
        """From :meth:`to_dict`'s values; raises ValueError, KeyError or TypeError."""
        return cls(
            **{
                **data,
                "env": EnvConfig.model_validate(data["env"], context=STORED),
                "agent": AgentConfig.model_validate(data["agent"]),
                "fingerprints": tuple(data["fingerprints"]),
                "history": (int(data["history"][0]), int(data["history"][1])),
            }
        )


@dataclass(frozen=True)
class Snapshot:
    """A learner between two updates, in memory.

    Attributes:
        frames: Trained.
        updates: SB3's own count of updates.
        parameters: State of policy and optimisers.
        arrays: Lanes, episode starts and the generators that SB3 draws from.
    """

    frames: int
    updates: int
    parameters: dict[str, Any]
    arrays: dict[str, Any]

    @classmethod
    def take(cls, model: BaseAlgorithm) -> Snapshot:
        """Copy a learner's state."""
        env = model.env
        assert isinstance(env, SB3VecEnv)
        _, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
        arrays = {
            "torch_rng": torch.get_rng_state().numpy().copy(),
            "numpy_keys": keys,
            "numpy_rest": np.array([position, has_gauss]),
            "numpy_gauss": np.array([gauss]),
            "episode_starts": np.array(model._last_episode_starts),
            **env.simulator.state(),
        }
        parameters = copy.deepcopy(model.get_parameters())
        return cls(model.num_timesteps, int(getattr(model, "_n_updates", 0)), parameters, arrays)

    def restore(self, model: BaseAlgorithm) -> None:
        """Bring a freshly built learner to this state."""
        env = model.env
        assert isinstance(env, SB3VecEnv)
        model.set_parameters(self.parameters)
        model._last_obs = env.simulator.restore(self.arrays)
        model._last_episode_starts = self.arrays["episode_starts"]
        torch.set_rng_state(torch.from_numpy(self.arrays["torch_rng"]))
        position, has_gauss = (int(value) for value in self.arrays["numpy_rest"])
        gauss = float(self.arrays["numpy_gauss"][0])
        np.random.set_state(("MT19937", self.arrays["numpy_keys"], position, has_gauss, gauss))
        model.num_timesteps = self.frames
        model._n_updates = self.updates


@dataclass(frozen=True)
class Checkpoint:
    """A run on disk.

    Attributes:
        record: What was asked for.
        selection: The incumbent so far.
        validated: Frames of the last validation pass.
        policy: The incumbent's ONNX model; None while flat leads.
        snapshot: The learner; None where it was stopped before its first frame.
    """

    record: RunRecord
    selection: Selection
    validated: int
    policy: bytes | None
    snapshot: Snapshot | None

    def save(self, folder: Path) -> None:
        """Write it; an older one is replaced only by this whole one."""
        folder.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=".trainer-", dir=folder.parent))
        old = folder.with_name(f"{fresh.name}-old")
        try:
            self._write(fresh)
            if folder.exists():
                os.replace(folder, old)
            os.replace(fresh, folder)
        except BaseException:
            shutil.rmtree(fresh, ignore_errors=True)
            _put_back(folder)
            raise
        for left_over in folder.parent.glob(".trainer-*"):
            shutil.rmtree(left_over, ignore_errors=True)

    def _write(self, folder: Path) -> None:
        snapshot = self.snapshot
        if snapshot is not None:
            torch.save(snapshot.parameters, folder / "parameters.pt")
            np.savez(folder / "arrays.npz", **snapshot.arrays)
        np.savez(folder / TRIED, *self.selection.tried)
        if self.policy is not None:
            (folder / "policy.onnx").write_bytes(self.policy)
        state = {
            "schema_version": SCHEMA_VERSION,
            "record": self.record.to_dict(),
            "selection": self.selection.to_dict(),
            "validated": self.validated,
            "frames": snapshot.frames if snapshot else None,
            "updates": snapshot.updates if snapshot else None,
            "policy": _digest(self.policy) if self.policy is not None else None,
        }
        (folder / "state.json").write_text(json.dumps(state, indent=2), encoding="utf-8")


def _put_back(folder: Path) -> None:
    """Undo a replacement that was cut off between its two renames."""
    if not folder.exists():
        for old in folder.parent.glob(".trainer-*-old"):
            os.replace(old, folder)
            return


def read_checkpoint(runs: Path, name: str) -> Checkpoint:
    """The state of a stopped run.

    Raises:
        ConfigError: There is none of that name.
        DataError: It cannot be read.
    """
    for run in runs.glob("*/"):
        _put_back(run / "trainer")
    known = sorted(path.parent.parent.name for path in runs.glob("*/trainer/state.json"))
    if name not in known:
        are = f"there are {', '.join(known)}" if known else "there is none"
        raise ConfigError(f"no run '{name}' to resume in '{runs}' ({are})")
    folder = runs / name / "trainer"
    try:
        return _read(folder)
    except Exception as error:  # torch, zip and JSON readers fail in a dozen ways
        reason = " ".join(str(error).split())[:200]
        raise DataError(
            f"the state of run '{name}' in '{folder}' cannot be read ({type(error).__name__}: "
            f"{reason}); train again"
        ) from None


def _read(folder: Path) -> Checkpoint:
    state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    if state["schema_version"] != SCHEMA_VERSION:
        raise ValueError(f"schema {state['schema_version']}, this mtquant reads {SCHEMA_VERSION}")
    tried = list(_read_arrays(folder / TRIED).values())
    selection = Selection.from_dict(state["selection"], tried)
    policy = None
    if state["policy"] is not None:
        policy = (folder / "policy.onnx").read_bytes()
        if _digest(policy) != state["policy"]:
            raise ValueError("policy.onnx was changed")
    if (policy is None) != (selection.best_frames == 0):
        raise ValueError("the incumbent's policy is missing")
    snapshot = None
    if state["frames"] is not None:
        parameters = torch.load(folder / "parameters.pt", weights_only=True)
        arrays = _read_arrays(folder / "arrays.npz")
        snapshot = Snapshot(int(state["frames"]), int(state["updates"]), parameters, arrays)
    record = RunRecord.from_dict(state["record"])
    return Checkpoint(record, selection, int(state["validated"]), policy, snapshot)


def _read_arrays(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        content = np.load(file, allow_pickle=False)
        return {key: content[key] for key in content.files}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
