"""A bridge as a child: it lives and dies with who started it, and tells its secrets to nobody."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mtquant.brokers import connect as connecting
from mtquant.brokers.accounts import AccountEntry, Credentials
from mtquant.brokers.base import Instrument
from mtquant.brokers.bridge.own import OwnBridge
from mtquant.brokers.mt5 import MT5Adapter
from mtquant.config.load import load_symbols
from mtquant.errors import BrokerUnavailable, ConfigError

GOLD = [Instrument(load_symbols()["XAUUSD"], "XAUUSD")]
SIMULATED = ("--simulated", "XAUUSD")


def gone(pid: int, seconds: float = 15.0) -> bool:
    """Whether a process ends in time; what nobody has waited for counts as ended."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


@pytest.fixture
def own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = OwnBridge(SIMULATED, tmp_path / "bridge", {"MTQUANT_TERMINAL_PASSWORD": "canary-81c2"})
    yield made
    made.shutdown()


@pytest.mark.skipif(sys.platform == "win32", reason="reads /proc")
def test_it_starts_is_replaced_when_it_dies_and_ends(own, tmp_path):
    account = MT5Adapter(own, GOLD).connect()
    assert account.equity > 0.0
    first = own._child
    command = Path(f"/proc/{first.pid}/cmdline").read_bytes()
    assert b"canary-81c2" not in command and own._token.secret.encode() not in command
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    assert own.account_info() is None, "nobody answers"
    assert MT5Adapter(own, GOLD).connect() == account, "connecting starts another"
    second = own._child
    assert second.pid != first.pid
    own.shutdown()
    assert second.poll() is not None
    for path in (tmp_path / "bridge").iterdir():
        content = path.read_bytes()
        assert b"canary-81c2" not in content and own._token.secret.encode() not in content


@pytest.mark.skipif(sys.platform == "win32", reason="reads /proc")
def test_it_does_not_outlive_a_parent_that_is_killed(tmp_path):
    program = (
        "import sys, time; from pathlib import Path\n"
        "from mtquant.brokers.bridge.own import OwnBridge\n"
        "own = OwnBridge(('--simulated', 'XAUUSD'), Path(sys.argv[1]))\n"
        "own.initialize(); print(own._child.pid, flush=True); time.sleep(600)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "bridge")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as parent:
        child = int(parent.stdout.readline())
        assert not gone(child, 0.2)
        parent.kill()
    assert gone(child)


def test_what_does_not_start_says_where_to_look(tmp_path):
    own = OwnBridge(("--simulated", "NOSUCH"), tmp_path / "bridge")
    with pytest.raises(BrokerUnavailable, match=r"bridge\.log' says why"):
        own.initialize()
    assert "NOSUCH" in (tmp_path / "bridge" / "bridge.log").read_text()


def entry(**changes):
    plain = {
        "name": "demo",
        "broker_id": "ic_markets",
        "login": 5,
        "server": "Broker-Demo",
        "is_demo": True,
        "terminal": r"C:\MT5\terminal64.exe",
        "password": "${PW}",
    }
    return AccountEntry.model_validate(plain | changes)


def test_a_terminal_here_is_traded_behind_a_bridge(tmp_path, monkeypatch):
    monkeypatch.setattr(connecting, "find_spec", lambda name: object())
    one = entry()
    credentials = one.credentials({"PW": "canary-81c2"})
    own = connecting.guarded_module(one, credentials, tmp_path)
    assert isinstance(own, OwnBridge)
    assert own._options == (
        *("--login", "5", "--server", "Broker-Demo"),
        *("--terminal", r"C:\MT5\terminal64.exe", "--password-env", connecting.PASSWORD),
    )
    assert own._hidden[connecting.PASSWORD] == "canary-81c2" and "canary" not in repr(own)


def test_where_there_is_no_terminal_nothing_is_started(tmp_path):
    with pytest.raises(ConfigError, match="has no MetaTrader5 module"):
        connecting.guarded_module(entry(), Credentials(), tmp_path)
