"""Plans by name, so that they can be printed, replayed and sent to other processes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import company
import harness
import numpy as np

from mtquant.brokers.terminal.fault_kinds import Fault
from mtquant.brokers.terminal.fault_plans import CATALOGUE, DEATHS, random_plan, shrunk

NAMES: Mapping[str, Fault] = {**CATALOGUE, **DEATHS}
_NAMES = {fault: name for name, fault in NAMES.items()}
Plan = dict[int, str]


_STAGES: Mapping[str, Callable[[], Any]] = {
    "brief": lambda: harness.Stage(bars=6, tail=40),
    "netting": harness.Stage,
    "hedging": lambda: harness.Stage(hedging=True),
    "company": company.Stage,
}
#: One strategy on a netting account (briefly: it opens, turns, reduces and closes once) or on a
#: hedging one, or two on a netting one.
STAGES = tuple(_STAGES)


@cache
def _stage(on: str) -> Any:
    return _STAGES[on]()


def life(faults: Mapping[int, Fault], path: Path, on: str) -> harness.Life:
    """A life under a plan; ``path`` is its journal's, or that of a folder of journals."""
    play = company.play if on == "company" else harness.play
    return play(_stage(on), faults, path)


def broken(plan: Plan, path: Path, *, on: str = "netting") -> list[str]:
    """What a plan breaks, in words."""
    return life({number: NAMES[name] for number, name in plan.items()}, path, on).broken


def smallest(plan: Plan, path: Path, *, on: str = "netting") -> tuple[str, list[str]]:
    """The command that replays the smallest part of a plan that fails still, and what it breaks."""

    def breaks(part: Mapping[int, Fault]) -> list[str]:
        return broken(_named(part), path, on=on)

    faults = {number: NAMES[name] for number, name in plan.items()}
    least = _named(shrunk(faults, lambda part: bool(breaks(part))))
    pairs = ",".join(f"{number}={name}" for number, name in sorted(least.items()))
    command = f"python benchmarks/fault_schedules.py --on {on} --replay '{pairs}'"
    return command, broken(least, path, on=on)


def _named(plan: Mapping[int, Fault]) -> Plan:
    return {number: _NAMES[fault] for number, fault in plan.items()}


def single_plans(rng: np.random.Generator, count: int, on: str = "netting") -> Iterator[Plan]:
    """All single faults, or so many of them by chance."""
    yield from _named_sample(rng, count, 1, on)


def pair_plans(rng: np.random.Generator, count: int, on: str = "netting") -> Iterator[Plan]:
    """So many pairs by chance."""
    yield from _named_sample(rng, count, 2, on)


def all_pairs(among: range, on: str = "netting") -> Iterator[Plan]:
    """Whatever may go wrong at two of these calls."""
    faults = [one for one in _fitting(on) if one[0] in among]
    return (dict(pair) for pair in combinations(faults, 2) if pair[0][0] != pair[1][0])


def random_plans(rng: np.random.Generator, count: int, on: str = "netting") -> Iterator[Plan]:
    """Three to eight faults each."""
    for _ in range(count):
        yield _named(random_plan(rng, calls(on), tuple(NAMES.values())))


@cache
def calls(on: str = "netting") -> dict[int, str]:
    """Of an undisturbed life, by number."""
    with tempfile.TemporaryDirectory() as folder:
        return dict(enumerate(life({}, Path(folder) / "journal.db", on).calls))


@cache
def _fitting(on: str) -> list[tuple[int, str]]:
    """All single faults: call and kind."""
    return [
        (number, name)
        for number, function in calls(on).items()
        for name, fault in NAMES.items()
        if fault.applies(function)
    ]


def _named_sample(rng: np.random.Generator, count: int, size: int, on: str) -> Iterator[Plan]:
    """``count`` distinct plans of ``size`` faults; all single ones where there are not more."""
    fitting = _fitting(on)
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
