"""The stage of the fault tests, and a life at hand that is stepped bar by bar."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import harness


class Hand:
    """A runner on the stage, a bar at a time; ``restart`` is a death and a birth."""

    def __init__(self, stage: Any, path: Path, plan: Any = None, **limits: Any) -> None:
        self.stage, self.path = stage, path
        self.limits = harness.LIMITS.model_copy(update=limits)
        self.terminal = stage.terminal(plan or {})
        self.terminal.initialize()
        self.parts: Any = harness._born(stage, self.terminal, path, self.limits)

    @property
    def runner(self) -> Any:
        return self.parts[-1]

    @property
    def journal(self) -> Any:
        return self.parts[1]

    @property
    def held(self) -> int:
        return int(self.terminal.account.book.positions["steps"][0, 0])

    @property
    def sends(self) -> int:
        return len(self.terminal.sent)

    def bar(self) -> Any:
        report = self.runner.on_bar()
        self.terminal.advance()
        return report

    def until_held(self) -> None:
        while not self.held:
            self.bar()

    def restart(self) -> None:
        self.close()
        self.parts = harness._born(self.stage, self.terminal, self.path, self.limits)

    def close(self) -> None:
        harness._dead(self.parts, self.terminal)


@pytest.fixture(scope="session")
def stage() -> Any:
    return harness.Stage()


@pytest.fixture(scope="session")
def hedging_stage() -> Any:
    return harness.Stage(hedging=True)


@pytest.fixture
def hand(stage: Any, tmp_path: Path) -> Any:
    made: list[Hand] = []

    def make(plan: Any = None, on: Any = stage, **limits: Any) -> Hand:
        made.append(Hand(on, tmp_path / f"{len(made)}.db", plan, **limits))
        return made[-1]

    yield make
    for one in made:
        one.close()
