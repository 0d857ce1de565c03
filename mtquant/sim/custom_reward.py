"""Rewards of the user's own: registered from Python, or offered by an installed distribution.

A reward is ``f(account, rules, gross, before) -> float``, told of the bar that has just closed. The
compiled step cannot call what is chosen at run time: it pays 0, and the simulator pays afterwards,
lane by lane, in a loop that is compiled around the function. The function is handed copies, so
that it can judge an account and not change it.

Distributions name their functions in the entry-point group ``mtquant.rewards``. Nothing is imported
before it is asked for, a built-in name is never overridden, and no text of a user's or a bundle's
is ever taken for a path to code.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from math import isfinite
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from mtquant.errors import ConfigError, unknown
from mtquant.jit import Record, Structured, numba_config, resolved
from mtquant.sim.records import ACCOUNT, RULES
from mtquant.sim.reward import REWARDS

GROUP = "mtquant.rewards"
NAME = r"[a-z][a-z0-9_]*"

RewardFunction = Callable[[Record, Record, float, float], float]
Float64 = npt.NDArray[np.float64]
Mine = npt.NDArray[np.bool_] | None

_registered: dict[str, CustomReward] = {}


@dataclass(frozen=True)
class CustomReward:
    """A reward that is not mtquant's own.

    Attributes:
        name: By which an env asks for it.
        function: ``f(account, rules, gross, before) -> float``, plain Python.
    """

    name: str
    function: RewardFunction


class Payer:
    """Pays the lanes of a simulator by a reward, after their step and before any starts anew."""

    def __init__(
        self, reward: CustomReward, account: Structured, rules: Structured, mine: Mine = None
    ) -> None:
        """Compile the reward.

        Args:
            reward: The user's own.
            account: ``ACCOUNT[N]``, whose sums of rewards grow.
            rules: ``RULES[1]``, such as :meth:`pay` will be given.
            mine: As :meth:`pay` will be given.

        Raises:
            ConfigError: It cannot be compiled.
        """
        told = np.zeros(1, ACCOUNT), np.zeros(1, RULES)
        self._name = reward.name
        self._paid = np.zeros(len(account))
        self._account, self._places = account, (*told, self._paid)
        lanes = mine, 0, 0
        problem: Any = numba.core.errors.NumbaError
        try:
            self._pay = resolved(_paying(reward.function), account, rules, *self._places, *lanes)
        except problem as error:
            reason = " ".join(str(error).split())[:300]
            raise ConfigError(f"reward '{reward.name}' cannot be compiled: {reason}") from error

    def pay(self, rules: Structured, mine: Mine, first: int, last: int) -> Float64:
        """Rewards of the bar just closed, float64 ``[N]``, right from lane ``first`` to ``last``.

        Args:
            rules: ``RULES[1]``.
            mine: Whether a lane is under these rules; None if all are.
            first: Lane.
            last: The one after the last lane.

        Raises:
            ConfigError: One is no finite number.
        """
        lane = self._pay(self._account, rules, *self._places, mine, first, last)
        if lane >= 0:
            raise ConfigError(
                f"reward '{self._name}' is {self._paid[lane]} at row "
                f"{self._account['cursor'][lane]} of the tape, in lane {lane}; it must be a finite "
                "number in every bar"
            )
        return self._paid


def register_reward(name: str, function: RewardFunction) -> None:
    """Make a reward known as ``reward: {kind: NAME}`` in this process.

    Args:
        name: Small letters, digits and ``_``; a name that was registered before is replaced.
        function: ``f(account, rules, gross, before) -> float``: records of the account at the
            bar's close and of the rules (see :mod:`mtquant.sim.records`), the held position times
            the bid-to-bid change, and equity at the close before, both account currency. A plain
            function of numbers; it is compiled here.

    Raises:
        ConfigError: The name is malformed or taken, or the function cannot be called so.
    """
    plain = getattr(function, "py_func", function)
    fault = _fault(name, plain)
    if name in REWARDS:
        fault = "has the name of one of mtquant's own"
    elif name in _installed():
        fault = f"has a name that {_installed()[name].value} offers"
    if fault:
        raise ConfigError(f"the reward '{name}' {fault}; nothing was registered")
    _registered[name] = CustomReward(name, plain)


def reward_names() -> list[str]:
    """All rewards that an env may ask for now."""
    return sorted({*REWARDS, *_registered, *_installed()})


def custom_reward(name: str) -> CustomReward | None:
    """The reward of that name; None for one of mtquant's own.

    Raises:
        ConfigError: There is none, or a distribution's cannot be used.
    """
    if name in REWARDS:
        return None
    if name not in {*_registered, *_installed()}:
        cure = "(one of your own is made known by mtquant.register_reward)"
        raise ConfigError(unknown("reward", name, reward_names(), cure=cure))
    return _registered[name] if name in _registered else _loaded(_installed()[name])


@cache
def _installed() -> dict[str, EntryPoint]:
    """Rewards of installed distributions by name; none of them is imported."""
    found: dict[str, EntryPoint] = {}
    for entry in entry_points(group=GROUP):
        if entry.name in {*REWARDS, *found}:
            raise ConfigError(
                f"the reward '{entry.name}' of {entry.value} has a name that is taken; rename it "
                "in its distribution, or uninstall that"
            )
        found[entry.name] = entry
    return found


@cache
def _loaded(entry: EntryPoint) -> CustomReward:
    """A distribution's reward, imported."""
    where = f"the reward '{entry.name}' of {entry.value}"
    try:
        function = entry.load()
    except Exception as problem:
        reason = " ".join(f"{type(problem).__name__}: {problem}".split())
        raise ConfigError(
            f"{where} cannot be imported ({reason}); repair or reinstall its distribution"
        ) from problem
    plain = getattr(function, "py_func", function)
    if fault := _fault(entry.name, plain):
        raise ConfigError(f"{where} {fault}; repair its distribution, or uninstall it")
    return CustomReward(entry.name, plain)


def _fault(name: str, function: object) -> str:
    """What keeps a function from being a reward of that name; empty if nothing does."""
    if not re.fullmatch(NAME, name):
        return "is not made of small letters, digits and '_'"
    if not inspect.isfunction(function):
        return "is no function"
    try:
        inspect.signature(function).bind(None, None, 0.0, 0.0)
    except TypeError:
        return "does not take (account, rules, gross, before)"
    return ""


@cache
def _paying(function: RewardFunction) -> Callable[..., int]:
    """A loop that pays lanes by ``function``; it lives in memory alone, so it is never stale."""
    reward = _compiled(function)

    def pay(
        accounts: Structured,
        rules: Structured,
        account: Structured,
        rule: Structured,
        paid: Float64,
        mine: Mine,
        first: int,
        last: int,
    ) -> int:
        for i in range(first, last):
            if mine is None or mine[i]:
                account[0], rule[0] = accounts[i], rules[0]
                paid[i] = reward(account[0], rule[0], accounts[i]["gross"], accounts[i]["before"])
                if not isfinite(paid[i]):
                    return i
                accounts[i]["reward_sum"] += paid[i]
        return -1

    loop: Callable[..., int] = _compiled(pay)
    return loop


def _compiled(function: Callable[..., Any]) -> Any:
    if numba_config.DISABLE_JIT:
        return function
    return numba.njit(error_model="numpy")(function)
