"""Trials learn, are scored, kept and read again; a verdict says what was measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, replace
from math import nan
from pathlib import Path

import pytest
import yaml

from mtquant.errors import ConfigError
from mtquant.market.planted import PRESETS
from mtquant.research import study
from mtquant.research.optimum import optimum
from mtquant.research.planted import PlantedMarket
from mtquant.research.study import RowResult, Trial, run_study
from mtquant.research.study_page import COLUMNS, cells, render_study
from mtquant.research.study_rows import ROWS, StudyRow, chosen_rows

LEAK = 0.74872  # what the leak is worth
AGENT = {
    "kind": "ppo",
    "learning": {"timesteps": 65_536, "n_envs": 64, "validate_every": 32_768},
    "params": {
        "n_steps": 64,
        "batch_size": 1024,
        "n_epochs": 8,
        "learning_rate": 0.003,
        "gamma": 0.0,
        "policy_kwargs": {"net_arch": {"pi": [8], "vf": [16]}, "log_std_init": -1.0},
    },
}


@pytest.fixture
def row(tmp_path, monkeypatch):
    """The leak test on a short history with a small agent."""
    monkeypatch.setattr(study, "FRESH_BARS", 10_000)
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(AGENT))
    market = PlantedMarket(PRESETS["leak"], signals=("next_return",), bars=21_000)
    return StudyRow("leak", market, str(path), least_share=0.95)


def trial(value, turnover=0.0, exposure=0.0, seed=0):
    return Trial(seed, value, value, LEAK, turnover, exposure, value != 0.0, 1000, 1.0)


def result(row, *trials):
    return RowResult(row, optimum(row.market.law, downside_penalty=0.05), trials)


def test_who_is_told_the_next_return_earns_nearly_all_of_it(row, tmp_path):
    heard = []
    (found,) = run_study([row], 1, tmp_path / "trials", told=lambda *news: heard.append(news))
    assert found.share.mean > 0.9 and found.share.mean <= 1.0 + 1e-6
    assert heard == [(row, found.trials[0])]
    again = run_study([row], 1, tmp_path / "trials")[0]
    assert again.trials == found.trials and len(list((tmp_path / "trials").iterdir())) == 1
    page = render_study([found])
    assert "leak" in page and f"{found.share.mean:.1%}" in page and "<script src" not in page
    assert json.loads(json.dumps(found.to_dict()))["trials"] == [asdict(found.trials[0])]


def test_another_agent_law_or_noise_is_another_file(row, tmp_path):
    agent = study.load_agent(row.agent)[0]
    other = agent.model_copy(update={"params": {**agent.params, "gamma": 0.1}})
    weaker = replace(row, market=replace(row.market, law=PRESETS["lead_lag"]))
    noisy = replace(row, market=replace(row.market, noise=1))
    tasks = [(row, agent, 0), (row, agent, 1), (row, other, 0), (weaker, agent, 0)]
    assert len({study._file_name(task) for task in [*tasks, (noisy, agent, 0)]}) == 5


def test_other_sources_are_another_file(row, monkeypatch):
    task = (row, study.load_agent(row.agent)[0], 0)
    before = study._file_name(task)
    assert study._file_name(task) == before
    monkeypatch.setattr(study, "_code", lambda: "another")
    assert study._file_name(task) != before


ORPHAN = """
import multiprocessing, os, time
from concurrent.futures import ProcessPoolExecutor
from mtquant.research.study import _end_with_parent

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(1, mp_context=context, initializer=_end_with_parent)
    print(pool.submit(os.getpid).result(), flush=True)
    pool.submit(time.sleep, 600)
    time.sleep(0.5)
    os.kill(os.getpid(), 9)
"""


def test_a_worker_does_not_outlive_a_study_that_is_killed(tmp_path):
    script = tmp_path / "orphan.py"
    script.write_text(ORPHAN)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    said = tmp_path / "said"  # a pipe would stay open as long as the worker lives
    with said.open("w") as out:
        subprocess.run([sys.executable, str(script)], env=environment, stdout=out, timeout=120)
    worker = int(said.read_text())
    for _ in range(100):
        if not Path(f"/proc/{worker}").exists() or state(worker) == "Z":
            return
        time.sleep(0.1)
    os.kill(worker, 9)
    pytest.fail("the worker went on")


def state(process: int) -> str:
    """Of a process: R, S, or Z once it has ended and nobody has asked how."""
    return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]


def test_a_file_cut_short_is_played_again(row, tmp_path, monkeypatch):
    agent = study.load_agent(row.agent)[0]
    folder = tmp_path / "trials"
    folder.mkdir()
    (folder / study._file_name((row, agent, 0))).write_text('{"seed": 0')
    assert study._read(folder / study._file_name((row, agent, 0))) is None


def test_verdicts_of_shares(row):
    strong = [trial(LEAK * share, seed=k) for k, share in enumerate((0.97, 0.98, 0.99))]
    assert result(row, *strong).verdict == "at least 95%: holds"
    spread = [trial(LEAK * share, seed=k) for k, share in enumerate((0.90, 0.99, 1.0))]
    assert result(row, *spread).verdict == "at least 95%: fails"
    assert result(row, strong[0]).verdict == "at least 95%: take more seeds"
    assert result(replace(row, least_share=None), *strong).verdict == ""


def test_verdicts_of_martingales():
    row = ROWS["iid"]
    flat = [trial(0.0, seed=k) for k in range(19)]
    assert result(row, *flat, trial(-0.01, 0.3, 0.9)).verdict == "flat in 95% of seeds: holds"
    wild = [trial(-0.01, 0.3, 0.9)] * 2
    assert result(row, *flat, *wild).verdict == "flat in 90% of seeds: fails"
    paid = [trial(0.001 + 1e-5 * k, 0.01, 0.05, k) for k in range(20)]
    assert result(row, *paid).verdict.endswith("fails")  # a martingale that pays is a fault


@pytest.mark.parametrize(
    ("turnover", "exposure", "flat"),
    [(0.019, 0.099, True), (0.02, 0.0, False), (0.0, 0.10, False)],
)
def test_what_counts_as_flat(turnover, exposure, flat):
    assert trial(0.0, turnover, exposure).stays_flat is flat


def test_cells_of_a_martingale_and_of_a_single_seed(row):
    assert len(cells(result(ROWS["iid"], trial(0.0)))) == len(COLUMNS)
    assert "+0.00000 a bar" in cells(result(ROWS["iid"], trial(0.0)))
    alone = cells(result(row, trial(0.37436)))
    assert "50.0%" in alone and str(nan) not in " ".join(alone)


def test_rows_by_name():
    assert [row.name for row in chosen_rows(["leak", "iid"], None)] == ["leak", "iid"]
    assert chosen_rows(["leak"], "sac")[0].agent == "sac"
    assert len(chosen_rows([], None)) == len(ROWS)
    with pytest.raises(ConfigError, match=r"unknown row of the study 'leek'.*leak"):
        chosen_rows(["leek"], None)
