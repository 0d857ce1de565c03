"""A worker for tests, run as a process: a terminal by key, a hand of time, and ways to fail.

What it executes stands in a file, because its account dies with it.
"""

from __future__ import annotations

import os
import sys
import time
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from mtquant.brokers.bridge.worker import run_worker

TESTS = Path(__file__).parents[1]
FAILURES = ("hang before", "hang after", "die before", "die after", "raise", "print")


def load(name: str, path: Path) -> ModuleType:
    spec = spec_from_file_location(name, path)
    module = sys.modules[name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def toy(setup: dict[str, Any]) -> Any:
    """A terminal that fails as it is told, and then dies or hangs in the middle of an order."""
    from mtquant.brokers.terminal.simulated import SimulatedTerminal

    class Failing(SimulatedTerminal):
        failure = ""

        def order_send(self, request: Any, /) -> Any:
            failure, self.failure = self.failure, ""
            if failure == "hang before":
                time.sleep(3600)
            if failure == "die before":
                os._exit(9)
            if failure == "print":
                os.write(1, b"\x05\x00\x00\x00noise")  # no frame, whatever it looks like
            answer = super().order_send(request)
            with Path(setup["ledger"]).open("a") as ledger:
                ledger.write(f"{request.get('magic')}\n")
            if failure == "hang after":
                time.sleep(3600)
            if failure == "die after":
                os._exit(9)
            if failure == "raise":
                raise RuntimeError("after it was executed")
            return answer

    conftest = load("toy_terminal", TESTS / "brokers" / "conftest.py")
    made = conftest.make_terminal([100.0 + n for n in range(20)])
    made.__class__ = Failing
    return made


def world(setup: dict[str, Any]) -> Any:
    """The terminal of the paper-parity tests."""
    conftest = load("paper_world", TESTS / "live" / "conftest.py")
    made = conftest.World(
        conftest.make_env(), conftest.gold(setup["bars"]), conftest.ScriptedAgent()
    )
    return made.terminal()


def nothing(setup: dict[str, Any]) -> Any:
    raise LookupError("no terminal runs here")


TERMINALS = {"toy": toy, "world": world, "nothing": nothing}


def fail(terminal: Any, how: str) -> None:
    terminal.failure = how


def advance(terminal: Any) -> None:
    terminal.advance()


def now_ns(terminal: Any) -> int:
    return terminal.now_ns()


def finished(terminal: Any) -> bool:
    return terminal.finished


def explain(terminal: Any, reasons: list[int]) -> None:
    terminal.account.explain(reasons)


def account(terminal: Any) -> Any:
    return terminal.account.book.account[:1].copy()


def positions(terminal: Any) -> Any:
    return terminal.account.book.positions[0].copy()


def deals(terminal: Any) -> Any:
    book = terminal.account.book
    return book.deals[0, : int(book.account["n_deals"][0])].copy()


HANDS = (fail, advance, now_ns, finished, explain, account, positions, deals)

if __name__ == "__main__":
    run_worker(
        lambda setup: TERMINALS[setup["terminal"]](setup), {hand.__name__: hand for hand in HANDS}
    )
