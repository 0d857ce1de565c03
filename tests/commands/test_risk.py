"""``--risk NAME``: what it sets in train and backtest, and that paper only tightens."""

from __future__ import annotations

import json

import pytest
import yaml

SMALL = ("--symbol", "XAUUSD", "--env", "small.yaml", "--agent", "ppo.yaml")


@pytest.fixture
def profiles(desk):
    """Two profiles of one's own: one lot step less than is asked for, and one that is looser."""
    (desk / "configs").mkdir()
    tight = {"limits": {"max_lots": 0.03}, "sizing": {"risk_fraction": 0.04}}
    loose = {"limits": {"max_exposure": 9.0}, "sizing": {"risk_fraction": 0.05}}
    (desk / "configs" / "risk.yaml").write_text(yaml.safe_dump({"tight": tight, "loose": loose}))


def report(desk, folder):
    return json.loads((desk / folder / "report.json").read_text(encoding="utf-8"))


def test_train_sets_the_profile_and_says_where_it_lay(mtquant, desk, models, profiles):
    done = mtquant("train", *SMALL, "--risk", "tight", "--name", "mine", "--timesteps", 16)
    assert done.code == 0, done.err
    assert "risk     tight of risk.yaml (working directory)" in done.out
    manifest = json.loads((desk / "models/checkpoints/mine/manifest.json").read_text("utf-8"))
    assert manifest["env"]["limits"]["max_lots"] == 0.03
    assert manifest["env"]["sizing"]["risk_fraction"] == 0.04


def test_backtest_of_a_bundle_under_a_profile(mtquant, desk, models, profiles):
    assert mtquant("backtest", "small", "--out", "plain").code == 0
    done = mtquant("backtest", "small", "--risk", "tight", "--out", "tight")
    assert done.code == 0, done.err
    note = "Under the risk profile tight of risk.yaml (working directory)."
    assert note in done.out and report(desk, "tight")["notes"] == [note]
    assert report(desk, "tight")["results"] != report(desk, "plain")["results"]


def test_paper_tightens_and_still_equals_its_backtest(mtquant, desk, models, profiles):
    done = mtquant("deploy", "--paper", "--bundle", "small", "--risk", "tight", "--out", "tight")
    assert done.code == 0, done.err
    assert "risk     tight of risk.yaml (working directory) tightens" in done.out
    assert "risk     limits.max_lots off -> 0.03" in done.out
    assert "risk_fraction" not in done.out, "4 % are looser than the bundle's 2 %"
    paper = json.loads((desk / "tight" / "paper.json").read_text(encoding="utf-8"))
    assert paper["equals_backtest"] and paper["fills"] > 0
    assert paper["risk"][1:] == ["limits.max_lots off -> 0.03"]
    assert "limits.max_lots off -> 0.03" in report(desk, "tight")["notes"][1]
    assert mtquant("deploy", "--paper", "--bundle", "small", "--out", "plain").code == 0
    plain = json.loads((desk / "plain" / "paper.json").read_text(encoding="utf-8"))
    assert plain["final_equity"] != paper["final_equity"] and plain["risk"] == []


def test_a_looser_profile_changes_nothing_on_paper(mtquant, desk, models, profiles):
    words = ("deploy", "--paper", "--bundle", "small")
    done = mtquant(*words, "--risk", "loose", "--out", "loose")
    assert "loose of risk.yaml (working directory) is nowhere stricter" in done.out
    assert mtquant(*words, "--out", "plain").code == 0
    equities = [
        json.loads((desk / name / "paper.json").read_text("utf-8"))["final_equity"]
        for name in ("loose", "plain")
    ]
    assert equities[0] == equities[1]


@pytest.mark.parametrize(
    "words",
    [
        ("train", *SMALL, "--risk", "kobi"),
        ("backtest", "small", "--risk", "kobi"),
        ("backtest", "flat", "--env", "small.yaml", "--risk", "kobi"),
        ("deploy", "--paper", "--bundle", "small", "--risk", "kobi"),
    ],
    ids=lambda words: words[0],
)
def test_a_wrong_profile_is_one_line(refused, models, words):
    assert "unknown risk profile 'kobi'; did you mean 'kobe'?" in refused(*words)


def test_a_stopped_run_keeps_what_it_began_with(refused):
    assert "leave the rest out" in refused("train", "--resume", "small", "--risk", "kobe")
