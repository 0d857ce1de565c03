"""Loop: the runners of an account, look after look, until somebody ends it.

A look finds a new closed bar or none. What the broker does not answer is said and tried again at
the next look, on a connection made anew; what only a person can settle ends the loop. Nothing that
safety needs happens here: the process may be killed at any instant.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from mtquant.errors import BrokerUnavailable, RiskHalt, Unwritable
from mtquant.live.kill_switch import Form, KillSwitch
from mtquant.live.report import BarReport


class Listener(Protocol):
    """Whoever shows or writes down what happens."""

    def on_report(self, report: BarReport) -> None:
        """A bar was decided."""

    def on_trouble(self, problem: str) -> None:
        """A look failed; the next one tries again."""


class Watched(Protocol):
    """Who looks for bars: a runner on an account, or on paper."""

    @property
    def switch(self) -> KillSwitch | None:
        """Its kill switch; None as long as it has no account to send anything to."""

    def look(self) -> None:
        """Look where the account stands; raises BrokerUnavailable where nothing answers."""

    def act(self) -> BarReport | None:
        """Act on a bar that has closed, if one has; raises BrokerUnavailable likewise."""

    def unanswered(self) -> None:
        """Hear that there is no connection."""


@dataclass(frozen=True)
class Hands:
    """What the loop does to the world.

    Attributes:
        sleep: Waits for seconds.
        reconnect: Makes the connection anew; raises BrokerUnavailable where there is none.
        check_clock: Looks at the server's clock; raises RiskHalt where it is not what it should be.
        over: Whether to stop looking.
        far_switch: What the switch beside a terminal elsewhere lets pass, and why.
    """

    sleep: Callable[[float], None]
    reconnect: Callable[[], object]
    check_clock: Callable[[], object]
    over: Callable[[], bool]
    far_switch: Callable[[], tuple[Form, str]] = lambda: (Form.ARMED, "")


def keep_looking(
    runners: Sequence[Watched], hands: Hands, listener: Listener, every: float
) -> None:
    """Look for a closed bar every so many seconds and act on it.

    All of an account look before one of them acts, for its limits bind the sum. What fails for one
    stops no other.

    Args:
        runners: Of :func:`mtquant.live.start.live_runners`, or one on paper; in their order.
        hands: See there.
        listener: Hears of bars and troubles.
        every: Seconds between two looks.

    Raises:
        RiskHalt: Another account answers.
    """
    connected = True
    while not hands.over():
        try:
            if not connected:
                hands.reconnect()
            _heed_switch(runners, hands, listener)
            _heed_clock(runners, hands, listener)
        except BrokerUnavailable as problem:
            connected = False
            listener.on_trouble(str(problem))
            for runner in runners:
                runner.unanswered()
        else:
            looked = [runner for runner in runners if _tried(runner.look, listener)]
            acted = [
                runner for runner in looked if _tried(partial(_act, runner, listener), listener)
            ]
            connected = len(acted) == len(runners)
        hands.sleep(every)


def _act(runner: Watched, listener: Listener) -> None:
    report = runner.act()
    if report is not None:
        listener.on_report(report)


def _tried(attempt: Callable[[], None], listener: Listener) -> bool:
    """Whether the broker has answered."""
    try:
        attempt()
    except Unwritable as problem:  # look on: a switch at FLATTEN closes all the same
        listener.on_trouble(str(problem))
    except BrokerUnavailable as problem:
        listener.on_trouble(str(problem))
        return False
    return True


def _heed_switch(runners: Sequence[Watched], hands: Hands, listener: Listener) -> None:
    """Stop here what is stopped beside the terminal; a person arms both again."""
    form, why = hands.far_switch()
    standing = [one.switch.read() for one in runners if one.switch is not None]
    if standing and form > min(standing):
        _stop(runners, form, f"the bridge's switch is at {form.name}: {why}", listener)


def _heed_clock(runners: Sequence[Watched], hands: Hands, listener: Listener) -> None:
    """Stop increases where the server's clock cannot be trusted; a person arms them again."""
    try:
        hands.check_clock()
    except RiskHalt as problem:
        _stop(runners, Form.REDUCE, str(problem), listener)


def _stop(runners: Sequence[Watched], form: Form, told: str, listener: Listener) -> None:
    for runner in runners:
        if runner.switch is not None:
            runner.switch.kill(form, told)
    listener.on_trouble(told)
