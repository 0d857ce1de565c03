"""A stopped training goes on as if nothing had happened, or says in one sentence why it cannot."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mtquant.envs.vec_env import SB3VecEnv
from mtquant.errors import BundleError, ConfigError, DataError, MTQuantError
from mtquant.market.store import Source, Store
from mtquant.sim.simulator import Simulator
from mtquant.training import callbacks, state
from mtquant.training.export import flat_policy
from mtquant.training.trainer import Interrupted, resume_training, run_training


@pytest.fixture
def stored(config, easy_store):
    """A training on stored bars, which a resumed run can find again."""
    return replace(config, data=None, data_dir=easy_store)


def resume(config, name: str = "run", **named: Any):
    return resume_training(name, out=config.out, runs=config.runs, **named)


@pytest.fixture
def stopped(stored, heard):
    """A training that was stopped at half its frames."""
    with pytest.raises(Interrupted) as stop:
        run_training(stored, listener=heard(KeyboardInterrupt(), 1024, "validation"))
    assert stop.value.name == "run"
    return stored


def same_bundle(bundle, other) -> None:
    assert bundle.manifest.bundle_hash == other.manifest.bundle_hash
    for name in ("policy.onnx", "report.json"):
        assert (bundle.path / name).read_bytes() == (other.path / name).read_bytes()


@pytest.mark.parametrize("where", ["validation", "progress"])
@pytest.mark.parametrize("frames", [512, 1024, 2048])
def test_a_resumed_run_ends_like_one_that_was_never_stopped(
    stored, heard, small_run, where, frames
):
    with pytest.raises(Interrupted):
        run_training(stored, listener=heard(KeyboardInterrupt(), frames, where))
    assert not stored.out.exists()
    news = heard()
    same_bundle(resume(stored, listener=news), small_run.bundle)
    assert any("resumed" in text for text in news.texts)


@pytest.mark.skipif(sys.platform == "win32", reason="sends a POSIX signal")
def test_ctrl_c_in_the_middle_of_a_file_waits_for_it(stored, monkeypatch, small_run):
    """It used to end the file half-way, and the library that wrote it complained to the console."""
    savez, whole = np.savez, []

    def pressed(path, *arrays, **named):
        if not whole:
            os.kill(os.getpid(), signal.SIGINT)
        savez(path, *arrays, **named)
        whole.append(path)

    monkeypatch.setattr(state.np, "savez", pressed)
    with pytest.raises(Interrupted):
        run_training(stored)
    assert len(whole) == 2  # the one it came in, and the one that the stop writes
    monkeypatch.undo()
    same_bundle(resume(stored), small_run.bundle)


def test_it_may_be_stopped_again_and_again(stored, heard, small_run):
    with pytest.raises(Interrupted):
        run_training(stored, listener=heard(KeyboardInterrupt(), 512, "validation"))
    with pytest.raises(Interrupted):
        resume(stored, listener=heard(KeyboardInterrupt(), 1536, "validation"))
    same_bundle(resume(stored), small_run.bundle)


def test_what_was_validated_is_not_validated_again(stopped, heard):
    news = heard()
    bundle = resume(stopped, listener=news)
    assert news.validated == [1536, 2048]
    assert "from 4" in bundle.manifest.selection


def test_a_stop_within_the_last_pass_repeats_the_pass(stored, small_run, monkeypatch):
    run_agent, passes = callbacks.run_agent, iter(range(100))

    def stop_in_the_fourth(*arguments):
        if next(passes) == 3:
            raise KeyboardInterrupt
        return run_agent(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(callbacks, "run_agent", stop_in_the_fourth)
        with pytest.raises(Interrupted):
            run_training(stored)
    same_bundle(resume(stored), small_run.bundle)


def test_a_stop_before_the_first_frame_can_be_resumed(stored, small_run, monkeypatch):
    def stop(self):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(SB3VecEnv, "reset", stop)
        with pytest.raises(Interrupted):
            run_training(stored)
    same_bundle(resume(stored), small_run.bundle)


def test_a_crash_leaves_the_last_whole_checkpoint(stored, heard, small_run):
    with pytest.raises(RuntimeError):
        run_training(stored, listener=heard(RuntimeError("power"), 1536))
    same_bundle(resume(stored), small_run.bundle)


def test_a_finished_run_whose_bundle_was_lost_is_written_again(stored, small_run):
    shutil.rmtree(run_training(stored).path)
    same_bundle(resume(stored), small_run.bundle)


def test_numbers_drawn_elsewhere_do_not_matter(stopped, small_run):
    random.seed(99)
    np.random.seed(99)
    torch.manual_seed(99)
    same_bundle(resume(stopped), small_run.bundle)


# What cannot be resumed.


@pytest.mark.parametrize("name", ["other", "../run", ""])
def test_an_unknown_run_names_those_that_are(stopped, name):
    with pytest.raises(ConfigError, match=r"no run .*there are run"):
        resume(stopped, name)


def test_no_run_at_all(config):
    with pytest.raises(ConfigError, match="there is none"):
        resume(config)


def test_a_run_is_on_disk_from_its_first_frame(stored, heard, small_run):
    with pytest.raises(RuntimeError):
        run_training(stored, listener=heard(RuntimeError("power"), 16))
    news = heard()
    same_bundle(resume(stored, listener=news), small_run.bundle)
    assert "resumed  at 0 frames" in news.texts


def test_a_kill_between_two_renames_loses_nothing(stopped, small_run):
    run = stopped.runs / "run"
    (run / "trainer").rename(run / ".trainer-x-old")
    (run / ".trainer-x").mkdir()
    same_bundle(resume(stopped), small_run.bundle)
    assert sorted(path.name for path in run.glob(".trainer*")) == []


def test_other_runs_are_left_alone(stopped):
    beside = stopped.runs / "beside" / ".trainer-y"
    beside.mkdir(parents=True)
    resume(stopped)
    assert beside.is_dir()


def test_other_bars_are_refused(stopped, easy_bars, tmp_path):
    path = stopped.runs / "run" / "trainer" / "state.json"
    told = json.loads(path.read_text())
    store = tmp_path / "others"
    Store(store).add(easy_bars[:1999], Source("x", "utc", 1999, "", ""))
    told["record"]["data_dir"] = str(store)
    path.write_text(json.dumps(told))
    with pytest.raises(DataError, match="began with other bars"):
        resume(stopped)


def test_a_bundle_in_the_way_is_seen_before_training(stopped, monkeypatch):
    (stopped.out / "run").mkdir(parents=True)
    monkeypatch.setattr(Simulator, "step", lambda *_: pytest.fail("training went on"))
    with pytest.raises(BundleError, match="exists already"):
        resume(stopped)


Edit = Callable[[dict[str, Any]], Any]


@pytest.mark.parametrize(
    "edit",
    [
        lambda state: state.update(schema_version=9),
        lambda state: state.pop("schema_version"),
        lambda state: state.pop("frames"),
        lambda state: state.update(frames="many"),
        lambda state: state.update(frames=state["frames"] + 512),
        lambda state: state.update(validated=0),
        lambda state: state.update(stale=3),
        lambda state: state["facts"].update(updates=1),
        lambda state: state.update(files={}),
        lambda state: state.pop("seal"),
        lambda state: state.pop("record"),
        lambda state: state.update(record=3),
        lambda state: state.update(selection=None),
        lambda state: state["record"].update(env={}),
        lambda state: state["record"].pop("agent"),
        lambda state: state["record"].update(agent={"kind": "ppo", "extra": 1}),
    ],
    ids=range(16),
)
def test_an_altered_state_is_refused_in_one_sentence(stopped, edit: Edit):
    path = stopped.runs / "run" / "trainer" / "state.json"
    told = json.loads(path.read_text())
    edit(told)
    path.write_text(json.dumps(told))
    assert_refused(stopped)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff\xfe", b"null"], ids=repr)
def test_a_damaged_state_is_refused_in_one_sentence(stopped, content):
    (stopped.runs / "run" / "trainer" / "state.json").write_bytes(content)
    assert_refused(stopped)


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "junk", "a bit"])
@pytest.mark.parametrize("name", ["parameters.pt", "tensors.pt", "arrays.npz", "tried.npz"])
def test_a_damaged_file_is_refused_in_one_sentence(stopped, name, damage):
    path: Path = stopped.runs / "run" / "trainer" / name
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        bit = bytearray(content)
        bit[len(bit) // 2] ^= 1
        damaged = {"empty": b"", "cut": content[:300], "junk": b"junk" * 99, "a bit": bit}
        path.write_bytes(damaged[damage])
    assert_refused(stopped)


@pytest.mark.parametrize("content", [None, b"", b"junk" * 99, flat_policy(11, 1)], ids=range(4))
def test_a_lost_incumbent_is_refused_and_not_replaced_by_flat(stored, heard, content):
    with pytest.raises(Interrupted):
        run_training(stored, listener=heard(KeyboardInterrupt(), 2048, "validation"))
    path: Path = stored.runs / "run" / "trainer" / "policy.onnx"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    assert_refused(stored)


def assert_refused(config) -> None:
    with pytest.raises(MTQuantError) as refused:
        resume(config)
    assert "\n" not in str(refused.value)
    assert not config.out.exists()


def test_arrays_are_never_unpickled(stopped):
    class Trap:
        def __reduce__(self):
            return pytest.fail, ("a pickle was read",)

    folder = stopped.runs / "run" / "trainer"
    path = folder / "arrays.npz"
    with np.load(path) as arrays:
        columns = dict(arrays)
    np.savez(path, **{**columns, "torch_rng": np.array([Trap()], object)})
    told = json.loads((folder / "state.json").read_text())
    told["files"]["arrays.npz"] = state.file_digest(path)
    told["seal"] = state._seal(told)
    (folder / "state.json").write_text(json.dumps(told))
    assert_refused(stopped)
