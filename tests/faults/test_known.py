"""A life that is cut short says what the whole one says."""

from __future__ import annotations

import harness
import pytest
import schedules
from known import Known

from mtquant.brokers.base import Outcome
from mtquant.brokers.terminal.fault_kinds import Call
from mtquant.brokers.terminal.order_faults import ForeignTrade
from mtquant.errors import BrokerUnavailable
from mtquant.live import sending
from mtquant.live.intents import IntentState
from mtquant.live.resolve import Resolver
from mtquant.live.runner import Runner

FEW = tuple(
    schedules.faults_of(
        dict(
            enumerate(
                (
                    "read fails",
                    "raises after",
                    "history lags a bar",
                    "feed frozen",
                    "somebody closes",
                )
            )
        )
    ).values()
)


def test_a_life_that_is_cut_short_is_a_fraction_of_the_whole_one(stage, tmp_path):
    known = Known(stage, tmp_path / "journal.db")
    calls = dict(list(enumerate(known.calls))[60:72])
    few = [{n: fault} for n, name in calls.items() for fault in FEW if fault.applies(name)]
    assert len(few) > 30 and not any(map(known.broken, few))
    assert known.lived < 6 * len(few)
    once = known.lived
    assert not any(map(known.broken, few))
    assert known.lived - once < 3 * len(few)  # what they come to is known now
    # One after the other: the second is met where the first has left nothing.
    once = known.lived
    assert not known.broken({40: FEW[0], 130: FEW[1]}) and known.lived - once < 9


def test_a_saved_life_goes_on_as_it_would_have(stage, tmp_path):
    """Its calls, its journal and its deals are those of the life that was never saved."""
    known = Known(stage, tmp_path / "journal.db")
    whole = harness.Play(stage, {}, tmp_path / "whole.db")
    played = known._begin({101: schedules.NAMES["comment rewritten"]})
    assert 90 < len(played.terminal.calls) <= 101
    played.terminal._plan = {}
    for one in (whole, played):
        while not one.over:
            one.bar()
    heads = [one.parts[1]._chain.head() for one in (whole, played)]
    assert heads[0] == heads[1] and whole.terminal.calls == played.terminal.calls
    deals = [[tuple(d) for d in one.terminal.account.deals] for one in (whole, played)]
    assert deals[0] == deals[1]
    assert not whole.end().broken and not played.end().broken


def _forget(monkeypatch):
    """An order without an answer was not executed."""
    monkeypatch.setitem(sending._STATE_OF, Outcome.AMBIGUOUS, IntentState.NOT_EXECUTED)


def _no_interval(monkeypatch):
    """An order that is open does not count."""
    open_steps = Resolver.open_steps
    monkeypatch.setattr(Resolver, "open_steps", lambda *args: open_steps(*args) * 0)


@pytest.mark.parametrize("hurry", [_forget, _no_interval])
def test_both_find_what_a_hurried_hand_breaks(stage, tmp_path, monkeypatch, hurry):
    hurry(monkeypatch)
    known, found = Known(stage, tmp_path / "journal.db"), []
    sends = [n for n, name in enumerate(known.calls) if name == "order_send"]
    names = ("time-out, executed", "executed 25 bars later", "requote", "dies after")
    for n in sends[3::6]:
        for name in names:
            plan = schedules.faults_of({n - 9: "bar revised", n: name})
            whole = harness.play(stage, plan, tmp_path / "whole.db").broken
            assert bool(known.broken(plan)) == bool(whole), (n, name)
            found.append(bool(whole))
    assert any(found) and not all(found)


@pytest.mark.parametrize("bars", [1, 5, 60])
def test_what_a_runner_bears_a_grudge_for_is_found(stage, tmp_path, monkeypatch, bars):
    """It remembers a failed read where no state names it, and trades of itself so much later."""
    on_bar, struck = Runner.on_bar, []

    def grudging(self):
        if getattr(self, "grudge", None) == self._clock():
            bought = ForeignTrade(1, magic=harness.TAG << 40)
            bought.strike(self._broker._module, Call("", (), {}, lambda: None))
            struck.append(bars)
        try:
            return on_bar(self)
        except BrokerUnavailable:
            self.grudge = self._clock() + bars * harness.HOUR
            raise

    known = Known(stage, tmp_path / "journal.db")
    plan = schedules.faults_of({70: "read fails"})
    assert not known.broken(plan)
    monkeypatch.setattr(Runner, "on_bar", grudging)
    cut = Known(stage, tmp_path / "journal.db").broken(plan)
    assert any(text.startswith("A1") for text in cut) and struck
