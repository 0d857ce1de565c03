"""``mtquant bridge``: what it refuses in one line, and one whole life beside a terminal."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mtquant.brokers.bridge.client import BridgeClient
from mtquant.brokers.bridge.tokens import read_token
from mtquant.brokers.retcodes import outcome_of

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/bridge.md").read_text(encoding="utf-8")


@pytest.fixture
def token(mtquant, desk) -> Path:
    done = mtquant("bridge", "token", "trade", "--out", "trade.token")
    assert done.code == 0
    path = desk / "trade.token"
    assert path.stat().st_mode & 0o077 == 0
    assert read_token(path).secret not in done.out + done.err
    return path


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("serve",), "does not start without one"),
        (("serve", "--token-file", "none.token"), "cannot read token file 'none.token'"),
        (("serve", "--host", "0.0.0.0"), "tokens would travel in the clear"),
        (("serve", "--cert", "a.pem"), "TLS needs both --cert and --key"),
        (("serve", "--cert", "a.pem", "--key", "b.pem"), "there is no file 'a.pem'"),
        (("check",), "the MetaTrader5 package is not installed here"),
        (("check", "--url", "http://10.1.2.3:1", "--token-file", "t"), "cannot read token file"),
        (("check", "--url", "http://127.0.0.1:1"), "MTQUANT_BRIDGE_READ_TOKEN holds no token"),
        (("check", "--login", "5"), "give both or neither"),
        (("check", "--account", "demo"), "account 'demo' is not filled in"),
        (("check", "--account", "dem"), "did you mean 'demo'?"),
        (("check", "--account", "demo", "--login", "5"), "give --account alone"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_mistake_is_one_line(refused, words, told):
    assert told in refused("bridge", *words)


def test_nothing_listens_there(refused, token):
    said = refused("bridge", "check", "--url", "http://127.0.0.1:1", "--token-file", token)
    assert "there is no terminal to check" in said
    said = refused("bridge", "check", "--url", "http://10.1.2.3:1", "--token-file", token)
    assert "in the clear" in said


def test_there_is_no_official_module_here(mtquant, token):
    done = mtquant("bridge", "serve", "--token-file", token)
    assert done.code == 2 and "exists for Windows alone" in done.err
    assert (
        "unknown symbol"
        in mtquant("bridge", "serve", "--token-file", token, "--simulated", "XAUSD").err
    )


def test_the_servers_packages_may_be_missing(refused, token, monkeypatch):
    monkeypatch.setitem(sys.modules, "mtquant.brokers.bridge.server", None)
    assert "pip install 'mtquant[bridge]'" in refused("bridge", "serve", "--token-file", token)


def commands() -> list[list[str]]:
    """The bash lines of the page."""
    fenced = re.findall(r"^```bash\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return [line.split("#")[0].split() for block in fenced for line in block.splitlines() if line]


@pytest.mark.timeout(900)  # six processes on what may be a busy machine
def test_the_page_is_true(desk):
    """Its commands, in their order: tokens, a bridge in the background, a check, an order."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    place = {"cwd": desk, "env": environment, "text": True}
    serving = None
    log = (desk / "serve.log").open("w")
    ran = []
    try:
        for words in commands():
            assert words[:2] == ["mtquant", "bridge"], words
            command = [sys.executable, "-m", *words]
            if words[2] == "serve":
                serving = subprocess.Popen(
                    [*command, "--port", "0"],
                    stdout=subprocess.PIPE,
                    stderr=log,
                    **place,
                )
                told = serving.stdout.readline()
                assert told, (desk / "serve.log").read_text()
                url = told.split()[-1]
            else:
                command = [url if word.startswith("http") else word for word in command]
                done = subprocess.run(command, capture_output=True, **place)
                assert done.returncode == 0, (words, done.stdout, done.stderr)
                ran.append(done.stdout)
        assert serving is not None and len(ran) == 4
        assert "round trip" in ran[-1] and "BAD" not in ran[-1]
        example(url, desk)
        arguments = Path(f"/proc/{serving.pid}/cmdline")
        if arguments.exists():
            assert read_token(desk / "trade.token").secret not in arguments.read_text()
        workers = children(serving.pid)
        serving.send_signal(signal.SIGKILL)
        serving.wait(10)
        wait_for(lambda: not any(map(alive, workers)), "its worker ends when the server is killed")
    finally:
        log.close()
        if serving is not None:
            serving.kill()
            serving.wait()
            serving.stdout.close()
    for name in ("read.token", "trade.token", "kill.token"):
        assert read_token(desk / name).secret not in (desk / "serve.log").read_text()


def example(url: str, desk: Path) -> None:
    """The page's Python, with the address of this test's bridge."""
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    names = {}
    exec(code.replace("http://127.0.0.1:8750", url), names)  # noqa: S102
    module = names["module"]
    assert isinstance(module, BridgeClient) and names["positions"]
    answer = names["answer"]
    assert outcome_of(answer, 1).value == "executed" and answer.request.magic == 7
    module.shutdown()


def children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in listed.read_text().split()] if listed.exists() else []


def alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


def wait_for(what, told: str) -> None:
    until = time.monotonic() + 20.0
    while not what():
        assert time.monotonic() < until, told
        time.sleep(0.05)
