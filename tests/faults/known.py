"""Lives that are cut short: what another life has shown already is not lived again.

A plan's life is the undisturbed one until its first fault, so it begins at the bar of that. It ends
where it stands as a life stood that went on to a good end with the same faults to come: from there
on it is that life (:mod:`states` says what must be alike). All that it did until then is judged
as ever. What breaks something is played whole, from the first call to the last.
"""

from __future__ import annotations

import copy
import sqlite3
from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import harness
import states

from mtquant.brokers.terminal.fault_kinds import Fault, FaultPlan
from mtquant.live.journal import Journal
from mtquant.live.kill_switch import KillSwitch
from mtquant.live.writer import WriterLock

FILES = (".anchor", ".armed")
NEAR, SOMETIMES = 6, 8  # bars after a fault at which states are compared, and every so many later
State = tuple[bytes, tuple[tuple[int, Fault], ...]]


@dataclass(frozen=True)
class Saved:
    """An undisturbed life between two bars."""

    calls: int
    life: Any  # terminal and runner, as a copy that nothing touches
    parts: tuple[Any, ...]
    stayed: int
    files: dict[str, bytes]


class Known:
    """Lives of one stage, and the states from which they went on to a good end.

    Attributes:
        lived: Bars that were played.
        calls: Functions that the undisturbed life has called, by number.
    """

    def __init__(self, stage: harness.Stage, path: Path) -> None:
        """Live the undisturbed life.

        Args:
            stage: Of all lives.
            path: For journals; the undisturbed one's is kept beside it.
        """
        self.stage, self.path, self.lived = stage, path, 0
        self._saved: list[Saved] = []
        # By state the deals of others that the life had seen: B1 allows for them.
        self._good: dict[State, int] = {}
        self._unbroken: dict[State, int] = {}
        self._undisturbed: dict[bytes, int] = {}  # and the number of its next call
        self._live_undisturbed()

    def broken(self, plan: FaultPlan) -> list[str]:
        """What a plan breaks, in words."""
        played, stood, last = self._begin(plan), list[State](), 0
        joined: FaultPlan | None = None
        while not played.over:
            struck = len(played.terminal.struck)
            played.bar()
            self.lived += 1
            bar = played.terminal.account.forming
            last = bar if len(played.terminal.struck) > struck else last
            near = bar - last <= NEAR or bar % SOMETIMES == 0
            if played.parts is None or played.terminal.finished or not near:
                continue
            stood.append((states.state(played), _rest(played.terminal)))
            joined = self._joins(stood[-1])
            if joined is not None or self._leads_well(played, stood[-1]):
                break
        cut = not played.over
        life = played.end(whole=not cut)
        found = life.broken or (self.broken(joined) if joined else [])
        if found:
            return harness.play(self.stage, plan, self.path).broken or found
        if joined is None:
            self._note(played, stood, good=life.settled and not cut)
        return []

    def _joins(self, state: State) -> FaultPlan | None:
        """The rest of a plan by the calls of the undisturbed life, where it stands as that does."""
        where, rest = state
        if not rest or where not in self._undisturbed:
            return None
        return {self._undisturbed[where] + ahead: fault for ahead, fault in rest}

    def _leads_well(self, played: harness.Play, state: State) -> bool:
        foreign = played.terminal.foreign
        if self._good.get(state, foreign + 1) <= foreign:
            return True
        touched = harness.touched(played.terminal)
        return touched and self._unbroken.get(state, foreign + 1) <= foreign

    def _note(self, played: harness.Play, stood: list[State], *, good: bool) -> None:
        if stood and self._good.get(stood[-1], 10**9) <= played.terminal.foreign:
            good = True
        into = self._good if good else self._unbroken
        for state in stood:
            into[state] = min(into.get(state, 10**9), played.terminal.foreign)

    def _live_undisturbed(self) -> None:
        """To the end of the tail, so that a life may join it at any bar."""
        played = harness.Play(self.stage, {}, self.path.with_name("undisturbed.db"))
        stood = []
        while not played.terminal.finished:
            played.bar()
            if not played.terminal.finished:
                if played.terminal.account.forming <= self.stage.first + self.stage.bars + 4:
                    self._saved.append(_save(played))
                stood.append((states.state(played), ()))
                self._undisturbed[stood[-1][0]] = played.terminal._number
        self.calls, life = played.terminal.calls, played.end()
        assert not life.broken and life.settled, life.broken
        self._note(played, stood, good=True)

    def bars(self) -> list[range]:
        """Numbers of the undisturbed life's calls, bar by bar of the script but for its first."""
        begun = [one.calls for one in self._saved[: self.stage.bars + 1]]
        return [range(*one) for one in pairwise(begun)]

    def _begin(self, plan: FaultPlan) -> harness.Play:
        """At the bar of its first fault, or at the beginning."""
        first = min(plan, default=0)
        place = bisect_right([one.calls for one in self._saved], first)
        if place == 0:
            return harness.Play(self.stage, plan, self.path)
        return _go_on(self._saved[place - 1], self.stage, plan, self.path)


def _rest(terminal: harness.Watched) -> tuple[tuple[int, Fault], ...]:
    """What will still go wrong, and in how many calls it begins to."""
    now = terminal._number
    return tuple((n - now, one) for n, one in sorted(terminal._plan.items()) if n >= now)


def _shared(played: harness.Play) -> dict[int, Any]:
    """What all copies have in common, for it does not change."""
    terminal, (lock, journal, runner) = played.terminal, played.parts
    account, stage = terminal.account, played.stage
    things = (
        *(stage.env, stage.panel, stage.strategy, stage.instrument, stage.tape, played.limits),
        *(account.tape, account._feeds, account.instruments, terminal._feeds, runner._settings),
        *account.deals,
        *account.orders,
        *terminal.sent,
        *(held.request for held in account.history.holdings()),
        *(window._bars for window in runner._feed._windows),
        *(lock, journal, journal.counts, runner.switch),
    )
    return {id(one): one for one in things}


def _save(played: harness.Play) -> Saved:
    terminal, parts = played.terminal, played.parts
    shared = _shared(played)
    shared[id(terminal.journal)] = None
    files = {"": parts[1]._database.serialize()}
    files |= {name: Path(f"{played.path}{name}").read_bytes() for name in FILES}
    life = copy.deepcopy((terminal, parts[2]), shared)
    return Saved(terminal._number, life, parts, played._stayed, files)


def _go_on(saved: Saved, stage: harness.Stage, plan: FaultPlan, path: Path) -> harness.Play:
    """The saved life once more, with files of its own, and now with a plan."""
    played = harness.Play(stage, plan, path)
    for name, content in saved.files.items():
        Path(f"{path}{name}").write_bytes(content)
    lock, journal = WriterLock(path.with_name(path.name + ".lock")), Journal(path, durable=False)
    journal._chain.owner = "b"
    old_lock, old_journal, old_runner = saved.parts
    terminal, runner = saved.life
    played.terminal, played.parts = terminal, (old_lock, old_journal, runner)
    shared = _shared(played) | {
        id(old_lock): lock,
        id(old_journal): journal,
        id(old_journal.counts): journal.counts,
        id(old_runner.switch): KillSwitch(path),
    }
    played.terminal, runner = copy.deepcopy(saved.life, shared)
    played.parts, played._stayed = (lock, journal, runner), saved.stayed
    played.terminal._plan = dict(plan)
    played.terminal.journal = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    return played
