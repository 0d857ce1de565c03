from __future__ import annotations

from rich.console import Console

from mtquant.live.journal import Journal
from mtquant.live.monitor import Monitor
from mtquant.live.paper import paper_bars, paper_runner


def rendered(monitor):
    console = Console(width=140)
    with console.capture() as capture:
        console.print(monitor.table())
    return capture.get()


def test_the_table_shows_the_newest_bars(make_world, tmp_path):
    world, monitor = make_world(120), Monitor("paper [run]", rows=5)
    terminal = world.terminal()
    journal = Journal(tmp_path / "journal.db", durable=False)
    reports = []
    for report in paper_bars(terminal, paper_runner(terminal, journal, world.strategy(), "m")):
        reports.append(report)
        monitor.add(report)
    journal.close()
    text = rendered(monitor)
    assert "paper [run]" in text
    assert text.count("XAUUSD") == 5
    last = reports[-1]
    assert f"{last.outlook.record.equity:,.2f}" in text
    assert last.outlook.decisions[0].reason in text
    assert f"{last.position_lots[0]:+.2f}" in text or last.position_lots[0] == 0.0


def test_refusals_are_told(make_world, tmp_path):
    world, monitor = make_world(120), Monitor("paper")
    terminal = world.terminal()
    journal = Journal(tmp_path / "journal.db", durable=False)
    terminal.account.tape.market["tradable"][:] = 0
    for report in paper_bars(terminal, paper_runner(terminal, journal, world.strategy(), "m")):
        monitor.add(report)
    journal.close()
    assert "Market closed" in rendered(monitor)


def test_trips_are_told_with_their_alert_and_stay_in_sight(make_world, tmp_path):
    world = make_world(
        400, sizing={"risk_fraction": 0.1}, breaker={"daily_loss": (0.01, 0.02, 0.9)}
    )
    journal, monitor = Journal(tmp_path / "journal.db", durable=False), Monitor("paper", rows=2)
    terminal, tripped = world.terminal(), 0
    for report in paper_bars(terminal, paper_runner(terminal, journal, world.strategy(), "m")):
        monitor.add(report)
        if report.trip is not None and report.trip.level == 2:
            tripped += 1
            assert rendered(monitor).count(f"HIGH LEVEL_2: {report.trip.cause}") >= 1
    told = [event.words for event in journal.breaker.events()]
    journal.close()
    assert tripped and any(words.startswith("WARNING LEVEL_1: daily loss 1.") for words in told)
    text = rendered(monitor)
    assert all(words in text for words in told[-3:]) and told[-4] not in text
