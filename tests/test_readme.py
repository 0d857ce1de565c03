"""Every command and example of the README does what it says, on small data."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from mtquant.config.load import load_symbols
from mtquant.market.clock import Clock
from mtquant.market.simulated import SimulatedMarket

ROOT = Path(__file__).parents[1]
AUTUMN_2019_NS = 1_569_888_000 * 10**9
README = (ROOT / "README.md").read_text(encoding="utf-8")
STUDY = "mtquant study planted"
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def blocks(language: str, text: str = README) -> list[str]:
    """Contents of the fenced blocks of a language, or of those without one."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [content for named, content in fenced if named == language]


def commands() -> list[str]:
    """Lines of the bash blocks after the two installation commands."""
    return [line for block in blocks("bash")[2:] for line in block.splitlines()]


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "default"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=280
    )


@pytest.fixture(scope="module")
def workplace(tmp_path_factory) -> Path:
    """A folder with an export of the name that the README uses and an agent that learns briefly."""
    folder = tmp_path_factory.mktemp("readme")
    bars = SimulatedMarket("XAUUSD", "H1", 4000, 3, start_ns=AUTUMN_2019_NS).bars(
        load_symbols()["XAUUSD"]
    )
    wall = Clock.parse("ny+7").from_utc(bars.time).astype("datetime64[ns]")
    rows = ["<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>"]
    for n, moment in enumerate(np.datetime_as_string(wall, "s")):
        date, time = moment.split("T")
        prices = "\t".join(
            f"{column[n]:.2f}" for column in (bars.open, bars.high, bars.low, bars.close)
        )
        rows.append(
            f"{date.replace('-', '.')}\t{time}\t{prices}\t{bars.volume[n]:.0f}\t0\t"
            f"{bars.spread[n]:.0f}"
        )
    (folder / "XAUUSD_H1.csv").write_text("\r\n".join(rows) + "\r\n")
    agent = yaml.safe_load((ROOT / "configs/agents/ppo.yaml").read_text())
    agent["learning"] = {"timesteps": 40_000, "n_envs": 32, "validate_every": 20_000}
    (folder / "configs/agents").mkdir(parents=True)
    (folder / "configs/agents/ppo.yaml").write_text(yaml.safe_dump(agent))
    return folder


def test_continuous_integration_runs_the_second_command_word_for_word():
    command = blocks("bash")[1].strip()
    assert command == 'pip install ".[dev]" && python -m pytest'
    assert command in (ROOT / ".ci/run").read_text().splitlines()
    assert command in CONTRIBUTING


def test_both_commands_stand_on_the_first_screen():
    first_screen = "\n".join(README.splitlines()[:25])
    for command in blocks("bash")[:2]:
        assert command in first_screen


def run_line(line: str, folder: Path) -> str:
    """What a line of the README prints; it must succeed."""
    words = shlex.split(line, comments=True)
    if words[0] == "mtquant":
        words = [sys.executable, "-m", *words]
    elif words[0] == "tensorboard":  # serves for ever: have it read the files once instead
        words = [sys.executable, "-m", "tensorboard.main", *words[1:], "--inspect"]
    else:
        assert words[0] == "python"
        words[0] = sys.executable
    done = run(words, folder)
    assert done.returncode == 0, (line, done.stderr[-2000:])
    return done.stdout


def test_every_command_runs(workplace):
    ran = [run_line(line, workplace) for line in commands() if not line.startswith(STUDY)]
    assert len(ran) >= 5
    printed = "\n".join(ran)
    assert "4000 in " in printed  # imported
    assert "bit for bit" in printed  # the paper run
    assert "validation/net_return" in printed  # what TensorBoard finds
    assert (workplace / "models/checkpoints/xauusd_h1-ppo/report.html").is_file()


@pytest.mark.slow
def test_the_study_runs(workplace):
    """A million bars, drawn and judged: it takes as long as all other commands."""
    (line,) = [line for line in commands() if line.startswith(STUDY)]
    assert "seed 0" in run_line(line, workplace)
    written = workplace / "runs/study/planted"
    assert (written / "study.json").is_file() and (written / "study.html").is_file()


def test_the_python_example_runs(workplace):
    (example,) = blocks("python")
    (workplace / "example.py").write_text(example)
    done = run([sys.executable, "example.py"], workplace)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "traded_notional" in done.stdout


def test_the_printed_report_has_the_rows_that_are_printed(workplace):
    """The README shows a real report: its first column is the one that a run prints."""
    (shown,) = [block for block in blocks("") if "Net return" in block]
    done = run([sys.executable, "-m", "mtquant", "backtest", "ema_cross"], workplace)
    assert done.returncode == 0, done.stderr

    def labels(text: str) -> list[str]:
        table = text[text.index("Net return") - 2 : text.index("Net of all costs")]
        return [line[:20].strip() for line in table.splitlines() if line[:20].strip()]

    assert labels(shown) == labels(done.stdout)


def test_every_file_and_folder_that_is_named_exists():
    for name in re.findall(
        r"\]\(([^)#:]+)\)|`((?:mtquant|envs|configs|docs|tests|benchmarks|models)/[\w/.]*)`", README
    ):
        path = next(part for part in name if part)
        assert (ROOT / path).exists() or path.startswith("models/"), path
