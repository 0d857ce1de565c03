"""Plans by name, so that they can be printed, replayed and sent to other processes."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from itertools import combinations
from pathlib import Path

import harness
import numpy as np
from known import Known

from mtquant.brokers.terminal.fault_kinds import Fault
from mtquant.brokers.terminal.fault_plans import CATALOGUE, DEATHS, random_plan, shrunk

NAMES: Mapping[str, Fault] = {**CATALOGUE, **DEATHS}
_NAMES = {fault: name for name, fault in NAMES.items()}
Plan = dict[int, str]
# One or two of each family, for pairs: all kinds would be a day's work.
TWENTY = (
    *("time-out, executed", "time-out, not executed", "executed a bar later"),
    *("executed 25 bars later", "part executed", "requote", "unknown retcode, executed"),
    *("market closed for three bars", "read fails", "positions are empty"),
    *("history lags a bar", "history lags 25 bars", "positions lag a bar", "feed frozen"),
    *("bar revised", "terminal silent", "another account", "somebody sells"),
    *("dies before", "dies after"),
)


@cache
def stage(bars: int = harness.BARS) -> harness.Stage:
    return harness.Stage(bars=bars)


@cache
def known(bars: int = harness.BARS) -> Known:
    """Lives of this process; their journals lie in memory where the machine has it."""
    return Known(stage(bars), folder() / f"journal{bars}.db")


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    memory = Path("/dev/shm")
    return tempfile.TemporaryDirectory(
        dir=memory if memory.is_dir() else None, ignore_cleanup_errors=True
    )


def folder() -> Path:
    """For journals, until the process ends."""
    return Path(_folder().name)


def faults_of(plan: Plan) -> dict[int, Fault]:
    """A plan's faults by the number of their call."""
    return {number: NAMES[name] for number, name in plan.items()}


def broken(plan: Plan, bars: int = harness.BARS) -> list[str]:
    """What a plan breaks, in words; its life is cut short where the rest is known."""
    return known(bars).broken(faults_of(plan))


def whole(plan: Mapping[int, Fault], bars: int = harness.BARS) -> list[str]:
    """What a plan breaks when it is played from the first call to the last."""
    return harness.play(stage(bars), plan, folder() / "whole.db").broken


def smallest(plan: Plan, bars: int = harness.BARS) -> tuple[str, list[str]]:
    """The command that replays the smallest part of a plan that fails still, and what it breaks."""
    least = shrunk(faults_of(plan), lambda part: bool(whole(part, bars)))
    return harness.told(least, _NAMES, bars), whole(least, bars)


def _named(plan: Mapping[int, Fault]) -> Plan:
    return {number: _NAMES[fault] for number, fault in plan.items()}


def single_plans(rng: np.random.Generator, count: int) -> Iterator[Plan]:
    """All single faults, or so many of them by chance."""
    yield from _named_sample(rng, count, 1)


def pair_plans(rng: np.random.Generator, count: int) -> Iterator[Plan]:
    """All pairs, or so many of them by chance."""
    yield from _named_sample(rng, count, 2)


def random_plans(rng: np.random.Generator, count: int) -> Iterator[Plan]:
    """Three to eight faults each."""
    for _ in range(count):
        yield _named(random_plan(rng, _calls(), tuple(NAMES.values())))


def all_pairs(bars: int, kinds: Collection[str]) -> Iterator[Plan]:
    """Every two faults of some kinds that begin in every two bars of a script, or in the same one.

    Each kind has one call a bar, another in each, so that it comes to all calls that it strikes.
    """
    calls, places = known(bars).calls, list[tuple[int, str]]()
    for bar, numbers in enumerate(known(bars).bars()):
        for turn, name in enumerate(kinds):
            fitting = [n for n in numbers if NAMES[name].applies(calls[n])]
            if fitting:
                places.append((fitting[(7 * bar + turn) % len(fitting)], name))
    for one, other in combinations(sorted(places), 2):
        if one[0] != other[0]:  # a call has one fault
            yield dict([one, other])


@cache
def _calls() -> dict[int, str]:
    """Of an undisturbed life, by number."""
    return dict(enumerate(harness.play(stage(), {}, folder() / "calls.db").calls))


def _named_sample(rng: np.random.Generator, count: int, size: int) -> Iterator[Plan]:
    """``count`` distinct plans of ``size`` faults, all of them where there are not more."""
    fitting = [
        (number, name)
        for number, function in _calls().items()
        for name, fault in NAMES.items()
        if fault.applies(function)
    ]
    if size == 1:
        chosen = rng.permutation(len(fitting))[:count]
        yield from (dict([fitting[k]]) for k in chosen)
        return
    seen: set[tuple[int, int]] = set()
    while len(seen) < count:
        one, other = sorted(int(k) for k in rng.integers(len(fitting), size=2))
        if fitting[one][0] != fitting[other][0] and (one, other) not in seen:
            seen.add((one, other))
            yield dict([fitting[one], fitting[other]])
