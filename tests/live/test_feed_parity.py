"""Paper on a feed is paper on the file of the same bars: fills and equity, bit for bit."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest

from mtquant.brokers import feed as feeds
from mtquant.brokers.base import Instrument
from mtquant.brokers.feed import BarFeed, ReadingModule
from mtquant.brokers.reading import Pace, Reads
from mtquant.brokers.terminal.growth import seen_at
from mtquant.brokers.terminal.simulated import SimulatedTerminal
from mtquant.brokers.terminal.state import AccountTerms
from mtquant.config.assemble import assemble_tape, look_back
from mtquant.errors import ConfigError, RiskHalt
from mtquant.live.journal import Journal
from mtquant.live.loop import Hands, keep_looking
from mtquant.live.paper import paper_runner
from mtquant.live.paper_account import Making, PaperAccount, Watcher
from mtquant.live.paper_feed import FeedPaper
from mtquant.live.paper_record import PaperRecord
from mtquant.market.bars import Bars
from mtquant.market.clock import DAY_NS, HOUR_NS, SECOND_NS
from mtquant.market.timeframe import Timeframe
from mtquant.risk.reasons import STOP, TAKE_PROFIT
from mtquant.sim.records import DEAL

REASON, SWAP = map((DEAL.names or ()).index, ("reason", "swap"))
FIVE_SECONDS = 5 * SECOND_NS


class Broker:
    """The terminal of a real account, a bar further at each look, and what looks at it."""

    def __init__(self, world, folder, **facts):
        first, last = world.rows
        specs = (*world.specs, *world.context_specs)
        terms = AccountTerms(777.0, login=42, server="Real")
        self.world, self.folder, self.facts = world, folder, {"bundle": "b", **facts}
        self.module = SimulatedTerminal(
            world.panel, specs, world.tape(), rows=(first - 1, last), terms=terms
        )
        assert self.module.initialize()
        self.now_ns = 0
        self.troubles, self.reports = [], []
        self.equity, self.deals, self.levels, self.steps = [], [], [], []
        self.silent = 0

    def rates(self, *asked):
        if self.silent:
            self.silent -= 1
            raise OSError("the network is down")
        return self.module.copy_rates_from_pos(*asked)

    def take(self, book):
        self.equity.append(float(book.account["equity"][0]))
        self.steps.append(book.positions["steps"][0].tolist())
        self.levels.append(int(book.account["level"][0]))
        for deal in book.deals[0, : int(book.account["n_deals"][0])]:
            self.deals.append(tuple(deal[name].item() for name in DEAL.names))

    def level(self, level):
        if self.levels:
            self.levels[-1] = level

    def making(self):
        world = self.world
        rules = world.env.rules(reward_scale=1.0)

        def tape_of(panel):
            nothing = np.zeros((len(panel), 0), np.float32)
            return assemble_tape(world.env, panel, world.specs, nothing, rules)

        return Making(
            self.facts,
            world.specs,
            world.context_specs,
            Timeframe.H1,
            tape_of,
            look_back(world.env) + 3,
            AccountTerms(world.env.account.capital),
        )

    def run(self, bars=10**9, wait_ns=FIVE_SECONDS):
        """One life of a paper process, of so many looks."""
        self.equity, self.deals, self.levels, self.steps = [], [], [], []
        self.folder.mkdir(exist_ok=True)
        module = ReadingModule(self.module)
        module.copy_rates_from_pos = self.rates
        reads = Reads(module, Pace(lambda: self.now_ns, lambda s: None, 1e9, retries=0))
        specs = (*self.world.specs, *self.world.context_specs)
        instruments = [Instrument(spec, spec.name) for spec in specs]
        traded = len(self.world.specs)
        feed = BarFeed(reads, instruments, traded, Timeframe.H1, lambda: self.now_ns)
        journal = Journal(self.folder / "journal.db", durable=False)
        record = PaperRecord(self.folder / "account.jsonl")
        try:
            self.live(feed, journal, record, bars, wait_ns)
        finally:
            journal.close()
            record.close()

    def live(self, feed, journal, record, bars, wait_ns):
        self.account = PaperAccount(record, self.making(), Watcher(self.take, self.level))
        strategy, looks = self.world.strategy(), [0]

        def start(terminal):
            return paper_runner(terminal, journal, strategy, "test", boot_id=str(self.now_ns))

        def sleep(seconds):
            self.now_ns += wait_ns
            looks[0] += 1
            if looks[0] < bars:
                self.module.advance()

        hands = Hands(sleep, lambda: None, lambda: None, self.over(looks, bars))
        paper = FeedPaper(feed, self.account, start, strategy.bars_kept, self.on_trouble)
        keep_looking([paper], hands, self, 5.0)

    def over(self, looks, bars):
        return lambda: self.module.finished or looks[0] >= bars

    def on_report(self, report):
        self.reports.append(report)

    def on_trouble(self, problem):
        self.troubles.append(problem)

    def own_deals(self):
        """With the rows of the whole history."""
        moved = self.world.rows[0] - self.account.first
        return [(deal[0] + moved, *deal[1:]) for deal in self.deals]


def assert_same(broker, run):
    count = len(broker.equity)
    last = broker.world.rows[0] + count
    assert count == len(run.equity) - 1, "the last bar forms for ever"
    assert broker.equity == run.equity[:count]
    assert broker.levels[:-1] == run.levels[: count - 1]
    assert broker.own_deals() == [deal for deal in run.deals if deal[0] <= last]


def assert_same_columns(broker):
    """All that a bar adds comes from a window, and is what whole history gives."""
    tape, whole = broker.account.terminal.account.tape, broker.world.tape()
    rows = slice(broker.account.first, len(tape.market) - 1)
    moved = broker.world.rows[0] - broker.account.first
    theirs = slice(rows.start + moved, rows.stop + moved)
    for name in set(tape.market.dtype.names) - {"nights"}:
        assert np.array_equal(tape.market[name][rows], whole.market[name][theirs]), name
    assert np.array_equal(tape.day[rows], whole.day[theirs])
    if len(whole.correlation):
        assert np.array_equal(tape.correlation[rows], whole.correlation[theirs])
        assert np.ptp(tape.correlation[rows]) > 0.1


def test_stops_swaps_and_weekends_as_on_the_file_and_in_the_backtest(protected, tmp_path):
    world = protected(500)
    backtest, seen = world.backtest(), world.agent.seen
    on_file = world.paper(world.terminal(), tmp_path / "file.db")
    world.agent.seen = []
    broker = Broker(world, tmp_path / "feed")
    broker.run()
    assert not broker.troubles
    assert_same(broker, backtest)
    assert_same(broker, on_file)
    assert_same_columns(broker)
    assert world.agent.seen == seen[: len(world.agent.seen)] and len(world.agent.seen) > 400
    reasons = {deal[REASON] for deal in broker.deals}
    assert {STOP, TAKE_PROFIT} <= reasons and any(deal[SWAP] for deal in broker.deals)
    assert np.diff(world.panel.time).max() > 2 * DAY_NS, "a weekend lies in between"


def test_a_restart_goes_on_with_the_account(protected, tmp_path):
    world = protected(300)
    whole = Broker(world, tmp_path / "whole")
    whole.run()
    cut = Broker(world, tmp_path / "cut")
    for _ in range(3):
        cut.run(bars=70)
    cut.run()
    assert cut.equity == whole.equity and cut.deals == whole.deals and len(cut.deals) > 50
    assert cut.account.undecided == 0
    with (tmp_path / "cut/account.jsonl").open("ab") as file:
        file.write(b'{"event": "opened", "now')  # the machine died here
    cut.module = whole.module
    cut.run()
    assert cut.equity == whole.equity


def test_bars_that_closed_unseen_are_lived_through_and_not_decided(protected, tmp_path):
    world = protected(300)
    broker = Broker(world, tmp_path / "feed")
    broker.run(bars=100)
    while not broker.account.terminal.account.held(0):
        broker.run(bars=2)
    decided, closed = broker.account.decisions, len(broker.equity)
    for _ in range(30):
        broker.module.advance()
    broker.run(bars=1)
    assert broker.account.decisions == decided and len(broker.equity) == closed + 30
    assert any("30 bars closed unseen" in text for text in broker.troubles)
    assert broker.account.undecided == 30 and len(set(broker.equity[-30:])) > 1
    written = (tmp_path / "feed/account.jsonl").read_text().splitlines()
    asked = [json.loads(line)["event"] for line in written]
    assert asked[-30:] == ["opened"] * 30
    broker.run(bars=20)
    assert broker.account.decisions == decided + 19


def test_a_bar_that_opened_long_ago_is_not_traded_at_its_open(protected, tmp_path):
    broker = Broker(protected(200), tmp_path / "feed")
    broker.run(bars=40, wait_ns=61 * SECOND_NS)
    assert not broker.account.begun and not broker.reports


def test_a_silent_feed_is_asked_again(protected, tmp_path):
    broker = Broker(protected(200), tmp_path / "feed")
    broker.run(bars=50)
    broker.silent = 3
    broker.run(bars=30)
    assert broker.account.decisions == 49 + 26 and len(broker.equity) == 48 + 29
    assert sum("no answer (OSError)" in text for text in broker.troubles) == 3


def test_another_bundle_or_a_changed_kernel_does_not_go_on(protected, tmp_path):
    world = protected(200)
    broker = Broker(world, tmp_path / "feed")
    broker.run(bars=60)
    with pytest.raises(ConfigError, match="begun with another bundle"):
        Broker(world, tmp_path / "feed", bundle="other").run()
    record = tmp_path / "feed/account.jsonl"
    lines = record.read_text().splitlines()
    at = max(n for n, line in enumerate(lines) if '"decided"' in line)
    changed = json.loads(lines[at]) | {"equity": 1.0}
    lines[at] = json.dumps(changed)
    record.write_text("\n".join(lines) + "\n")
    with pytest.raises(RiskHalt, match="mtquant has changed since"):
        broker.run()


def walk(symbol, time, seed, price):
    rng = np.random.default_rng(seed)
    close = np.round(price * np.exp(np.cumsum(0.001 * rng.standard_normal(time.size))), 2)
    opening = np.concatenate([close[:1], close[:-1]])
    high, low = np.maximum(opening, close) + 0.05, np.minimum(opening, close) - 0.05
    spread = rng.integers(5, 25, time.size).astype(np.float64)
    return Bars(symbol, Timeframe.H1, time, opening, high, low, close, np.zeros(time.size), spread)


class Both:
    """Plays two symbols by the hour."""

    name, scaled, window = "both", False, 1
    inputs = ("XAUUSD.hour_sin", "XAUUSD.hour_cos")

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        hour = round(np.arctan2(observation[0], observation[1]) / (2 * np.pi) * 24) % 24
        gold = {2: 1.0, 9: -0.6, 15: 0.3, 21: 0.0}.get(hour, np.nan)
        euro = {3: -0.7, 8: 0.9, 18: 0.2}.get(hour, np.nan)
        return np.array([gold, euro], np.float32), state


@pytest.fixture
def pair(make_world, monkeypatch):
    """Two symbols, each of which lacks bars that the other has."""
    monkeypatch.setattr(feeds, "PATIENCE_NS", 0)

    def make(rare=True, **changes):
        rng, n = np.random.default_rng(8), 500
        hours = 1_420_416_000 * 10**9 + np.arange(n) * HOUR_NS
        gold = hours[(rng.random(n) > 0.2) & (np.arange(n) % 24 < 20)]
        euro = hours[(rng.random(n) > 0.1) & (np.arange(n) % 24 > 5)]
        limits = {"max_exposure": 12.0, "max_correlation": 0.7, "correlation_bars": 30}
        plain = make_world(400, symbols=("XAUUSD",), limits=limits, stops={"atr": 2.0})
        env = plain.env.model_copy(update={"symbols": ("XAUUSD", "EURUSD")})
        gold, euro = (gold, euro) if rare else (hours, hours)
        bars = [walk("XAUUSD", gold, 1, 2000.0), walk("EURUSD", euro, 2, 1500.0)]
        world = type(plain)(env, bars, Both())
        world.specs = tuple(spec.model_copy(update=changes) for spec in world.specs)
        return world

    return make


@pytest.mark.parametrize("rare", [True, False])
def test_two_symbols_with_gaps_and_a_limit_on_their_correlation(pair, tmp_path, rare):
    world = pair(rare, swap_mode="none")
    broker = Broker(world, tmp_path / "feed")
    broker.run()
    assert_same(broker, world.backtest())
    assert len(broker.deals) > 60
    assert_same_columns(broker)


def test_nights_of_a_rest_are_charged_when_it_ends(pair, tmp_path):
    """Later than on a file, where the end of the rest is known at its beginning; no night less."""
    world = pair()
    broker = Broker(world, tmp_path / "feed")
    broker.run()
    tape, whole = broker.account.terminal.account.tape, world.tape()
    moved = world.rows[0] - broker.account.first
    first, last = broker.account.first + 1, len(tape.market) - 30
    for s in range(2):
        own = np.flatnonzero(tape.market["tradable"][first:last, s]) + first
        theirs = whole.market["nights"][own[:-1] + moved, s]
        ours = [int(tape.market["nights"][a:b, s].sum()) for a, b in pairwise(own)]
        assert ours == theirs.tolist() and sum(ours) > 10


def test_a_feed_waits_for_the_bar_of_an_open_market(pair, tmp_path, monkeypatch):
    monkeypatch.setattr(feeds, "PATIENCE_NS", 20 * SECOND_NS)
    broker = Broker(pair(), tmp_path / "feed")
    broker.run(bars=200)
    assert broker.account.undecided > 10, "this market lacks bars while it is open"


def test_a_bar_that_is_gone_is_a_trouble(protected, tmp_path):
    broker = Broker(protected(200), tmp_path / "feed")
    broker.run(bars=50)
    whole = broker.rates
    broker.rates = lambda *asked: whole(*asked)[:-3]
    broker.run(bars=3)
    assert any("that it showed before" in text for text in broker.troubles)


def test_of_a_bar_that_forms_only_the_open_is_taken(make_world):
    """A terminal shows how high, low and far it is already; none of that is known at the open."""
    bars = make_world(100).panel.bars[0]
    at = int(bars.time[60])
    seen, closed = seen_at(bars, at), seen_at(bars, at + HOUR_NS - 1)
    assert len(seen) == len(closed) == 61 and seen.spread[60] == bars.spread[60]
    for shown in (seen, closed):
        assert shown.high[60] == shown.low[60] == shown.close[60] == bars.open[60]
        assert shown.volume[60] == 1.0 and np.array_equal(shown.high[:60], bars.high[:60])
    passed = seen_at(bars.between(None, at + 1), at + HOUR_NS)
    assert passed.high[60] == bars.high[60] and len(passed) == 61


def test_a_feed_has_nothing_that_sends():
    module = ReadingModule(SimulatedTerminal.__new__(SimulatedTerminal))
    for name in ("order_send", "order_check", "login", "initialize", "order_calc_margin"):
        assert not hasattr(module, name) and name not in dir(module)
        with pytest.raises(AttributeError):
            setattr(module, name, print)
