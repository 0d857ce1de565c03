"""Loop: a live runner, look after look, until somebody ends it.

A look finds a new closed bar or none. What the broker does not answer is said and tried again at
the next look, on a connection made anew; what only a person can settle ends the loop. Nothing that
safety needs happens here: the process may be killed at any instant.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from mtquant.errors import BrokerUnavailable, RiskHalt
from mtquant.live.kill_switch import Form, KillSwitch
from mtquant.live.runner import BarReport


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

    def on_bar(self) -> BarReport | None:
        """Look for a closed bar and act on it; raises BrokerUnavailable where nothing answers."""


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


def keep_looking(runner: Watched, hands: Hands, listener: Listener, every: float) -> None:
    """Look for a closed bar every so many seconds and act on it.

    Args:
        runner: Of :func:`mtquant.live.start.live_runner`, or on paper.
        hands: See there.
        listener: Hears of bars and troubles.
        every: Seconds between two looks.

    Raises:
        RiskHalt: Another account answers, or the journal cannot be written.
    """
    connected = True
    while not hands.over():
        try:
            if not connected:
                hands.reconnect()
                connected = True
            _heed_switch(runner, hands, listener)
            _heed_clock(runner, hands, listener)
            report = runner.on_bar()
        except BrokerUnavailable as problem:
            connected = False
            listener.on_trouble(str(problem))
        else:
            if report is not None:
                listener.on_report(report)
        hands.sleep(every)


def _heed_switch(runner: Watched, hands: Hands, listener: Listener) -> None:
    """Stop here what is stopped beside the terminal; a person arms both again."""
    form, why = hands.far_switch()
    if runner.switch is not None and form > runner.switch.read():
        _stop(runner, form, f"the bridge's switch is at {form.name}: {why}", listener)


def _heed_clock(runner: Watched, hands: Hands, listener: Listener) -> None:
    """Stop increases where the server's clock cannot be trusted; a person arms them again."""
    try:
        hands.check_clock()
    except RiskHalt as problem:
        _stop(runner, Form.REDUCE, str(problem), listener)


def _stop(runner: Watched, form: Form, told: str, listener: Listener) -> None:
    if runner.switch is not None:
        runner.switch.kill(form, told)
    listener.on_trouble(told)
