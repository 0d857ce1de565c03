"""What does not add up is said in words and stops increases; unknown is never flat."""

from __future__ import annotations

from typing import Any

import pytest

from mtquant.brokers import constants as mt5
from mtquant.brokers.base import Instrument
from mtquant.brokers.mt5 import MT5Adapter
from mtquant.brokers.terminal.records import TradeDeal
from mtquant.brokers.terminal.simulated import SimulatedTerminal
from mtquant.errors import BrokerUnavailable, ConfigError, RiskHalt
from mtquant.live.journal import Journal
from mtquant.live.paper import paper_bars, paper_runner
from mtquant.live.runner import Runner
from mtquant.live.settings import RunnerSettings

REQUEST = {
    "action": mt5.TRADE_ACTION_DEAL,
    "symbol": "XAUUSD",
    "volume": 0.03,
    "type": mt5.ORDER_TYPE_BUY,
    "type_filling": mt5.ORDER_FILLING_IOC,
}


@pytest.fixture
def running(make_world, tmp_path):
    """A world, its terminal in a position, and the runner that took it."""
    world = make_world(300)
    terminal = world.terminal()
    journal = Journal(tmp_path / "journal.db", durable=False)
    runner = paper_runner(terminal, journal, world.strategy(), "test")
    for _ in paper_bars(terminal, runner):
        if terminal.account.book.positions["steps"][0, 0] > 0:
            break
    yield world, terminal, runner, journal
    journal.close()


@pytest.mark.parametrize(
    "function", ["positions_get", "orders_get", "history_deals_get", "account_info"]
)
def test_A7_none_is_unknown_and_never_flat(running, monkeypatch, function):
    _, terminal, runner, _ = running
    monkeypatch.setattr(terminal, function, lambda *args, **kwargs: None)
    orders = len(terminal.account.orders)
    with pytest.raises(BrokerUnavailable, match=function):
        runner.on_bar()
    assert len(terminal.account.orders) == orders


def test_B7_a_manual_trade_is_noticed_and_stops_increases(running):
    _, terminal, runner, journal = running
    assert terminal.order_send(REQUEST).retcode == mt5.TRADE_RETCODE_DONE
    terminal.advance()
    report = runner.on_bar()
    (surprise,) = [event for event in report.events if "expected" in event]
    assert "the broker shows" in surprise
    decision = report.outlook.decisions[0]
    assert abs(decision.target) <= abs(decision.held)
    assert surprise in [text for _, text in journal.events()]
    terminal.advance()
    assert not runner.on_bar().events, "what was noticed is from then on what is expected"


def test_a_position_of_somebody_else_freezes_the_symbol(make_world, tmp_path):
    world = make_world(300)
    terminal = world.terminal()
    runner = paper_runner(
        terminal, Journal(tmp_path / "journal.db", durable=False), world.strategy(), "test"
    )
    terminal.order_send(REQUEST)
    for report in paper_bars(terminal, runner):
        assert "belongs to somebody else" in report.events[0]
        assert report.outlook.decisions[0].held == report.outlook.decisions[0].target == 0
        if terminal.account.forming > world.rows[0] + 30:
            break
    assert len(terminal.account.orders) == 1


def test_a_deposit_is_neither_gain_nor_loss(running):
    _, terminal, runner, _ = running
    before = runner.on_bar().outlook.record
    account = terminal.account
    account.book.account["balance"] += 5000.0
    paid = TradeDeal.of(
        ticket=9, time=account.deals[-1].time, type=mt5.DEAL_TYPE_BALANCE, profit=5000.0
    )
    account.deals.append(paid)
    terminal.advance()
    after = runner.on_bar().outlook.record
    gained = after.equity - before.equity - 5000.0
    assert abs(gained) < 1000.0
    assert after.peak == max(before.peak + 5000.0, after.equity)
    terminal.advance()
    assert runner.on_bar().outlook.record.peak < before.peak + 9000.0, "counted once"


def test_a_position_that_a_person_closed_is_a_round_trip(running):
    """The deal that closes carries no magic of ours; the position is still ours."""
    _, terminal, runner, _ = running
    before = runner.on_bar().outlook.record
    (position,) = terminal.positions_get()
    selling = {**REQUEST, "volume": position.volume, "type": mt5.ORDER_TYPE_SELL}
    assert terminal.order_send(selling).retcode == mt5.TRADE_RETCODE_DONE
    deals = [d for d in terminal.account.deals if d.position_id == position.identifier]
    result = sum(d.profit + d.swap + d.commission for d in deals)
    terminal.advance()
    after = runner.on_bar().outlook.record.memory
    assert after["trades"] == before.memory["trades"] + 1
    changes = [after[name] - before.memory[name] for name in ("gain_sum", "loss_sum")]
    assert changes == pytest.approx([max(result, 0.0), max(-result, 0.0)])
    terminal.advance()
    assert runner.on_bar().outlook.record.memory["trades"] == after["trades"], "counted once"


def test_round_trips_of_somebody_else_do_not_count(make_world, tmp_path):
    terminal = (world := make_world(300)).terminal()
    journal = Journal(tmp_path / "journal.db", durable=False)
    world.agent.amplitude = 0.0
    runner = paper_runner(terminal, journal, world.strategy(), "test")
    runner.on_bar()
    for side in (mt5.ORDER_TYPE_BUY, mt5.ORDER_TYPE_SELL):
        assert terminal.order_send({**REQUEST, "type": side}).retcode == mt5.TRADE_RETCODE_DONE
    terminal.advance()
    record = runner.on_bar().outlook.record
    assert record.balance < world.env.account.capital
    assert record.memory["trades"] == 0


def test_another_account_stops_everything(running, monkeypatch):
    _, terminal, runner, _ = running
    monkeypatch.setattr(terminal, "_terms", terminal._terms.__class__(1.0, login=7))
    with pytest.raises(RiskHalt, match="on account 7"):
        runner.on_bar()


def test_a_journal_belongs_to_one_account_and_strategy(running, tmp_path):
    world, terminal, _, journal = running
    with pytest.raises(ConfigError, match="belongs to strategy 'test', not 'other'"):
        paper_runner(terminal, journal, world.strategy(), "other")


def test_C1_a_silent_feed_stops_orders(make_world, tmp_path):
    world = make_world(300)
    terminal = world.terminal()
    instruments = [Instrument(world.specs[0], "XAUUSD")]
    adapter = MT5Adapter(terminal, instruments)
    adapter.connect()
    journal = Journal(tmp_path / "journal.db", durable=False)
    runner = Runner(
        adapter,
        journal,
        world.strategy(),
        instruments,
        RunnerSettings("test", oldest_tick_minutes=5),
        lambda: terminal.now_ns() + 6 * 60 * 10**9,
    )
    reasons = {report.outlook.decisions[0].reason for report in paper_bars(terminal, runner)}
    assert "no fresh quote" in reasons and "allowed" not in reasons
    assert not terminal.account.orders


def test_A11_missed_bars_are_not_replayed_but_counted(make_world, tmp_path):
    """An outage over bars in which nothing would have been done leaves the same record."""
    world, gap = make_world(300), 3

    def run(name: str, outage_after: int | None) -> dict[int, Any]:
        terminal = world.terminal()
        journal = Journal(tmp_path / f"{name}.db", durable=False)
        kept = {}
        runner = paper_runner(terminal, journal, world.strategy(), "test")
        for count, report in enumerate(paper_bars(terminal, runner)):
            if count == outage_after:
                for _ in range(gap):
                    terminal.advance()
            kept[terminal.account.forming] = report
        journal.close()
        return kept

    whole = run("whole", None)
    holds = [
        report.outlook.decisions[0].target == report.outlook.decisions[0].held != 0
        for report in whole.values()
    ]
    start = next(k for k in range(len(holds)) if all(holds[k : k + gap + 1]))
    outage = run("outage", start)
    after = list(whole)[start + gap + 1]
    assert list(whole)[start + 1] not in outage and after in outage
    assert outage[after].outlook.record == whole[after].outlook.record


def test_only_the_simulated_netting_account_is_taken(make_world, tmp_path, monkeypatch):
    world = make_world(300)
    terminal = world.terminal()
    runner = paper_runner(
        terminal, Journal(tmp_path / "journal.db", durable=False), world.strategy(), "test"
    )
    info = terminal.account_info()
    hedging = info._asdict() | {"margin_mode": mt5.ACCOUNT_MARGIN_MODE_RETAIL_HEDGING}
    monkeypatch.setattr(SimulatedTerminal, "account_info", lambda self: type(info).of(**hedging))
    with pytest.raises(ConfigError, match="hedging"):
        runner.on_bar()
