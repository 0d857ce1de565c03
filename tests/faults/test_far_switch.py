"""The switch beside a terminal elsewhere: a runner heeds it at every look, before anything else."""

from __future__ import annotations

import pytest

from mtquant.errors import BrokerUnavailable
from mtquant.live.kill_switch import Form, KillSwitch
from mtquant.live.loop import Hands, keep_looking


class Looks:
    """A loop over a life at hand, with a bridge's switch that the test moves."""

    def __init__(self, one) -> None:
        self.one, self.far = one, (Form.ARMED, "")
        self.troubles: list[str] = []
        self.reports = []
        self.left = 0

    def on_report(self, report) -> None:
        self.reports.append(report)

    def on_trouble(self, problem) -> None:
        self.troubles.append(problem)

    def far_switch(self):
        if isinstance(self.far, Exception):
            raise self.far
        return self.far

    def over(self) -> bool:
        self.left -= 1
        return self.left < 0

    def look(self, times) -> None:
        self.left = times
        terminal = self.one.terminal
        hands = Hands(
            lambda _: terminal.advance(), lambda: None, lambda: None, self.over, self.far_switch
        )
        keep_looking([self.one.runner], hands, self, 5.0)


@pytest.fixture
def looks(hand):
    one = hand()
    one.until_held()
    return Looks(one)


@pytest.mark.parametrize("form", [Form.REDUCE, Form.HARD])
def test_E1_a_switch_that_fell_beside_the_terminal_stops_the_runner(looks, form):
    one = looks.one
    looks.far = (form, "a kill token: enough")
    sends, most = one.sends, abs(one.held)
    looks.look(5)
    assert KillSwitch(one.path).read() is form and abs(one.held) <= most
    assert form is Form.REDUCE or one.sends == sends
    told = f"the bridge's switch is at {form.name}: a kill token: enough"
    assert KillSwitch(one.path).told() == told
    assert looks.troubles == [told], "said once"
    looks.far = (Form.ARMED, "")
    looks.look(2)
    assert KillSwitch(one.path).read() is form, "a person arms the runner, too"


def test_E1_at_flatten_the_runner_closes_what_it_holds(looks):
    looks.far = (Form.FLATTEN, "enough")
    looks.look(4)
    assert looks.one.held == 0 and looks.reports == []


def test_E3_a_bridge_that_does_not_say_decides_no_bar(looks):
    sends = looks.one.sends
    looks.far = BrokerUnavailable("the bridge says nothing of its kill switch")
    looks.look(4)
    assert looks.reports == [] and looks.one.sends == sends
    assert looks.troubles == ["the bridge says nothing of its kill switch"] * 4
    looks.far = (Form.ARMED, "")
    looks.look(2)
    assert len(looks.reports) == 2
