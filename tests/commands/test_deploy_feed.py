"""``mtquant deploy --paper --account``: what it refuses, what it reads, and a whole life of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from mtquant.brokers.accounts import accounts_of
from mtquant.brokers.terminal.simulated import SimulatedTerminal
from mtquant.brokers.terminal.state import LOGIN, SERVER, AccountTerms
from mtquant.errors import ConfigError
from mtquant.live_deploy import World
from mtquant.market.panel import Panel
from mtquant.paper_deploy import feed_paper
from mtquant.paper_line import plan_paper

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/paper.md").read_text(encoding="utf-8")
ENTRY = {"broker_id": "ic_markets", "login": LOGIN, "server": SERVER, "is_demo": True}
BRIDGE = {"url": "http://127.0.0.1:1", "read_token": "${PAPER_READ}", "token": "${PAPER_TRADE}"}


def fenced(language: str) -> str:
    (block,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return block


@pytest.fixture
def office(desk):
    (desk / "configs").mkdir()

    def write(**changes):
        listed = {"demo": ENTRY | changes}
        (desk / "configs/brokers.yaml").write_text(yaml.safe_dump(listed))

    write()
    return write


class Desk:
    """A terminal that is a bar further after each wait, until it is told to stop."""

    def __init__(self, bundle, bars, first=1700):
        self.bundle, self.waits, self.stop = bundle, 0, 10**9
        self.credentials = []
        bare = plan_paper(bundle, bundle.env, (), "demo", None, 5.0).tape(Panel([bars]))
        rows = (first, len(bars) - 1)
        self.terminal = SimulatedTerminal(
            Panel([bars]), bundle.specs, bare, rows=rows, terms=AccountTerms(5.0)
        )

    def world(self):
        def sleep(seconds):
            if seconds < 1.0:
                return  # between two calls, not two looks
            self.waits += 1
            if not self.terminal.finished and self.waits < self.stop:
                self.terminal.advance()

        def connect(entry, credentials):
            self.credentials.append(credentials)
            assert self.terminal.initialize(login=entry.login, server=entry.server)
            return self.terminal

        return World(
            lambda: self.waits * 5 * 10**9,
            lambda: self.waits * 5 * 10**9,
            sleep,
            connect,
            lambda: self.terminal.finished or self.waits >= self.stop,
        )


def test_E6_paper_on_a_feed_sends_the_account_nothing(office, desk, small_run, easy_bars):
    bundle = small_run.bundle
    broker = Desk(bundle, easy_bars)
    broker.stop = 60
    plan = plan_paper(bundle, bundle.env, (), "demo", None, 5.0)
    feed_paper(plan, Console(quiet=True), broker.world())
    first = json.loads((plan.folder / "paper.json").read_text())
    assert first["equals_backtest"] and first["unseen_bars"] == 0 and first["bars"] > 50
    broker.stop = 10**9
    feed_paper(plan, Console(quiet=True), broker.world())
    whole = json.loads((plan.folder / "paper.json").read_text())
    assert whole["equals_backtest"] and whole["bars"] > first["bars"] + 100 and whole["fills"] > 10
    assert (plan.folder / "report.html").is_file()
    assert not broker.terminal.account.orders and len(broker.terminal.account.deals) == 1
    written = (plan.folder / "log.jsonl").read_text().splitlines()
    events = [json.loads(line)["event"] for line in written]
    assert events.count("started") == events.count("ended") == 2 and "decided" in events


def test_a_bridges_trade_token_is_not_read(office, small_run, monkeypatch):
    monkeypatch.delenv("PAPER_TRADE", raising=False)
    monkeypatch.setenv("PAPER_READ", "read abcdefghijklmnopqrstuvwxyz012345")
    asked = []
    entry = accounts_of({"demo": ENTRY | {"bridge": BRIDGE}}, "here")["demo"]
    found = entry.reading_credentials(keyring=lambda name: asked.append(name))
    assert found.password is None and not asked
    assert found.token.get_secret_value().startswith("read ")
    monkeypatch.setenv("PAPER_READ", "trade abcdefghijklmnopqrstuvwxyz012345")
    with pytest.raises(ConfigError, match="is a token of scope trade"):
        entry.reading_credentials()


@pytest.mark.parametrize(
    ("entry", "words", "told"),
    [
        ({}, ("--account", "dmo"), "did you mean 'demo'?"),
        ({"login": None}, ("--account", "demo"), "is not filled in"),
        ({}, ("--account", "demo", "--every", "0"), "--every 0.0 must be above 0"),
        ({}, ("--account", "demo", "--speed", "5"), "from a file or from --account"),
        ({"bridge": BRIDGE | {"read_token": None}}, ("--account", "demo"), "has no 'read_token'"),
        ({"bridge": BRIDGE}, ("--account", "demo"), "the secret PAPER_READ is not set"),
        ({"bridge": {"url": BRIDGE["url"]}}, ("--account", "demo"), "a bridge takes a token"),
    ],
    ids=str,
)
def test_a_mistake_is_one_line(office, desk, refused, small_run, entry, words, told):
    office(**entry)
    shutil.copytree(small_run.bundle.path, desk / "models/checkpoints/small")
    assert told in refused("deploy", "--paper", *words)


def test_half_a_folder_is_refused(office, small_run, easy_bars):
    bundle = small_run.bundle
    broker = Desk(bundle, easy_bars)
    broker.stop = 10
    plan = plan_paper(bundle, bundle.env, (), "demo", None, 5.0)
    feed_paper(plan, Console(quiet=True), broker.world())
    (plan.folder / "account.jsonl").unlink()
    broker.stop = 20
    with pytest.raises(ConfigError, match="one is missing or empty"):
        feed_paper(plan, Console(quiet=True), broker.world())


def test_fills_inside_a_bar_are_refused(office, small_run):
    env = small_run.bundle.env
    late = env.model_copy(
        update={"execution": env.execution.model_copy(update={"latency_bars": 0.5})}
    )
    with pytest.raises(ConfigError, match="fills inside a bar"):
        plan_paper(replace(small_run.bundle), late, (), "demo", None, 5.0)


def decided_bars(folder: Path) -> int:
    """How many the log tells of so far."""
    return sum(
        '"event": "decided"' in line
        for log in folder.glob("paper/*/log.jsonl")
        for line in log.read_text().splitlines()
    )


@pytest.mark.timeout(900)  # processes on what may be a busy machine
def test_the_page_is_true(desk, small_run):
    """Its commands in their order, on its account: a token, a bridge, and paper until Ctrl-C."""
    shutil.copytree(small_run.bundle.path, desk / "models/checkpoints/small")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    place = {"cwd": desk, "env": environment, "text": True}
    token, serve, deploy = (line.split() for line in fenced("bash").splitlines())
    subprocess.run([sys.executable, "-m", *token], check=True, capture_output=True, **place)
    with (desk / "serve.log").open("w") as log:
        serving = subprocess.Popen(
            [sys.executable, "-m", *serve, "--port", "0"],
            stdout=subprocess.PIPE,
            stderr=log,
            **place,
        )
    paper = None
    try:
        url = serving.stdout.readline().split()[-1]
        accounts = yaml.safe_load(fenced("yaml"))
        accounts["practice"]["bridge"]["url"] = url
        (desk / "configs").mkdir()
        (desk / "configs/brokers.yaml").write_text(yaml.safe_dump(accounts))
        with (desk / "paper.log").open("w") as told:
            paper = subprocess.Popen(
                [sys.executable, *deploy[1:]], stdout=told, stderr=told, **place
            )
        waiting = time.monotonic() + 600
        while decided_bars(desk) < 4 and time.monotonic() < waiting:
            assert paper.poll() is None, (desk / "paper.log").read_text()
            time.sleep(0.2)
        paper.send_signal(signal.SIGINT)
        assert paper.wait(120) == 0, (desk / "paper.log").read_text()
        (outcome,) = desk.glob("paper/*/paper.json")
        assert json.loads(outcome.read_text())["bars"] >= 1
    finally:
        for process in (paper, serving):
            if process is not None and process.poll() is None:
                process.terminate()
                process.wait(60)
        serving.stdout.close()
