"""What a stopped training needs to go on: arrays, tensors and JSON under ``runs/NAME/trainer``.

It is no part of a bundle. Tensors are read with ``weights_only=True`` and arrays without pickle,
after their digests were compared. The folder is written beside its place and renamed, so a kill
leaves the last whole checkpoint.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import current_thread, main_thread
from typing import Any

import numpy as np
import torch

from mtquant.config.rules import STORED
from mtquant.config.schema import AgentConfig, EnvConfig
from mtquant.errors import ConfigError, DataError
from mtquant.training.replay import Segment, file_digest, read_arrays
from mtquant.training.selection import Selection
from mtquant.training.snapshot import Snapshot

SCHEMA_VERSION = 4
STATE, ARRAYS, POLICY = "state.json", "arrays.npz", "policy.onnx"
MODULES, TENSORS = "parameters.pt", "tensors.pt"
TRIED = "tried.npz"  # what selection keeps of each validation pass


@contextmanager
def _deferred_ctrl_c() -> Iterator[None]:
    """Let Ctrl-C wait: in the middle of a file it makes libraries complain as they clean up."""
    ours = current_thread() is main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    pressed = list[int]()
    signal.signal(signal.SIGINT, lambda number, _: pressed.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if pressed:
        raise KeyboardInterrupt


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
class Checkpoint:
    """A run on disk.

    Attributes:
        record: What was asked for.
        selection: The incumbent so far.
        validated: Frames of the last validation pass.
        policy: The incumbent's ONNX model; None while flat leads.
        snapshot: The learner; None where it was stopped before its first frame.
        stale: Validation passes since the incumbent was found.
    """

    record: RunRecord
    selection: Selection
    validated: int
    policy: bytes | None
    snapshot: Snapshot | None
    stale: int = 0

    def save(self, folder: Path) -> None:
        """Write it; an older one is replaced only by this whole one.

        Rows of a replay buffer leave memory with it: the next checkpoint finds them here.

        Raises:
            KeyboardInterrupt: The user stopped it meanwhile; it is written.
        """
        with _deferred_ctrl_c():
            self._replace(folder)
            _sweep(folder)

    def _replace(self, folder: Path) -> None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=".trainer-", dir=folder.parent))
        old = folder.with_name(f"{fresh.name}-old")
        try:
            self._write(fresh, folder)
            if folder.exists():
                os.replace(folder, old)
            os.replace(fresh, folder)
        except BaseException:
            shutil.rmtree(fresh, ignore_errors=True)
            _put_back(folder)
            raise
        for segment in self.snapshot.replay if self.snapshot else ():
            segment.columns = None

    def _write(self, folder: Path, older: Path) -> None:
        snapshot = self.snapshot
        replay = snapshot.replay if snapshot else ()
        if snapshot is not None:
            torch.save(snapshot.modules, folder / MODULES)
            torch.save(snapshot.tensors, folder / TENSORS)
            np.savez(folder / ARRAYS, **snapshot.arrays)
        np.savez(folder / TRIED, *self.selection.tried)
        if self.policy is not None:
            (folder / POLICY).write_bytes(self.policy)
        files = {path.name: file_digest(path) for path in sorted(folder.iterdir())}
        for segment in replay:
            segment.write(folder, older)
            files[segment.file] = segment.digest
        state = {
            "schema_version": SCHEMA_VERSION,
            "record": self.record.to_dict(),
            "selection": self.selection.to_dict(),
            "validated": self.validated,
            "stale": self.stale,
            "frames": snapshot.frames if snapshot else None,
            "facts": snapshot.facts if snapshot else None,
            "replay": [[segment.first, segment.count] for segment in replay],
            "files": files,
        }
        state["seal"] = _seal(state)
        (folder / STATE).write_text(json.dumps(state, indent=2), encoding="utf-8")


def _seal(state: dict[str, Any]) -> str:
    """SHA-256 of all but the record, which says what is wanted and may be changed by hand."""
    sealed = {key: value for key, value in state.items() if key not in ("record", "seal")}
    return hashlib.sha256(json.dumps(sealed, sort_keys=True).encode()).hexdigest()


def _put_back(folder: Path) -> None:
    """Undo a replacement that was cut off between its two renames."""
    if not folder.exists():
        for old in folder.parent.glob(".trainer-*-old"):
            os.replace(old, folder)
            return


def _sweep(folder: Path) -> None:
    """Remove what a kill left half-written beside a whole checkpoint."""
    for left_over in folder.parent.glob(".trainer-*"):
        shutil.rmtree(left_over, ignore_errors=True)


def read_checkpoint(runs: Path, name: str) -> Checkpoint:
    """The state of a stopped run.

    Raises:
        ConfigError: There is none of that name.
        DataError: It cannot be read.
    """
    whole = (f"*/{place}/{STATE}" for place in ("trainer", ".trainer-*-old"))
    known = sorted(
        {path.parents[1].name for pattern in whole for path in runs.glob(pattern)}
        | {path.parent.name for path in runs.glob("*/seeds.json")}
    )
    if name not in known:
        are = f"there are {', '.join(known)}" if known else "there is none"
        raise ConfigError(f"no run '{name}' to resume in '{runs}' ({are})")
    folder = runs / name / "trainer"
    _put_back(folder)
    _sweep(folder)
    try:
        return _read(folder)
    except Exception as error:  # torch, zip and JSON readers fail in a dozen ways
        reason = " ".join(str(error).split())[:200]
        raise DataError(
            f"the state of run '{name}' in '{folder}' cannot be read ({type(error).__name__}: "
            f"{reason}); train again"
        ) from None


def _read(folder: Path) -> Checkpoint:
    state = json.loads((folder / STATE).read_text(encoding="utf-8"))
    if state["schema_version"] != SCHEMA_VERSION:
        raise ValueError(f"schema {state['schema_version']}, this mtquant reads {SCHEMA_VERSION}")
    if state["seal"] != _seal(state):
        raise ValueError(f"{STATE} was changed")
    for file, digest in state["files"].items():
        if file_digest(folder / file) != digest:
            raise ValueError(f"{file} was changed")
    tried = list(read_arrays(folder / TRIED).values())
    return Checkpoint(
        record=RunRecord.from_dict(state["record"]),
        selection=Selection.from_dict(state["selection"], tried),
        validated=state["validated"],
        policy=(folder / POLICY).read_bytes() if POLICY in state["files"] else None,
        snapshot=_read_snapshot(folder, state) if state["frames"] is not None else None,
        stale=state["stale"],
    )


def _read_snapshot(folder: Path, state: dict[str, Any]) -> Snapshot:
    replay = tuple(Segment(first, count, None) for first, count in state["replay"])
    for segment in replay:
        segment.columns = read_arrays(folder / segment.file)
        segment.digest = state["files"][segment.file]
    return Snapshot(
        frames=state["frames"],
        modules=torch.load(folder / MODULES, weights_only=True, map_location="cpu"),
        tensors=torch.load(folder / TENSORS, weights_only=True, map_location="cpu"),
        arrays=read_arrays(folder / ARRAYS),
        facts=state["facts"],
        replay=replay,
    )
