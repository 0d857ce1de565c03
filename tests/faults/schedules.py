"""Plans by name, so that they can be printed, replayed and sent to other processes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import harness
import numpy as np

from mtquant.brokers.terminal.fault_kinds import Fault
from mtquant.brokers.terminal.fault_plans import CATALOGUE, DEATHS, random_plan, shrunk

NAMES: Mapping[str, Fault] = {**CATALOGUE, **DEATHS}
_NAMES = {fault: name for name, fault in NAMES.items()}
Plan = dict[int, str]


@cache
def stage(hedging: bool = False) -> harness.Stage:
    return harness.Stage(hedging)


def broken(plan: Plan, path: Path, *, hedging: bool = False) -> list[str]:
    """What a plan breaks, in words."""
    faults = {number: NAMES[name] for number, name in plan.items()}
    return harness.play(stage(hedging), faults, path).broken


def smallest(plan: Plan, path: Path, *, hedging: bool = False) -> tuple[str, list[str]]:
    """The command that replays the smallest part of a plan that fails still, and what it breaks."""

    def breaks(part: Mapping[int, Fault]) -> list[str]:
        return broken(_named(part), path, hedging=hedging)

    faults = {number: NAMES[name] for number, name in plan.items()}
    least = _named(shrunk(faults, lambda part: bool(breaks(part))))
    pairs = ",".join(f"{number}={name}" for number, name in sorted(least.items()))
    book = " --hedging" if hedging else ""
    command = f"python benchmarks/fault_schedules.py --replay '{pairs}'{book}"
    return command, broken(least, path, hedging=hedging)


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


@cache
def _calls() -> dict[int, str]:
    """Of an undisturbed life, by number."""
    with tempfile.TemporaryDirectory() as folder:
        return dict(enumerate(harness.play(stage(), {}, Path(folder) / "journal.db").calls))


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
