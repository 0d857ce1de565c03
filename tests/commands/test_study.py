"""``mtquant study``: what it prints and writes, and what it refuses."""

from __future__ import annotations

import json

import pytest

from mtquant.market.planted import PRESETS
from mtquant.research import study
from mtquant.research.planted import PlantedMarket
from mtquant.research.study import Trial
from mtquant.research.study_rows import ROWS, StudyRow

ROW = StudyRow("leak", PlantedMarket(PRESETS["leak"], signals=("next_return",)), least_share=0.95)


@pytest.fixture
def played(monkeypatch):
    """Trials that need no training: they earn 96 to 98 % of the leak."""
    monkeypatch.setitem(ROWS, "leak", ROW)

    def run_trial(row, agent, seed):
        return Trial(seed, 0.96 + 0.01 * seed, 1.0, 1.0, 0.9, 0.95, True, 1000, 1.0)

    monkeypatch.setattr(study, "run_trial", run_trial)


def test_the_table_is_printed_and_written(mtquant, desk, played):
    done = mtquant("study", "planted", "leak", "--seeds", 3, "--jobs", 1)
    assert done.code == 0, done.err
    assert "leak seed 2: +0.98000 a bar" in done.out
    (row,) = json.loads((desk / "runs/study/planted/study.json").read_text("utf-8"))
    assert row["row"] == "leak" and row["share"]["mean"] == pytest.approx(0.97)
    assert row["verdict"] == "at least 95%: fails"  # 97 % +- 2.5 of three seeds
    page = (desk / "runs/study/planted/study.html").read_text("utf-8")
    assert "97.0% (94.5% to 99.5%)" in page
    assert len(list((desk / "runs/study/planted/trials").iterdir())) == 3


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("leek",), "unknown row of the study 'leek'; did you mean 'leak'?"),
        (("leak", "--agent", "nobody"), "unknown agent 'nobody'"),
        (("leak", "--seeds", 0), "--seeds 0 must be 1 or more"),
        (("leak", "--jobs", -1), "--jobs -1 0 or more"),
    ],
)
def test_mistakes_are_one_sentence(mtquant, desk, words, sentence):
    done = mtquant("study", "planted", *words)
    assert done.code == 2 and sentence in done.err.replace("\n", " ")
    assert not (desk / "runs").exists()
