"""G4: what lies in the environment as a secret is in nothing that a command prints or leaves."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

ROOT = Path(__file__).parents[1]
CANARY = "c4n4ry-8f1d02b7e6a94c55"
NAMES = (
    *("MT5_PASSWORD", "MT5_DEMO_PASSWORD", "MT5_LIVE_PASSWORD", "MT5_LOGIN", "MT5_SERVER"),
    *("MTQUANT_TOKEN", "MTQUANT_BRIDGE_TOKEN", "MTQUANT_READ_TOKEN", "MTQUANT_TRADE_TOKEN"),
    *("BRIDGE_TOKEN", "IC_MARKETS_PASSWORD", "API_KEY", "DEMO_PASSWORD"),
)
SMALL = ("--symbol", "XAUUSD", "--env", "small.yaml", "--agent", "ppo.yaml")
GIVEN = ("--data", "gold.csv", "--clock", "utc")

# How a command ends, and the command.
COMMANDS: tuple[tuple[int, tuple[str, ...]], ...] = (
    (0, ("data", "import", "gold.csv", "--symbol", "XAUUSD", "--clock", "utc")),
    (0, ("data", "list")),
    (0, ("train", *SMALL, "--timesteps", "512", "--name", "mine")),
    (0, ("backtest", "mine")),
    (0, ("deploy", "--paper", "--bundle", "mine")),
    (0, ("features", "check", "ret_1", *GIVEN, "--symbol", "XAUUSD")),
    (0, ("breaker", "status", "--journal", "reports/paper-mine/journal.sqlite3")),
    (2, ("data", "import", "missing.csv", "--symbol", "XAUUSD")),
    (2, ("data", "import", "broken.csv", "--symbol", "XAUUSD", "--clock", "utc")),
    (2, ("train", "--symbol", "XAUSD")),
    (2, ("train", *SMALL, "--env", "broken.yaml")),
    (2, ("backtest", "broken.yaml")),
    (2, ("deploy", "--paper", "--bundle", "nothing")),
    (2, ("deploy", "--live")),
    (2, ("features", "check", "astrology")),
)

CHILD = r"""
import json, os, sys, traceback
from pathlib import Path

started = []

def audit(event, arguments):
    if event in ("subprocess.Popen", "os.exec", "os.posix_spawn", "os.spawn", "os.system"):
        # The environment is handed on, and is no argument.
        started.append(event + " " + repr(arguments[:2]))

sys.addaudithook(audit)
from mtquant.cli import main
from mtquant.live.journal import Journal

def run(words):
    sys.argv = ["mtquant", *words]
    try:
        main()
    except SystemExit as stopped:
        return stopped.code or 0
    except BaseException:
        traceback.print_exc()
        return "crashed"
    return 0

codes = [run(words) for words in json.loads(sys.argv[1])]

def broken(*arguments, **named):
    password = os.environ["MT5_DEMO_PASSWORD"]  # a local variable, as a broker's would be
    raise RuntimeError("out of order")

Journal.__init__ = broken
codes.append(run(["deploy", "--paper", "--bundle", "mine", "--out", "crash"]))
Path("codes.json").write_text(json.dumps([codes, started]))
"""


class Outcome(NamedTuple):
    """Of all commands, one after the other in one process."""

    codes: list[object]
    started: list[str]
    printed: str
    folder: Path


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory, easy_bars, small_env, small_agent) -> Outcome:
    """The commands, with the canary in the environment."""
    folder = tmp_path_factory.mktemp("desk")
    for name, model in (("small", small_env), ("ppo", small_agent)):
        text = yaml.safe_dump(model.model_dump(mode="json"))
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    frame = easy_bars.to_frame()
    frame["time"] = frame["time"].dt.tz_localize(None)
    frame.to_csv(folder / "gold.csv", index=False)
    frame.assign(high=frame["low"] - 1.0).to_csv(folder / "broken.csv", index=False)
    (folder / "broken.yaml").write_text("symbols: [XAUUSD]\naccount: {capitl: 5}\n")
    words = json.dumps([words for _, words in COMMANDS])
    ran = subprocess.run(
        [sys.executable, "-c", CHILD, words],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **dict.fromkeys(NAMES, CANARY)},
        timeout=280,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    codes, started = json.loads((folder / "codes.json").read_text())
    return Outcome(codes, started, ran.stdout + ran.stderr, folder)


def test_the_commands_did_what_they_were_asked(outcome):
    """Successes and failures, and one crash with its traceback."""
    assert outcome.codes == [code for code, _ in COMMANDS] + ["crashed"], outcome.printed[-3000:]
    assert "RuntimeError: out of order" in outcome.printed
    assert (outcome.folder / "models/checkpoints/mine/manifest.json").is_file()
    assert (outcome.folder / "reports/paper-mine/journal.sqlite3").is_file()


def spellings() -> list[bytes]:
    plain = CANARY.encode()
    return [
        plain,
        plain[::-1],
        base64.b64encode(plain)[:-4],
        plain.hex().encode(),
        CANARY.encode("utf-16-le"),
    ]


def test_the_canary_is_in_no_file(outcome):
    files = [path for path in outcome.folder.rglob("*") if path.is_file()]
    assert len(files) > 15
    for path in files:
        content = path.read_bytes()
        assert CANARY not in path.name
        assert not any(spelt in content for spelt in spellings()), path


def test_the_canary_is_in_no_output_and_no_argument(outcome):
    assert CANARY not in outcome.printed
    assert not any(CANARY in line for line in outcome.started)
