from __future__ import annotations

import json
import os
import pickle
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mtquant.agents import bundle as bundles
from mtquant.agents.bundle import Bundle, Manifest, load_bundle
from mtquant.agents.catalogue import bundle_names, find_bundle, free_name, newest_bundle
from mtquant.agents.manifest import content_hash
from mtquant.config.schema import EnvConfig
from mtquant.errors import BundleError, MTQuantError


def edit(bundle: Bundle, change: Callable[[dict[str, Any]], None]) -> None:
    path = bundle.path / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    change(manifest)
    path.write_text(json.dumps(manifest), encoding="utf-8")


def test_a_bundle_comes_back_as_it_was_written(write, content):
    written = write()
    loaded = load_bundle(written.path)
    assert loaded.manifest == written.manifest
    assert loaded.name == "tiny"
    assert loaded.env == EnvConfig.model_validate(content["env"])
    assert loaded.specs[0].name == "XAUUSD"
    assert loaded.pipeline.names == tuple(content["inputs"])
    assert loaded.pipeline.to_dict() == content["pipeline"]
    assert set(loaded.manifest.files) == {"policy.onnx", "report.json", "report.html"}
    assert json.loads((loaded.path / "run.json").read_text()) == {"host": "here"}
    observation = np.ones(len(content["inputs"]) + 8, np.float32)
    action, _ = loaded.agent.predict(observation)
    assert action[0] == pytest.approx(min(0.1 * observation.size, 1.0))
    assert loaded.agent.name == "ppo"
    assert loaded.agent.inputs == tuple(content["inputs"])


def test_a_policy_with_memory_brings_its_shape_and_burn_in(write, content, memory_policy):
    width = len(content["inputs"]) + 8

    def files(folder: Path) -> None:
        (folder / "policy.onnx").write_bytes(memory_policy([[0.1, 0.2]] * width, [1.0, 1.0]))

    agent = {"kind": "ppo_recurrent", "burn_in": 12}
    with pytest.raises(BundleError, match=r"field 'state_shape' is \[\], .* make it \[2, 1, 2\]"):
        write(files, agent=agent)
    with pytest.raises(BundleError, match=r"field 'burn_in' is 0, .* make it 12"):
        write(files, agent=agent, state_shape=[2, 1, 2])
    bundle = load_bundle(write(files, agent=agent, state_shape=[2, 1, 2], burn_in=12).path)
    assert (bundle.policy.state_shape, bundle.policy.burn_in) == ((2, 1, 2), 12)
    _, state = bundle.agent.predict(np.ones(width, np.float32))
    assert state.shape == (2, 1, 2) and state.any()


def test_equal_trainings_have_one_hash(write):
    """Its name, its time and the host are no part of the hash; all else is."""
    one = write()
    other = write(name="other", created="2025-01-01T00:00:00Z")
    assert one.manifest.bundle_hash == other.manifest.bundle_hash
    assert len(one.manifest.bundle_hash) == 64
    assert write(name="third", seed=2).manifest.bundle_hash != one.manifest.bundle_hash


def other_value(value: Any) -> Any:
    """Another value of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    if isinstance(value, str):
        return ("f" if value[:1] != "f" else "e") + value[1:]
    if isinstance(value, list):
        return [*value[:-1], other_value(value[-1])] if value else ["x"]
    if isinstance(value, dict) and value:
        last = sorted(value)[-1]
        return {**value, last: other_value(value[last])}
    return {"x": 1} if isinstance(value, dict) else 7


FIELDS = sorted(set(Manifest.model_fields) - {"name", "created"})


@pytest.mark.parametrize("field", FIELDS)
def test_a_changed_field_is_refused_and_named(write, field):
    bundle = write()

    def change(manifest: dict[str, Any]) -> None:
        if field == "env":
            manifest["env"]["account"]["capital"] += 1.0
        else:
            manifest[field] = other_value(manifest[field])

    edit(bundle, change)
    with pytest.raises(BundleError) as caught:
        load_bundle(bundle.path)
    message = str(caught.value)
    assert "bundle_hash" in message or f"'{field}" in message or "report.json" in message
    assert "manifest.json" in message or "was changed" in message
    assert "\n" not in message


def leaves(value: Any, *path: Any) -> Iterator[tuple[Any, ...]]:
    """The place of every single value."""
    if isinstance(value, dict | list) and value:
        for step, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(inner, *path, step)
    else:
        yield path


def test_every_single_value_is_sealed(write):
    """D2: features and their order, scaler, timeframe, contracts, shapes, weights, all the rest."""
    bundle = write()
    place = bundle.path / "manifest.json"
    text = place.read_text(encoding="utf-8")
    paths = [path for path in leaves(json.loads(text)) if path not in (("name",), ("created",))]
    assert len(paths) > 150
    for path in paths:
        manifest = json.loads(text)
        owner = manifest
        for step in path[:-1]:
            owner = owner[step]
        owner[path[-1]] = other_value(owner[path[-1]])
        place.write_text(json.dumps(manifest), encoding="utf-8")
        with pytest.raises(BundleError) as caught:
            load_bundle(bundle.path)
        said = str(caught.value)
        assert "field 'bundle_hash'" in said or f"'{path[0]}" in said or "was changed" in said, path


def test_a_bundle_from_before_a_field_is_as_sound_as_it_was(write):
    """Its hash is of what was written; what it does not say has its default."""
    bundle = write()

    def before(manifest: dict[str, Any]) -> None:
        del manifest["env"]["breaker"]["on_level_3"], manifest["env"]["episode"]["other_symbols"]
        del manifest["data"]["other_fingerprints"]
        manifest["bundle_hash"] = content_hash(manifest)

    edit(bundle, before)
    older = load_bundle(bundle.path).manifest
    assert older.env == bundle.manifest.env and older.data == bundle.manifest.data
    assert older.bundle_hash != bundle.manifest.bundle_hash


DEFAULTED = {"window", "state_shape", "burn_in", "bundle_hash"}


@pytest.mark.parametrize("field", sorted(set(Manifest.model_fields) - DEFAULTED))
def test_a_missing_field_is_named(write, field):
    bundle = write()
    edit(bundle, lambda manifest: manifest.pop(field))
    with pytest.raises(BundleError, match=f"field '{field}'"):
        load_bundle(bundle.path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("env", {"name": "x"}),
        ("reward_scale", -1.0),
        ("reward_scale", 0.0),
        ("reward_scale", "big"),
        ("window", 0),
        ("symbols", "XAUUSD"),
        ("files", None),
        ("name", "../elsewhere"),
        ("surprise", 1),
    ],
)
def test_a_field_of_another_form_is_named(write, field, value):
    bundle = write()
    edit(bundle, lambda manifest: manifest.update({field: value}))
    with pytest.raises(BundleError, match=f"field '{field}"):
        load_bundle(bundle.path)


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_another_schema_is_refused_before_anything_else(write, version):
    bundle = write()
    edit(bundle, lambda manifest: manifest.update(schema_version=version, env="unreadable"))
    with pytest.raises(BundleError, match=r"field 'schema_version' is .* reads 1"):
        load_bundle(bundle.path)


@pytest.mark.parametrize("name", ["policy.onnx", "report.json", "report.html"])
def test_one_changed_byte_is_refused(write, name):
    bundle = write()
    path = bundle.path / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(BundleError, match=name.replace(".", r"\.") + "' was changed"):
        load_bundle(bundle.path)


@pytest.mark.parametrize("name", ["policy.onnx", "report.json"])
def test_a_missing_file_is_refused(write, name):
    bundle = write()
    (bundle.path / name).unlink()
    with pytest.raises(BundleError, match=f"'{name}' is missing"):
        load_bundle(bundle.path)


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_a_link_is_no_file_of_a_bundle(write, tmp_path):
    bundle = write()
    path = bundle.path / "policy.onnx"
    moved = tmp_path / "elsewhere.onnx"
    path.rename(moved)
    path.symlink_to(moved)
    with pytest.raises(BundleError, match="no plain file"):
        load_bundle(bundle.path)


@pytest.mark.parametrize("name", ["../outside", "..", ".", "a/b", "/etc/hostname"])
def test_files_outside_the_folder_are_refused(write, name):
    bundle = write()

    def point_outside(manifest: dict[str, Any]) -> None:
        manifest["files"][name] = "0" * 64

    edit(bundle, point_outside)
    with pytest.raises(BundleError):
        load_bundle(bundle.path)


def test_features_of_other_code_are_refused(write):
    with pytest.raises(BundleError, match=r"field 'feature_code'.*train again"):
        write(feature_code="0" * 64)


def test_a_policy_has_to_be_listed(write):
    def nothing(folder: Path) -> None:
        (folder / "report.json").write_text("{}\n")

    with pytest.raises(BundleError, match=r"does not list policy\.onnx"):
        write(nothing)


class Trap:
    """Would leave a file behind if anything unpickled it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, ("sprung",))


def test_a_pickle_or_a_zip_is_no_manifest(write, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bundle = write()
    path = bundle.path / "manifest.json"
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(BundleError, match="is no JSON"):
        load_bundle(bundle.path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("manifest.json", "{}")
    with pytest.raises(BundleError, match="is no JSON"):
        load_bundle(bundle.path)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("text", ["", "[]", "3", "null", "[" * 100_000, '{"schema_version": 1}'])
def test_json_that_is_no_manifest(write, text):
    bundle = write()
    (bundle.path / "manifest.json").write_text(text)
    with pytest.raises(BundleError) as caught:
        load_bundle(bundle.path)
    assert "\n" not in str(caught.value)


def test_sizes_are_bounded(write, monkeypatch):
    bundle = write()
    monkeypatch.setattr(bundles, "LARGEST_POLICY", 10)
    with pytest.raises(
        BundleError, match=r"policy\.onnx' is larger than 10 bytes, which a bundle's file"
    ):
        load_bundle(bundle.path)
    monkeypatch.setattr(bundles, "LARGEST_MANIFEST", 10)
    with pytest.raises(BundleError, match=r"manifest\.json' is larger than 10 bytes"):
        load_bundle(bundle.path)


def test_a_pipeline_that_cannot_be_built_is_a_bundles_fault(write, content):
    broken = json.loads(json.dumps(content["pipeline"]))
    broken["features"][0]["feature"] = "astrology"
    with pytest.raises(BundleError, match="field 'pipeline'"):
        _ = write(pipeline=broken).pipeline


@pytest.mark.parametrize("problem", [OSError("disk full"), KeyboardInterrupt()])
def test_nothing_half_written_is_left(write, tmp_path, problem):
    def fail(folder: Path) -> None:
        (folder / "policy.onnx").write_bytes(b"half")
        raise problem

    with pytest.raises(type(problem)):
        write(fail)
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_a_manifest_that_cannot_be_sealed_leaves_nothing(write, tmp_path):
    with pytest.raises(ValueError, match="name"):
        write(name="no good")
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_a_taken_name_is_refused_and_kept(write):
    first = write()
    with pytest.raises(BundleError, match="exists already"):
        write(seed=2)
    assert load_bundle(first.path).manifest.seed == 1


def test_free_names(write, tmp_path):
    root = tmp_path / "checkpoints"
    assert free_name(root, "tiny") == "tiny"
    write()
    assert free_name(root, "tiny") == "tiny-2"
    write(name="tiny-2")
    assert free_name(root, "tiny") == "tiny-3"


def test_bundles_are_found_by_name_and_by_folder(write, tmp_path):
    bundle, root = write(name="gold-ppo"), tmp_path / "checkpoints"
    write(name="euro-ppo")
    (root / "no-bundle").mkdir()
    assert bundle_names(root) == ["euro-ppo", "gold-ppo"]
    assert find_bundle("gold-ppo", root).name == "gold-ppo"
    assert find_bundle(str(bundle.path), tmp_path / "nowhere").name == "gold-ppo"
    with pytest.raises(BundleError, match="'gold-pp'; did you mean 'gold-ppo'"):
        find_bundle("gold-pp", root)
    with pytest.raises(BundleError, match="none is known"):
        find_bundle("gold-ppo", tmp_path / "nowhere")
    assert bundle_names(tmp_path / "nowhere") == []


def test_the_newest_valid_bundle(write, tmp_path):
    root = tmp_path / "checkpoints"
    with pytest.raises(BundleError, match="no valid bundle"):
        newest_bundle(root)
    write(name="b", created="2024-03-01T00:00:00Z")
    write(name="y", created="2024-02-01T00:00:00Z")
    newest = write(name="a", created="2024-04-01T00:00:00Z")
    assert newest_bundle(root).name == "a"
    (newest.path / "policy.onnx").write_bytes(b"altered")
    assert newest_bundle(root).name == "b"
    write(name="c", created="2024-03-01T00:00:00Z")
    assert newest_bundle(root).name == "c"


def test_no_bundle_at_all(tmp_path):
    with pytest.raises(BundleError, match="is no bundle: it has no manifest"):
        load_bundle(tmp_path)
    with pytest.raises(MTQuantError):
        load_bundle(tmp_path / "nothing")


@pytest.mark.parametrize("scale", [float("inf"), float("-inf"), float("nan")])
def test_a_reward_unit_is_a_finite_number(write, scale):
    bundle = write()
    edit(bundle, lambda manifest: manifest.update(reward_scale=scale))
    with pytest.raises(BundleError, match="which is no number"):
        load_bundle(bundle.path)


def test_a_timeframe_that_does_not_exist_is_the_bundles_fault(write, tmp_path):
    write(name="old", created="2024-01-01T00:00:00Z")
    bundle = write(name="new", created="2024-05-01T00:00:00Z")
    edit(bundle, lambda manifest: manifest["env"].update(timeframe="H7"))
    with pytest.raises(BundleError, match=r"field 'env\.timeframe': .*'H7'") as caught:
        load_bundle(bundle.path)
    assert "\n" not in str(caught.value)
    assert newest_bundle(tmp_path / "checkpoints").name == "old"


def test_a_write_that_was_cut_off_is_no_bundle(write, tmp_path):
    """A killed process may leave a whole folder that was never renamed."""
    root = tmp_path / "checkpoints"
    bundle = write(created="2024-05-01T00:00:00Z")
    leftover = root / ".writing-k3x9"
    bundle.path.rename(leftover)
    assert (leftover / "manifest.json").is_file()
    assert bundle_names(root) == []
    with pytest.raises(BundleError, match="no valid bundle"):
        newest_bundle(root)
    write(created="2024-01-01T00:00:00Z")
    assert newest_bundle(root).path == root / "tiny"
    with pytest.raises(BundleError, match=r"unknown bundle '\.writing-k3x9'"):
        find_bundle(leftover.name, root)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"inputs": ["nonsense"]}, r"field 'inputs': unknown .*'nonsense'"),
        ({"inputs": []}, r"field 'inputs' does not have the pipeline's columns in their order"),
        ({"symbols": []}, r"field 'symbols' is empty, the env reads XAUUSD"),
        ({"window": 4}, r"'window' make 28 observation columns, policy\.onnx takes 13"),
        (
            {"agent": {"kind": "ppo", "window": 2}},
            r"field 'window' is 1, agent and policy\.onnx make it 2",
        ),
        ({"state_shape": [2, 1, 4]}, r"field 'state_shape' is \[2, 1, 4\], .* make it \[\]"),
        ({"burn_in": 256}, r"field 'burn_in' is 256, agent and policy\.onnx make it 0"),
    ],
)
def test_fields_that_contradict_each_other_are_refused(write, changes, said):
    """Their hashes are right: whoever sealed the bundle sealed a contradiction."""
    with pytest.raises(BundleError, match=said) as caught:
        write(**changes)
    assert "manifest.json" in str(caught.value)
