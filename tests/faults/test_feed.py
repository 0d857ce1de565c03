"""What the feed, the clock and the model may do, and what then is not done."""

from __future__ import annotations

import ast
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mtquant
from mtquant.brokers.base import Instrument
from mtquant.errors import DataError
from mtquant.live.answer import sound
from mtquant.live.decision import Guard
from mtquant.live.watch import Watch
from mtquant.live.window import BarWindow, sane
from mtquant.market.bars import Bars
from mtquant.market.timeframe import Timeframe
from mtquant.sim.records import POSITION, RULES

LIVE = Path(mtquant.__file__).parent / "live"
HOUR = 3600 * 10**9
FRIDAY = 1_704_470_400 * 10**9  # 2024-01-05 16:00 UTC


def bars_of(closes, first=FRIDAY):
    prices = np.asarray(closes, np.float64)
    columns = {"open": prices, "high": prices + 1, "low": prices - 1, "close": prices}
    flat = np.zeros(len(prices))
    time = first + HOUR * np.arange(len(prices))
    return Bars("XAUUSD", Timeframe.H1, time, **columns, volume=flat, spread=flat)


def changed(bars, row, **values):
    columns = dict(bars.columns())
    for name, value in values.items():
        columns[name] = columns[name].copy()
        columns[name][row] = value
    return Bars(bars.symbol, bars.timeframe, **columns)


@pytest.mark.parametrize(
    "wrong",
    [
        {"close": np.nan},
        {"open": 0.0},
        {"low": -1.0},
        {"high": np.inf},
        {"high": 99.0},
        {"low": 101.5},
        {"high": 90.0, "low": 110.0},
    ],
)
@pytest.mark.parametrize("row", [0, -1])
def test_C3_what_cannot_be_a_bar_is_refused(wrong, row):
    with pytest.raises(DataError, match="from the newest is"):
        sane(changed(bars_of([100.0] * 5), row, **wrong))
    assert len(sane(bars_of([100.0] * 5))) == 5


@pytest.mark.parametrize("times", [[0, 0, 1], [0, 2, 1]])
def test_C3_bars_that_do_not_go_forward_are_refused(times):
    flat = np.ones(3)
    with pytest.raises(DataError, match="not after the bar before it"):
        Bars("XAUUSD", Timeframe.H1, FRIDAY + HOUR * np.array(times), *([flat] * 6))


class Shown:
    """A broker that shows these bars."""

    def __init__(self, bars):
        self.bars = bars

    def closed_bars(self, instrument, timeframe, count, known_ns=None):
        return self.bars[-count:]


def test_C3_a_revised_bar_is_flagged_and_taken():
    whole = bars_of(np.arange(100.0, 130.0))
    shown = Shown(whole[:20])
    window = BarWindow(Instrument(None, "XAUUSD"), Timeframe.H1, 10)
    assert window.update(shown) and window.doubt == ""
    shown.bars = whole[:21]
    assert len(window.update(shown)) == 10 and window.doubt == ""
    shown.bars = changed(whole[:22], 20, close=120.5)
    seen = window.update(shown)
    assert window.doubt == "bars were revised" and seen.close[-2] == 120.5
    shown.bars = changed(whole[:23], 20, close=120.5)
    window.update(shown)
    assert window.doubt == "", "once"


def test_C3_bars_that_go_back_decide_nothing():
    whole = bars_of(np.arange(100.0, 130.0))
    shown = Shown(whole[:20])
    window = BarWindow(Instrument(None, "XAUUSD"), Timeframe.H1, 10)
    newest = window.update(shown).time[-1]
    shown.bars = whole[:19]
    assert window.update(shown).time[-1] == newest and window.doubt == "the newest bars are gone"


def watch_at(now, tick, spec, real=True):
    broker = SimpleNamespace(tick_time_ns=lambda instrument, now_ns: tick)
    instrument = Instrument(spec, "XAUUSD")
    return Watch(broker, (instrument,), Timeframe.H1, 600 * 10**9, real)


@pytest.fixture(scope="module")
def spec():
    import harness

    return harness.SPEC.model_copy(update={"hours": {"mon-fri": "01:00-23:00"}})


@pytest.mark.parametrize(
    ("now_h", "tick_h", "expected"),
    [
        (1.0, 1.0, None),
        (1.0, 0.8, Guard("no fresh quote", frozen=False, silent=True)),
        (1.0, 2.0, Guard("the server's clock is ahead", frozen=False)),
        (3.1, 3.1, Guard("the newest bar is missing", frozen=False)),
        (30.0, 6.9, Guard("the market is closed", frozen=True)),
    ],
)
def test_C1_C5_C7_what_stands_against_a_symbol(spec, now_h, tick_h, expected):
    """The newest closed bar opened on Friday at 16:00, and closed at hour 1 of this clock."""
    now, tick = FRIDAY + int(now_h * HOUR), FRIDAY + int(tick_h * HOUR)
    watch = watch_at(now, tick, spec)
    assert watch.doubts([bars_of([100.0])], now) == (expected,)
    assert watch.is_open(watch.instruments[0], now) == (expected is None or not expected.frozen)


def test_C7_the_first_quote_after_a_weekend_is_not_stale(spec):
    last = bars_of([100.0], FRIDAY + 4 * HOUR)  # 22:00 at the server, the last of the week
    monday = FRIDAY + 55 * HOUR + 10**9  # 01:00 there
    assert watch_at(monday, monday, spec).doubts([last], monday) == (None,)


@pytest.mark.parametrize("jump_h", [1, 24, -1, -24])
def test_C5_a_clock_that_jumps_decides_no_bar_twice_and_sends_nothing_old(hand, jump_h):
    one, offset = hand(), [0]
    true = one.terminal.now_ns
    clock = lambda: true() + offset[0]  # noqa: E731
    for part in (one.runner, one.runner._sender, one.runner._sender.checker, one.runner._feed):
        part.__dict__["_clock" if "_clock" in part.__dict__ else "clock"] = clock
    one.bar()
    offset[0] = jump_h * HOUR
    reports = [one.bar() for _ in range(3)]
    bars = [r.outlook.record.bar_time_ns for r in reports if r is not None]
    assert len(set(bars)) == len(bars)
    asked = [decision for r in reports if r for decision in r.outlook.decisions]
    assert all(abs(d.target) <= abs(d.held) or d.reason == "script" for d in asked)


@given(
    answer=st.one_of(
        st.lists(st.floats(width=32), max_size=4),
        st.floats(width=32),
        st.none(),
        st.text(max_size=5),
        st.binary(max_size=4),
    )
)
def test_D1_whatever_an_agent_answers_is_an_action_or_a_hold(answer):
    positions, rules = np.zeros(2, POSITION), np.zeros(1, RULES)[0]
    actions, faults, _ = sound(answer, positions, rules)
    assert actions.shape == (2,) and actions.dtype == np.float32
    assert all(np.isnan(a) or abs(a) <= 1.00001 for a in actions)
    fits = isinstance(answer, list) and len(answer) == 2
    good = fits and all(np.isnan(a) or abs(a) <= 1.0 for a in answer)
    if good:
        assert not faults and np.array_equal(actions, np.float32(answer), equal_nan=True)
    elif not fits:
        assert faults and np.isnan(actions).all()
    else:
        cut = [np.nan if np.isinf(a) else np.clip(a, -1.0, 1.0) for a in answer]
        assert faults and np.array_equal(actions, np.float32(cut), equal_nan=True)


BANNED = {"time", "datetime", "random", "uuid", "secrets", "threading", "asyncio"}


@pytest.mark.parametrize("path", sorted(LIVE.glob("*.py")), ids=lambda path: path.name)
def test_C8_nothing_in_the_room_reads_a_clock_or_chance(path):
    """Both are passed in; and no set is walked whose order a hash seed would change."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name for alias in node.names}
            module = getattr(node, "module", None) or ""
            assert not (names | {module}) & BANNED, f"line {node.lineno}"
        if isinstance(node, ast.Attribute):
            assert node.attr not in {"default_rng", "urandom", "getpid"}, node.lineno
        walked = [node.iter] if isinstance(node, ast.For | ast.comprehension) else []
        assert not any(isinstance(one, ast.Set | ast.SetComp) for one in walked)
        for one in walked:
            called = isinstance(one, ast.Call) and getattr(one.func, "id", "")
            assert called not in ("set", "frozenset")
