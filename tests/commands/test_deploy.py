"""``mtquant deploy``: what it refuses, in one line, before anything is written."""

from __future__ import annotations

import json
import shutil

import pytest


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "say where to trade: --paper"),
        (("--paper",), "no valid bundle in 'models/checkpoints'"),
        (("--paper", "--bundle", "gold"), "unknown bundle 'gold'"),
        (("--paper", "--speed", "0"), "--speed 0.0 must be a positive number"),
        (("--paper", "--speed", "-3"), "--speed -3.0 must be a positive number"),
        (("--paper", "--speed", "nan"), "--speed nan must be a positive number"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_wrong_deployment_is_one_line(refused, words, told):
    assert told in refused("deploy", *words)


def test_an_altered_bundle_is_refused(refused, desk, small_run):
    place = desk / "models/checkpoints/small"
    shutil.copytree(small_run.bundle.path, place)
    manifest = json.loads((place / "manifest.json").read_text())
    manifest["reward_scale"] *= 2
    (place / "manifest.json").write_text(json.dumps(manifest))
    assert "field 'bundle_hash'" in refused("deploy", "--paper", "--bundle", "small")


def test_a_missing_file_of_bars_is_one_line(refused, desk, small_run):
    shutil.copytree(small_run.bundle.path, desk / "models/checkpoints/small")
    said = refused("deploy", "--paper", "--data", "nothing.csv", "--clock", "utc")
    assert "nothing.csv" in said
