"""Bars of a terminal: closed ones, all of them, in UTC, whatever the pages and the loading."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mtquant.brokers.reading import Pace, Reads
from mtquant.brokers.source import MT5Source
from mtquant.brokers.terminal.simulated import SimulatedTerminal
from mtquant.config.load import load_symbols
from mtquant.errors import BrokerUnavailable, ConfigError, DataError
from mtquant.market.bars import Bars
from mtquant.market.clock import Clock
from mtquant.market.collecting import OVERLAP_BARS, examine_news, examine_span
from mtquant.market.importing import store_examined
from mtquant.market.mapper import SymbolMapper
from mtquant.market.source import FileSource
from mtquant.market.store import Store
from mtquant.market.symbols import SymbolSpec, SymbolTable
from mtquant.market.timeframe import Timeframe

H1 = Timeframe.H1
ROW = 700  # the last closed bar


class Module:
    """The terminal's functions, with a history that loads late, grows or shrinks as told."""

    def __init__(self, terminal: SimulatedTerminal) -> None:
        terminal.initialize()
        self.terminal = terminal
        self.missing: list[int] = []  # rows that the next answers leave out at their old end
        self.calls: list[tuple[int, int]] = []
        self.advance_every = 0

    def copy_rates_from_pos(self, symbol: str, timeframe: int, start: int, count: int) -> Any:
        self.calls.append((start, count))
        if self.advance_every and len(self.calls) % self.advance_every == 0:
            self.terminal.advance()
        rows = self.terminal.copy_rates_from_pos(symbol, timeframe, start, count)
        return rows[self.missing.pop(0) :] if self.missing and count > 1 else rows

    def __getattr__(self, name: str) -> Any:
        return getattr(self.terminal, name)


class Shop:
    """A source of gold at ic_markets and what it should give."""

    def __init__(self, terminal_of: Callable[..., Any], bars: Bars, **changes: Any) -> None:
        # Whole ticks of volume and spread, as a terminal has them.
        self.bars = Bars.from_frame(bars.to_frame().round({"volume": 0, "spread": 0}), "XAUUSD", H1)
        self.spec = load_symbols()["XAUUSD"].model_copy(update=changes)
        self.module = Module(terminal_of(self.bars, self.spec, ROW, "XAUUSD"))
        self.slept: list[float] = []

    def source(self, page_bars: int = 100) -> MT5Source:
        now = self.module.terminal.now_ns
        reads = Reads(self.module, Pace(now, self.slept.append, calls_per_second=1e9))
        mapper = SymbolMapper("ic_markets", lambda: SymbolTable([self.spec]))
        return MT5Source(reads, mapper, "demo", page_bars=page_bars)

    def expected(self, first: int = 0, last: int = ROW) -> Bars:
        return self.bars[first : last + 1]


@pytest.fixture
def shop(terminal_of, gold_bars) -> Shop:
    return Shop(terminal_of, gold_bars[:1000])


def same(got: Bars, wanted: Bars) -> None:
    assert got.fingerprint() == wanted.fingerprint()


@pytest.mark.parametrize("page_bars", [2, 3, 50, 100, 350, 351, 701, 702, 10_000])
def test_every_closed_bar_comes_once_and_the_forming_one_never(shop, page_bars):
    got = shop.source(page_bars).fetch(shop.spec, H1).to_bars()
    same(got, shop.expected())
    assert min(start for start, _ in shop.module.calls) == 1


@pytest.mark.parametrize("first", [0, 1, 350, 599, 600, 601, 699, ROW])
def test_a_span_begins_and_ends_where_it_is_told(shop, first):
    start, end = int(shop.bars.time[first]), int(shop.bars.time[650])
    source = shop.source()
    same(source.fetch(shop.spec, H1, start).to_bars(), shop.expected(first))
    if first < 650:
        same(source.fetch(shop.spec, H1, start, end).to_bars(), shop.expected(first, 649))


def test_only_the_pages_that_are_needed_are_read(shop):
    shop.source().fetch(shop.spec, H1, int(shop.bars.time[ROW - 150]))
    assert [start for start, _ in shop.module.calls] == [1, 100]


@pytest.mark.parametrize("every", [1, 2, 3])
def test_bars_that_close_while_pages_are_read_leave_no_hole(shop, every):
    shop.module.advance_every = every
    got = shop.source(100).fetch(shop.spec, H1).to_bars()
    same(got, shop.expected(last=ROW + len(got) - ROW - 1))
    assert len(got) > ROW


def test_history_that_still_loads_is_waited_for(shop):
    shop.module.missing = [400, 150]
    same(shop.source(10_000).fetch(shop.spec, H1).to_bars(), shop.expected())
    assert shop.slept.count(0.5) == 1 and shop.slept.count(1.0) == 1


def test_a_history_that_shrinks_between_two_pages_is_not_stored(shop):
    source = shop.source(100)

    def late(symbol: str, timeframe: int, start: int, count: int) -> Any:
        return shop.module.terminal.copy_rates_from_pos(
            symbol, timeframe, start + (300 if start > 1 else 0), count
        )

    shop.module.copy_rates_from_pos = late  # type: ignore[method-assign]
    with pytest.raises(BrokerUnavailable, match="changed while it was read"):
        source.fetch(shop.spec, H1)


def test_the_newest_closed_bar_is_told(shop):
    assert shop.source().latest(shop.spec, H1) == shop.bars.time[ROW]
    shop.module.terminal.advance()
    assert shop.source().latest(shop.spec, H1) == shop.bars.time[ROW + 1]


def test_the_symbols_that_the_broker_has(shop):
    assert shop.source().symbols() == ("XAUUSD",)


def test_what_is_not_there_is_refused(shop):
    source = shop.source()
    with pytest.raises(BrokerUnavailable, match="copy_rates_from_pos failed"):
        source.fetch(shop.spec, Timeframe.M5)
    with pytest.raises(DataError, match="name one with --timeframe"):
        source.fetch(shop.spec, None)
    with pytest.raises(DataError, match="no closed H1 bars of XAUUSD in that span"):
        source.fetch(shop.spec, H1, int(shop.bars.time[ROW]) + 1)
    other = SymbolMapper(
        "ic_markets",
        lambda: SymbolTable([shop.spec.model_copy(update={"brokers": {"ic_markets": "GOLD"}})]),
    )
    with pytest.raises(ConfigError, match="the broker has no symbol 'GOLD'"):
        MT5Source(source._reads, other, "demo").latest(shop.spec, H1)


@pytest.mark.parametrize("clock", ["utc", "ny+7", "eet", "utc+3", "utc-5"])
def test_times_are_utc_on_any_servers_clock_over_a_change_of_season(terminal_of, gold_bars, clock):
    shop = Shop(terminal_of, gold_bars[3000:4000], clock=clock)
    wall = Clock.parse(clock).from_utc(shop.bars.time)
    rows = shop.module.terminal.copy_rates_from_pos("XAUUSD", shop.module.TIMEFRAME_H1, 1, 5)
    assert rows["time"].tolist() == (wall[ROW - 4 : ROW + 1] // 10**9).tolist()
    same(shop.source().fetch(shop.spec, H1).to_bars(), shop.expected())


def test_bars_that_cross_both_changes_of_season(terminal_of, gold_bars):
    offsets = Clock.parse("ny+7").from_utc(gold_bars.time) - gold_bars.time
    changes = np.flatnonzero(np.diff(offsets))
    assert changes.size, "the test data has a change of season"
    first = max(int(changes[0]) - 300, 0)
    shop = Shop(terminal_of, gold_bars[first : first + 1000])
    same(shop.source().fetch(shop.spec, H1).to_bars(), shop.expected())


def test_an_hour_that_the_clock_showed_twice_is_left_out_and_said(terminal_of, toy_bars):
    """A market that never closes, on a clock with seasons: of the doubled hour one bar remains."""
    spec = load_symbols()["XAUUSD"].model_copy(update={"clock": "eet"})
    prices = [[2000.0, 2001.0, 1999.0, 2000.0]] * 12
    bars = toy_bars(prices, "XAUUSD", start="2024-10-26T20:00")
    terminal = terminal_of(bars, spec, 10, "XAUUSD")
    shop = object.__new__(Shop)
    shop.spec, shop.slept = spec, []
    terminal.initialize()
    shop.module = Module(terminal)

    class OneOfEach(Module):
        """A server keeps one bar a time."""

        def copy_rates_from_pos(self, symbol: str, timeframe: int, start: int, count: int) -> Any:
            rows = super().copy_rates_from_pos(symbol, timeframe, start, count)
            return rows[np.unique(rows["time"], return_index=True)[1]]

    shop.module = OneOfEach(terminal)
    raw = shop.source().fetch(spec, H1)
    assert len(raw) == 9 and (np.diff(raw.time) > 0).all()
    assert [finding.code for finding in raw.noted] == ["ambiguous_time"]


# --- into the store


def keep(shop: Shop, store: Store, examined: Any, replace: bool = False) -> Any:
    return store_examined(examined, store, replace=replace)


def now(shop: Shop) -> int:
    return shop.module.terminal.now_ns() + 60 * 10**9


def test_what_is_fetched_and_continued_equals_the_history(shop, tmp_path):
    store, source = Store(tmp_path), shop.source()
    start = int(shop.bars.time[200])
    first = keep(shop, store, examine_span(source, shop.spec, H1, start, None, now(shop)))
    same(store.get("XAUUSD", H1), shop.expected(200))
    assert first.added.added == ROW - 199
    for _ in range(7):
        shop.module.terminal.advance()
    news = keep(shop, store, examine_news(source, shop.spec, H1, store, now(shop)))
    assert (news.added.added, news.added.replaced) == (7, 0)
    assert len(news.bars) == OVERLAP_BARS + 7
    same(store.get("XAUUSD", H1), shop.expected(200, ROW + 7))
    again = keep(shop, store, examine_news(source, shop.spec, H1, store, now(shop)))
    assert again.added.added == 0
    assert len(store.read("XAUUSD", H1).sources) == 2, "nothing new, nothing written"


def revised(shop: Shop, terminal_of: Callable[..., Any], row: int) -> Shop:
    """The same broker after it has changed the close of a bar by a tick."""
    frame = shop.bars.to_frame()
    frame.loc[row, "high"] += 0.01
    changed = Bars.from_frame(frame, "XAUUSD", H1)
    return Shop(terminal_of, changed)


def test_a_revised_history_is_refused_until_told(shop, tmp_path, terminal_of):
    store = Store(tmp_path)
    start = int(shop.bars.time[200])
    keep(shop, store, examine_span(shop.source(), shop.spec, H1, start, None, now(shop)))
    before = store.get("XAUUSD", H1)
    later = revised(shop, terminal_of, ROW - 20)
    later.module.terminal.advance()
    news = examine_news(later.source(), later.spec, H1, store, now(later))
    when = shop.bars.when(ROW - 20).replace("T", " ")
    with pytest.raises(DataError, match=f"bar of {when} differs .* use --replace"):
        keep(later, store, news)
    same(store.get("XAUUSD", H1), before)
    done = keep(later, store, news, replace=True)
    assert done.added.replaced == OVERLAP_BARS and done.added.added == 1
    same(store.get("XAUUSD", H1), later.expected(200, ROW + 1))


def test_a_broker_that_does_not_reach_back_is_refused(shop, tmp_path):
    store = Store(tmp_path)
    keep(shop, store, examine_span(shop.source(), shop.spec, H1, 0, None, now(shop)))
    short = shop.module.terminal.copy_rates_from_pos

    def recent(symbol: str, timeframe: int, start: int, count: int) -> Any:
        return short(symbol, timeframe, start, min(count, 50 - min(start, 49)))

    shop.module.copy_rates_from_pos = recent  # type: ignore[method-assign]
    with pytest.raises(DataError, match="its history is another or too short"):
        examine_news(shop.source(), shop.spec, H1, store, now(shop))


def test_a_clock_that_is_wrong_by_hours_ahead_is_no_data(terminal_of, gold_bars):
    """The file says utc, the server is at UTC+3: its newest bars would be of the future."""
    shop = Shop(terminal_of, gold_bars[:1000])
    wrong = shop.spec.model_copy(update={"clock": "utc"})
    examined = examine_span(shop.source(), wrong, H1, 0, None, now(shop))
    with pytest.raises(DataError, match="future"):
        examined.accept()


def test_a_span_after_the_newest_bar_is_refused(shop):
    with pytest.raises(DataError, match="begin earlier"):
        examine_span(shop.source(), shop.spec, H1, int(shop.bars.time[900]), None, now(shop))


def test_a_file_is_a_source_too(tmp_path, gold_bars):
    spec: SymbolSpec = load_symbols()["XAUUSD"]
    bars = Bars.from_frame(gold_bars[:300].to_frame(), "XAUUSD", H1)
    path = tmp_path / "gold.csv"
    frame = bars.to_frame()
    frame["symbol"] = "XAUUSD"
    frame.to_csv(path, index=False)
    source = FileSource(path)
    assert source.symbols() == ("XAUUSD",)
    assert source.latest(spec, None) == bars.time[-1]
    start, end = int(bars.time[40]), int(bars.time[90])
    same(source.fetch(spec, None, start, end).to_bars(), bars[40:90])
    same(source.fetch(spec, H1).to_bars(), bars)
    store = Store(tmp_path / "store")
    stored = store_examined(examine_span(source, spec, H1, start, end, 2**62), store)
    assert stored.added.added == 50
    news = examine_news(source, spec, H1, store, 2**62)
    assert len(news.raw) == 260
