"""``mtquant deploy --live`` on the simulated terminal: three yeses, and what stops it."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from rich.console import Console

from mtquant import live_deploy
from mtquant.agents.bundle import Bundle
from mtquant.backtest.run import bundle_scenario
from mtquant.brokers.terminal.simulated import SimulatedTerminal
from mtquant.brokers.terminal.state import LOGIN, SERVER, AccountTerms
from mtquant.config.assemble import assemble_tape
from mtquant.config.data import given_market
from mtquant.config.live import LiveLimits
from mtquant.config.load import load_symbols
from mtquant.errors import ConfigError, RiskHalt
from mtquant.features.pipeline import FeaturePipeline
from mtquant.live.intents import strategy_tag, tag_of
from mtquant.live.journal import Journal
from mtquant.live.kill_switch import Form, KillSwitch
from mtquant.live.start import lock_paths
from mtquant.live.writer import WriterLock
from mtquant.live_deploy import World, trade_live
from mtquant.live_plan import plan_live
from mtquant.market.clock import HOUR_NS
from mtquant.market.panel import Panel
from mtquant.market.simulated import SimulatedMarket

CANARY = "canary-7f3a9c1e5b"
ENTRY = {
    "broker_id": "ic_markets",
    "login": LOGIN,
    "server": SERVER,
    "is_demo": True,
    "password": "${MT5_CANARY_PASSWORD}",
}
LIMITS = {
    "account": LOGIN,
    "server": SERVER,
    "currency": "USD",
    "is_demo": True,
    "max_order_lots": {"XAUUSD": 50.0},
    "max_order_value": 1e8,
    "max_position_lots": {"XAUUSD": 50.0},
    "max_account_value": 1e8,
    "max_delta_lots": {"XAUUSD": 100.0},
    "price_collar": 0.2,
    "max_quote_age_seconds": 600.0,
    "max_decision_age_seconds": 60.0,
    "orders_per_minute": 50,
    "orders_per_hour": 50,
    "orders_per_day": 500,
    "executions_per_day": 500,
    "max_position_value": 1e9,
    "connection_lost_seconds": 300.0,
    "attempts_per_bar": 2,
    "starts_per_hour": 500,
    "on_trigger": "reduce",
    "on_foreign": "halt",
}


@pytest.fixture
def office(desk, monkeypatch, small_run):
    """A working directory in which everything is written down."""
    (desk / "configs").mkdir()

    def write(entry=(), limits=()):
        entries = {"demo": ENTRY | dict(entry)}
        listed = {"demo": {k: v for k, v in (LIMITS | dict(limits)).items() if v is not None}}
        (desk / "configs/brokers.yaml").write_text(yaml.safe_dump(entries))
        (desk / "configs/live.yaml").write_text(yaml.safe_dump(listed))

    write()
    monkeypatch.setenv("MT5_CANARY_PASSWORD", CANARY)
    monkeypatch.setattr(live_deploy, "LOCKS", desk / "locks")
    return write


def terminal_of(bundle, bars, first, specs=None, **terms):
    scenario = bundle_scenario(bundle, given_market(bundle.env, bars))
    tape = scenario.tape(np.zeros((len(bars), 0), np.float32), (first, len(bars) - 1))
    return SimulatedTerminal(
        Panel([bars]),
        specs or bundle.specs,
        tape,
        rows=(first, len(bars) - 1),
        terms=AccountTerms(100_000.0, **terms),
    )


def planned(*bundles):
    return plan_live([(one, one.env) for one in bundles], "demo", None, 5.0)


def world_of(terminal, stop_at=None):
    """Time passes by a bar at every wait."""
    waits = []

    def sleep(seconds):
        waits.append(seconds)
        if not terminal.finished:
            terminal.advance()

    def over():
        return terminal.finished or (stop_at is not None and len(waits) >= stop_at)

    def connect(entry, credentials):
        password = credentials.password.get_secret_value()
        assert terminal.initialize(login=entry.login, password=password, server=entry.server)
        entry.refuse_another(terminal.account_info())
        return terminal

    return World(terminal.now_ns, terminal.now_ns, sleep, connect, over)


def everything_written(folder, capsys):
    said = capsys.readouterr()
    files = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    return said.out + said.err, files


def test_it_trades_what_the_bundle_decides_and_tells_no_secret(
    office, desk, small_run, easy_bars, capsys
):
    bundle = small_run.bundle
    terminal = terminal_of(bundle, easy_bars, 1700)
    plan = planned(bundle)
    trade_live(plan, Console(), world_of(terminal))
    orders = [order for order in terminal.account.orders if order.magic]
    assert len(orders) > 10
    text, files = everything_written(desk, capsys)
    assert f"account  {LOGIN} at {SERVER}: demo" in text and "limit    price_collar: 0.2" in text
    lines = [
        json.loads(line) for line in (plan.traded[0].folder / "log.jsonl").read_text().splitlines()
    ]
    assert lines[0]["event"] == "started" and lines[-1]["event"] == "ended"
    decided = [line for line in lines if line["event"] == "decided"]
    assert len(decided) > 250 and all(line["decision"].endswith("XAUUSD") for line in decided)
    executed = [line for line in lines if line.get("outcome") == "executed"]
    assert sum(line["steps"] for line in executed) == terminal.account.held(0)
    assert not any(CANARY.encode() in content for content in files) and CANARY not in text


def test_it_holds_no_more_than_the_broker_lets_an_account_hold(
    office, small_run, easy_bars, capsys
):
    """The bundle was trained without such a limit: it is shown, and binds the targets."""
    bundle = small_run.bundle
    specs = [bundle.specs[0].model_copy(update={"volume_limit": 0.10})]
    terminal = terminal_of(bundle, easy_bars, 1700, specs)
    plan = planned(bundle)
    trade_live(plan, Console(), world_of(terminal, stop_at=100))
    assert "differs  XAUUSD: volume_limit is 0.1 and not none" in capsys.readouterr().out
    log = (plan.traded[0].folder / "log.jsonl").read_text().splitlines()
    steps = [line["steps"] for line in map(json.loads, log) if line.get("outcome") == "executed"]
    assert 0 < np.abs(np.cumsum(steps)).max() <= 10, "16 steps without the limit"


def test_the_envs_price_band_denies_what_opens_beyond_it(office, small_run, easy_bars):
    """A band that no spread fits into: nothing is opened."""
    bundle = small_run.bundle
    limits = bundle.env.limits.model_copy(update={"price_band": 1e-9})
    plan = plan_live(
        [(bundle, bundle.env.model_copy(update={"limits": limits}))], "demo", None, 5.0
    )
    terminal = terminal_of(bundle, easy_bars, 1700)
    trade_live(plan, Console(quiet=True), world_of(terminal, stop_at=20))
    log = (plan.traded[0].folder / "log.jsonl").read_text()
    assert "distance from the last bar would be" in log and "and may be 1e-09" in log
    assert not terminal.account.orders


def test_two_runners_of_one_journal_are_one_too_many(office, small_run, easy_bars):
    bundle = small_run.bundle
    plan = planned(bundle)
    other = WriterLock(*lock_paths([plan.traded[0].journal], live_deploy.LOCKS, plan.limits))
    with pytest.raises(RiskHalt, match="another runner holds"):
        trade_live(plan, Console(quiet=True), world_of(terminal_of(bundle, easy_bars, 1700)))
    other.release()


def test_a_restart_goes_on_and_a_kill_outlives_it(office, small_run, easy_bars):
    bundle = small_run.bundle
    terminal = terminal_of(bundle, easy_bars, 1700)
    plan = planned(bundle)
    trade_live(plan, Console(quiet=True), world_of(terminal, stop_at=60))
    sent = len(terminal.account.orders)
    assert sent
    trade_live(plan, Console(quiet=True), world_of(terminal, stop_at=60))
    again = len(terminal.account.orders)
    assert again > sent
    KillSwitch(plan.traded[0].journal).kill(Form.HARD, "test")
    trade_live(plan, Console(quiet=True), world_of(terminal))
    assert len(terminal.account.orders) == again
    Journal(plan.traded[0].journal).close()  # verified as it opens


@pytest.fixture
def euro_bundle(small_run):
    """The same policy on another market."""
    manifest, spec = small_run.bundle.manifest, load_symbols()["EURUSD"]
    env = manifest.env.model_copy(update={"symbols": ("EURUSD",)})
    bars = SimulatedMarket("EURUSD", "H1", 2000, 4, drift=1.0, flip_probability=0.03).bars(spec)
    pipeline = FeaturePipeline(env.features, env.symbols).fit(Panel([bars])).to_dict()
    changes = {"name": "euro", "env": env, "symbols": (spec,), "pipeline": pipeline}
    return Bundle(small_run.bundle.path, manifest.model_copy(update=changes)), bars


def both_on(bundles, bars, first):
    """A terminal with the symbols of both."""
    specs = [bundle.specs[0] for bundle in bundles]
    env = bundles[0].env.model_copy(update={"symbols": tuple(spec.name for spec in specs)})
    panel = Panel(bars)
    features = np.zeros((len(panel), 0), np.float32)
    tape = assemble_tape(env, panel, specs, features, env.rules(reward_scale=1.0))
    return SimulatedTerminal(
        panel, specs, tape, rows=(first, len(panel) - 1), terms=AccountTerms(100_000.0)
    )


def test_two_bundles_trade_one_account_each_under_its_own_name(
    office, desk, small_run, easy_bars, euro_bundle
):
    lots = {"XAUUSD": 50.0, "EURUSD": 50.0}
    names = ("max_order_lots", "max_position_lots", "max_delta_lots")
    wide = {name: dict(lots) for name in names}
    office((), wide | {"orders_per_day": 5000, "executions_per_day": 5000})
    bundles = (small_run.bundle, euro_bundle[0])
    plan = planned(*bundles)
    terminal = both_on(bundles, [easy_bars, euro_bundle[1]], 1700)
    trade_live(plan, Console(quiet=True), world_of(terminal))
    dealt = {(deal.symbol, tag_of(deal.magic)) for deal in terminal.account.deals if deal.symbol}
    assert dealt == {
        (bundle.specs[0].name, strategy_tag(one.name))
        for bundle, one in zip(bundles, plan.traded, strict=True)
    }
    log = (plan.traded[0].folder / "log.jsonl").read_text().splitlines()
    answered = [line for line in map(json.loads, log) if line["event"] == "answered"]
    assert {line["strategy"] for line in answered} == {one.name for one in plan.traded}
    for one in plan.traded:
        Journal(one.journal).close()  # verified as it opens


def test_two_bundles_of_one_symbol_are_refused(office, small_run, desk):
    with pytest.raises(ConfigError, match="both trade XAUUSD; trade one of them on another"):
        planned(small_run.bundle, small_run.bundle)
    with pytest.raises(ConfigError, match="--out is the folder of one bundle"):
        bundle = small_run.bundle
        plan_live([(bundle, bundle.env)] * 2, "demo", desk / "out", 5.0)


def test_a_clock_that_runs_wrong_stops_increases(office, small_run, easy_bars):
    bundle = small_run.bundle
    terminal = terminal_of(bundle, easy_bars, 1700)
    plan = planned(bundle)
    world = world_of(terminal, stop_at=40)
    skew = [0]
    late = replace(world, now_ns=lambda: terminal.now_ns() + skew[0])
    sleeps = world.sleep

    def sleep(seconds):
        sleeps(seconds)
        if terminal.account.forming > 1720:
            skew[0] = -9 * HOUR_NS

    trade_live(plan, Console(quiet=True), replace(late, sleep=sleep))
    assert KillSwitch(plan.traded[0].journal).read() is Form.REDUCE
    assert "server's clock" in KillSwitch(plan.traded[0].journal).told()


@pytest.mark.parametrize(
    ("entry", "limits", "told"),
    [
        ({"login": None}, {}, "account 'demo' is not filled in"),
        ({}, {"orders_per_day": None}, "the key 'orders_per_day' is missing"),
        ({}, {"max_order_lots": {"EURUSD": 1.0}}, "says nothing of XAUUSD"),
        ({"password": "${NOT_SET_ANYWHERE}"}, {}, "NOT_SET_ANYWHERE"),
    ],
    ids=str,
)
def test_what_is_not_written_down_is_not_traded(office, small_run, easy_bars, entry, limits, told):
    office(entry, limits)
    bundle = small_run.bundle
    with pytest.raises(ConfigError, match=told):
        plan = planned(bundle)
        trade_live(plan, Console(quiet=True), world_of(terminal_of(bundle, easy_bars, 1700)))


def test_limits_of_another_account_are_refused(office, small_run, easy_bars):
    office({}, {"account": LOGIN + 1})
    bundle = small_run.bundle
    plan = planned(bundle)
    with pytest.raises(ConfigError, match="the live limits say"):
        trade_live(plan, Console(quiet=True), world_of(terminal_of(bundle, easy_bars, 1700)))


def test_another_contract_is_refused_by_field(office, small_run, easy_bars, monkeypatch):
    bundle = small_run.bundle
    terminal = terminal_of(bundle, easy_bars, 1700)
    other = bundle.specs[0].model_copy(update={"contract_size": 10.0, "lot_max": 7.0})
    monkeypatch.setattr(terminal._feeds[0], "spec", other)
    plan = planned(bundle)
    with pytest.raises(ConfigError, match="contract_size is 10 and not 100") as refused:
        trade_live(plan, Console(quiet=True), world_of(terminal))
    assert "lot_max" not in str(refused.value)


def test_a_small_account_cannot_follow(office, small_run, easy_bars):
    bundle = small_run.bundle
    terminal = terminal_of(bundle, easy_bars, 1700)
    terminal.account.book.account["balance"] = terminal.account.book.account["equity"] = 50.0
    plan = planned(bundle)
    with pytest.raises(ConfigError, match="10 are the least to follow a policy"):
        trade_live(plan, Console(quiet=True), world_of(terminal))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--live",), "say which account"),
        (("--live", "--paper"), "say where to trade"),
        (("--live", "--account", "dmo"), "unknown account 'dmo'; did you mean 'demo'?"),
        (("--live", "--account", "demo", "--every", "0"), "--every 0.0 must be above 0"),
        (("--live", "--account", "demo"), "nothing was sent: small-"),
        (("--paper", "--bundle", "small", "--bundle", "small"), "give one --bundle"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_fewer_than_three_yeses(office, desk, refused, small_run, words, told):
    shutil.copytree(small_run.bundle.path, desk / "models/checkpoints/small")
    assert told in refused("deploy", *words)
    assert not (desk / "live").exists()


def test_no_limits_no_trade(office, desk, small_run):
    (desk / "configs/live.yaml").unlink()
    with pytest.raises(ConfigError, match="write every limit of account 'demo'"):
        planned(small_run.bundle)


def test_the_runbooks_limits_are_limits():
    text = (Path(__file__).parents[2] / "docs/live.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    limits = LiveLimits.model_validate(yaml.safe_load(block)["demo"])
    assert limits.account == LOGIN and set(LiveLimits.model_fields) == set(limits.model_dump())
