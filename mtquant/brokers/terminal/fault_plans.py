"""Plans of faults: every single one, every pair, random ones, and the smallest that still fails.

They are made from the calls of an undisturbed run (``FaultyTerminal.calls``), so that each fault
meets a call that it applies to. In a disturbed run the calls shift; a fault then waits for the next
one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import combinations
from types import MappingProxyType

import numpy as np

from mtquant.brokers import constants as mt5
from mtquant.brokers.terminal.fault_kinds import POSITIONS, QUOTES, WORKING, Fault, FaultPlan
from mtquant.brokers.terminal.lasting_faults import (
    FOR_EVER,
    AccountSwitched,
    ClockJump,
    Frozen,
    LateHistory,
    LatePositions,
    Outage,
    Refusing,
    TradingOff,
)
from mtquant.brokers.terminal.order_faults import (
    Answered,
    CommentRewritten,
    ForeignClose,
    ForeignTrade,
    Late,
    Part,
    Unanswered,
)
from mtquant.brokers.terminal.read_faults import Dies, Dropped, Emptied, Raises, SpoiltBars

UNKNOWN_RETCODE = 10_999

CATALOGUE: Mapping[str, Fault] = MappingProxyType(
    {
        # An order or a change, and its answer.
        "time-out, not executed": Unanswered(),
        "time-out, executed": Unanswered(executed=True),
        "call failed, not executed": Unanswered(code=mt5.RES_E_FAIL),
        "call failed, executed": Unanswered(executed=True, code=mt5.RES_E_FAIL),
        "executed before the next call": Late(bars=0),
        "executed two calls later": Late(bars=0, calls=2),
        "executed a bar later": Late(bars=1),
        "executed 25 bars later": Late(bars=25, calls=1),
        "placed, executed a bar later": Late(bars=1, code=0),
        "part executed": Part(0.5),
        "almost nothing executed": Part(0.01),
        "comment rewritten": CommentRewritten(),
        "requote": Answered(mt5.TRADE_RETCODE_REQUOTE),
        "price changed": Answered(mt5.TRADE_RETCODE_PRICE_CHANGED),
        "rejected": Answered(mt5.TRADE_RETCODE_REJECT),
        "no money": Answered(mt5.TRADE_RETCODE_NO_MONEY),
        "server time-out, not executed": Answered(mt5.TRADE_RETCODE_TIMEOUT),
        "server time-out, executed": Answered(mt5.TRADE_RETCODE_TIMEOUT, executed=True),
        "locked, executed": Answered(mt5.TRADE_RETCODE_LOCKED, executed=True),
        "connection, executed": Answered(mt5.TRADE_RETCODE_CONNECTION, executed=True),
        "unknown retcode": Answered(UNKNOWN_RETCODE),
        "unknown retcode, executed": Answered(UNKNOWN_RETCODE, executed=True),
        "market closed for three bars": Refusing(bars=3),
        "requotes without end": Refusing(bars=FOR_EVER, retcode=mt5.TRADE_RETCODE_REQUOTE),
        "trading off in the terminal": TradingOff(bars=2),
        "trading off at the server": TradingOff(bars=2, where="server"),
        "trading off for programs": TradingOff(bars=2, where="api"),
        # A read.
        "read fails": Dropped(),
        "positions fail": Dropped(functions=POSITIONS),
        "history or bars are empty": Emptied(),
        "positions are empty": Emptied(POSITIONS),
        "working orders are empty": Emptied(WORKING),
        "history lags two calls": LateHistory(bars=0, calls=2),
        "history lags a bar": LateHistory(bars=1),
        "history lags 25 bars": LateHistory(bars=25),
        "positions lag a bar": LatePositions(bars=1),
        "feed frozen": Frozen(bars=3),
        "quote frozen, bars move": Frozen(bars=3, functions=QUOTES),
        "server clock an hour ahead": ClockJump(),
        "server clock a day back": ClockJump(seconds=-86_400),
        "bar duplicated": SpoiltBars("duplicate"),
        "bars out of order": SpoiltBars("reorder"),
        "bar revised": SpoiltBars("revise", back=1),
        "bar missing": SpoiltBars("gap", back=1),
        "bar of zeros": SpoiltBars("zero"),
        "bar not a number": SpoiltBars("nan"),
        "bar negative": SpoiltBars("negative"),
        "high below low": SpoiltBars("crossed"),
        # Any call.
        "raises before": Raises(),
        "raises after": Raises(after=True),
        "terminal silent": Outage(bars=2),
        "another account": AccountSwitched(bars=0, calls=6),
        "another account for good": AccountSwitched(bars=FOR_EVER),
        "somebody buys": ForeignTrade(1),
        "somebody sells": ForeignTrade(-3),
        "another program buys": ForeignTrade(2, magic=7 << 40),
        "somebody closes": ForeignClose(),
        "somebody closes half": ForeignClose(0.5),
    }
)
"""One of each kind, by a name for reports; deaths of the process stand apart in ``DEATHS``."""

DEATHS: Mapping[str, Fault] = MappingProxyType(
    {"dies before": Dies(), "dies after": Dies(after=True)}
)

Calls = Mapping[int, str]
"""Functions by the number of their call, all or some of a run: ``dict(enumerate(t.calls))``."""


def singles(
    calls: Calls, faults: Collection[Fault] = tuple(CATALOGUE.values())
) -> Iterator[FaultPlan]:
    """Every fault at every call that it applies to."""
    for number, function in calls.items():
        for fault in faults:
            if fault.applies(function):
                yield {number: fault}


def pairs(
    calls: Calls, faults: Collection[Fault] = tuple(CATALOGUE.values())
) -> Iterator[FaultPlan]:
    """Every two faults at every two calls that they apply to."""
    for (first, one), (second, other) in combinations(calls.items(), 2):
        for fault in faults:
            if fault.applies(one):
                for later in faults:
                    if later.applies(other):
                        yield {first: fault, second: later}


def random_plan(
    rng: np.random.Generator,
    calls: Calls,
    faults: Collection[Fault] = tuple(CATALOGUE.values()),
    count: tuple[int, int] = (3, 8),
) -> FaultPlan:
    """A few faults at random calls; a call that none applies to stays undisturbed.

    Args:
        rng: Where chance comes from.
        calls: Of an undisturbed run.
        faults: To choose from.
        count: Least and most of them.
    """
    numbers = list(calls)
    wanted = min(int(rng.integers(count[0], count[1] + 1)), len(numbers))
    plan = {}
    for place in sorted(rng.choice(len(numbers), wanted, replace=False)):
        number = numbers[place]
        fitting = [fault for fault in faults if fault.applies(calls[number])]
        if fitting:
            plan[number] = fitting[int(rng.integers(len(fitting)))]
    return plan


def shrunk(plan: FaultPlan, fails: Callable[[FaultPlan], bool]) -> FaultPlan:
    """A smallest part of a failing plan that fails still: none of its faults can be left out.

    Args:
        plan: Fails.
        fails: Plays a plan and says whether it fails.
    """
    smaller = True
    while smaller:
        smaller = False
        for number in plan:
            rest = {key: fault for key, fault in plan.items() if key != number}
            if fails(rest):
                plan, smaller = rest, True
                break
    return plan
