"""Paper through the bridge is paper: worker process, HTTP and client change no bit of a run."""

from __future__ import annotations

import json
import sys
from functools import partial
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mtquant.brokers.bridge.client import BridgeClient
from mtquant.brokers.bridge.process import WorkerProcess
from mtquant.brokers.bridge.supervisor import Patience
from mtquant.brokers.bridge.wire import read_array

BROKERS = Path(__file__).parents[1] / "brokers"


class FarTerminal:
    """A terminal in another process: its functions over HTTP, its hand of time beneath that.

    The hand is a function of the test's own worker program; no route leads to it.
    """

    def __init__(self, bridge: Any) -> None:
        self._hand = bridge.supervisor.call
        self._module: BridgeClient = bridge.client()
        self.account = self
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        self.calls += 1
        return getattr(self._module, name)

    def _value(self, name: str) -> Any:
        return json.loads(self._hand(name, {}).body)["answer"]

    def _rows(self, name: str) -> Any:
        reply = self._hand(name, {})
        return read_array(json.loads(reply.body), reply.rows)

    @property
    def finished(self) -> bool:
        return self._value("finished")

    def now_ns(self) -> int:
        return self._value("now_ns")

    def advance(self) -> None:
        self._hand("advance", {})

    def explain(self, reasons: Any) -> None:
        self._hand("explain", {"reasons": [int(reason) for reason in reasons]})

    @property
    def book(self) -> Any:
        return SimpleNamespace(
            account=self._rows("account"),
            positions=self._rows("positions")[None],
            deals=self._rows("deals")[None],
        )


BARS = 5_000


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_the_bridge_changes_no_bit(make_world, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(BROKERS))
    bridges = import_module("bridges")
    program = [sys.executable, str(BROKERS / "worker_program.py")]
    start = partial(WorkerProcess, program, {"terminal": "world", "bars": BARS}, 120.0)
    patience = Patience(waiting=100.0, call=60.0)
    bridge = bridges.Bridge(start, tmp_path / "bridge", patience=patience)
    world = make_world(BARS)
    backtest = world.backtest()
    terminal = FarTerminal(bridge)
    paper = world.paper(terminal, tmp_path / "journal.db")
    terminal.shutdown()
    bridge.close()
    assert len(paper.equity) == len(backtest.equity) > BARS - 100
    assert paper.equity == backtest.equity
    assert paper.deals == backtest.deals and len(paper.deals) > BARS / 25
    assert paper.steps == backtest.steps and paper.levels == backtest.levels
    assert terminal.calls > 5 * len(paper.equity), "it went over HTTP"
