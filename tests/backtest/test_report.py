import base64
import dataclasses
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from mtquant.backtest.charts import MAX_POINTS, extremes, run_figure
from mtquant.backtest.ledger import Event, Ledger, Trade
from mtquant.backtest.report import (
    Provenance,
    Report,
    console_table,
    report_dict,
    write_report,
)
from mtquant.errors import DataError
from mtquant.market.timeframe import Timeframe

HOUR = 3_600 * 10**9
START = 1_704_067_200 * 10**9  # 2024-01-01T00:00Z
WARNING = "Simulated market: these numbers say nothing about XAUUSD"
ATTACK = "<script>alert('x')</script>"


def run_of(seed=None, bars=60, symbols=("XAUUSD",), events=(), trades=()):
    """A random walk of equity with random positions; flat without a seed."""
    rng = np.random.default_rng(seed or 0)
    moving = seed is not None
    count = len(symbols)
    steps = rng.normal(0, 0.002, bars) * moving
    cost = np.abs(rng.normal(0, 0.1, bars)) * moving
    return Ledger(
        symbols=tuple(symbols),
        timeframe=Timeframe.H1,
        start_equity=10_000.0,
        time_ns=START + HOUR * np.arange(bars),
        equity=10_000 * np.cumprod(1 + steps),
        position_lots=rng.integers(-3, 4, (bars, count)) / 100 * moving,
        exposure=rng.normal(0, 1, bars) * moving,
        price=2000 + np.cumsum(np.random.default_rng(1).normal(0, 1, (bars, count)), axis=0),
        spread_cost=cost,
        slippage_cost=cost,
        commission=cost,
        swap=-cost,
        traded_notional=1000 * cost,
        trades=trades,
        events=events,
    )


def report_of(bars=60, symbols=("XAUUSD",), events=(), trades=(), **changes):
    values = {
        "title": "XAUUSD H1: test split",
        "bundle": "gold-ppo",
        "agent": "ppo",
        "env": "xauusd_h1",
        "data": Provenance("XAUUSD_H1", "f" * 64),
        "ledger": run_of(3, bars, symbols, events, trades),
        "flat": run_of(None, bars, symbols),
        "buy_and_hold": run_of(4, bars, symbols),
        **changes,
    }
    return Report(**values)


def simulated(**changes):
    return report_of(data=Provenance("simulated", "f" * 64, simulated_seed=7), **changes)


def shown(report, width=120):
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(console_table(report))
    return console.file.getvalue()


class Reader(HTMLParser):
    """Texts outside scripts and styles, and every tag with its attributes."""

    def __init__(self, page):
        super().__init__()
        self.texts, self.tags, self._inside = [], [], ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if self._inside not in ("script", "style") and data.strip():
            self.texts.append(data.strip())


def page_of(report, folder):
    _, path = write_report(report, folder)
    return path.read_text(encoding="utf-8")


def test_json_holds_agent_and_baselines(tmp_path):
    path, _ = write_report(report_of(), tmp_path / "new" / "folder")
    document = json.loads(path.read_text(encoding="utf-8"))
    assert set(document["results"]) == {"agent", "flat", "buy_and_hold"}
    assert document["results"]["flat"]["net_return"] == 0
    assert document["results"]["flat"]["sharpe"] is None
    assert document["tested"] == {
        "bundle": "gold-ppo",
        "agent": "ppo",
        "env": "xauusd_h1",
        "symbols": ["XAUUSD"],
        "timeframe": "H1",
        "first_bar": "2024-01-01T00:00:00Z",
        "last_bar": "2024-01-03T11:00:00Z",
        "bars": 60,
        "currency": "USD",
    }
    assert document["warning"] is None
    assert document["monthly_returns"]["2024-01"] == pytest.approx(
        document["results"]["agent"]["net_return"]
    )


def test_the_same_run_gives_the_same_bytes(tmp_path):
    event = (Event(START, "breaker LEVEL_1"),)
    first = write_report(report_of(events=event), tmp_path / "a")
    second = write_report(report_of(events=event), tmp_path / "b")
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_json_is_canonical(tmp_path):
    path, _ = write_report(report_of(notes=("gold: \u00fcber",)), tmp_path)
    raw = path.read_bytes()
    text = raw.decode("utf-8")
    again = json.dumps(json.loads(text), sort_keys=True, indent=2, ensure_ascii=False) + "\n"
    assert text == again
    assert b"\r" not in raw


def test_a_simulated_market_is_named_everywhere(tmp_path):
    report = simulated()
    assert report_dict(report)["warning"] == WARNING
    assert report_dict(report)["data"]["simulated_seed"] == 7
    assert WARNING in shown(report)
    page = Reader(page_of(report, tmp_path))
    assert WARNING in page.texts
    assert ("p", {"class": "banner", "role": "alert"}) in page.tags
    assert any("SIMULATED MARKET, seed 7" in text for text in page.texts)


def test_seed_0_is_simulated_too():
    assert report_of(data=Provenance("simulated", "f", simulated_seed=0)).warning == WARNING


def test_recorded_prices_carry_no_warning(tmp_path):
    report = report_of()
    assert "imulated" not in shown(report)
    assert not any("imulated" in text for text in Reader(page_of(report, tmp_path)).texts)


def test_the_console_shows_every_number_asked_for():
    trades = tuple(
        Trade("XAUUSD", "long", START, START + 6 * HOUR, 6, 0.1, 2000, 2001, profit, 1.0, "signal")
        for profit in (20.0, 10.0, -15.0, 1.0)
    )
    text = shown(report_of(trades=trades, selection="No checkpoint beat flat."))
    expected = "Net return,Sharpe,Sortino,Calmar,Maximum drawdown,Profit factor,Trades,Win rate"
    expected += ",Average holding,Turnover,Exposure,Costs paid,No checkpoint beat flat."
    for words in expected.split(","):
        assert words in text
    assert re.search(r"Profit factor\s+2\.07\s+n/a\s+n/a", text)
    assert re.search(r"Win rate\s+75\.0%\s+n/a\s+n/a\s+30\.1% to 95\.4%", text)
    assert re.search(r"Average holding\s+6\.0 bars\s+n/a\s+n/a\s+6\.0 h", text)
    assert re.search(r"Net return\s+\S+%\s+\+0\.00%", text)


def test_drawdown_dates_are_shown():
    equity = np.full(60, 10_000.0)
    equity[30:50] = 9_000.0
    dip = dataclasses.replace(run_of(None), equity=equity)
    text = shown(report_of(ledger=dip))
    assert re.search(r"Maximum drawdown\s+10\.00%", text)
    assert "2024-01-02 to 2024-01-02" in text
    assert "back 2024-01-03" in text
    equity[50:] = 9_500.0
    assert "not recovered" in shown(report_of(ledger=dataclasses.replace(dip, equity=equity)))


def test_ruin_is_called_ruin():
    equity = np.linspace(9_000.0, -100.0, 60)
    ruined = dataclasses.replace(run_of(None), equity=equity)
    assert "ruined" in shown(report_of(ledger=ruined))
    assert "ruined" not in shown(report_of())


def test_names_are_never_markup_on_the_console():
    report = report_of(agent="[red]a[/red]", title="[bold]t[/bold]", notes=("[/]",))
    text = shown(dataclasses.replace(report, currency="[/i]"))
    for words in ("[red]a[/red]", "[bold]t[/bold]", "- [/]", "Costs paid ([/i])"):
        assert words in text


def test_names_are_never_markup_on_the_page(tmp_path):
    event = (Event(START, ATTACK),)
    report = simulated(
        symbols=(ATTACK,),
        events=event,
        notes=(ATTACK,),
        title=ATTACK,
        bundle=ATTACK,
        agent=ATTACK,
        env=ATTACK,
        selection=ATTACK,
        currency=ATTACK,
    )
    page = page_of(report, tmp_path)
    assert ATTACK not in page
    assert "<script>alert" not in page
    plain = page_of(report_of(events=event), tmp_path)
    tags = [tag for tag, _ in Reader(page).tags]
    assert tags.count("script") == [tag for tag, _ in Reader(plain).tags].count("script")
    assert any(ATTACK in text for text in Reader(page).texts)


def test_the_page_loads_and_sends_nothing(tmp_path):
    page = page_of(report_of(), tmp_path)
    tags = Reader(page).tags
    assert not [attrs for _, attrs in tags if "src" in attrs or "href" in attrs]
    policy = [attrs for tag, attrs in tags if tag == "meta" and "http-equiv" in attrs]
    assert policy[0]["content"].startswith("default-src 'none'")
    assert '"showSendToCloud": false' in page
    assert [attrs.get("id") for tag, attrs in tags if tag == "div"].count("run") == 1


def test_a_long_run_stays_a_small_page(tmp_path):
    short = len(page_of(report_of(bars=10), tmp_path))
    long = len(page_of(report_of(bars=50_000), tmp_path))
    assert long - short < 1_200_000


def test_no_half_written_file_is_left(tmp_path, monkeypatch):
    write_report(report_of(), tmp_path)
    before = (tmp_path / "report.json").read_bytes()

    def broken(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", broken)
    with pytest.raises(OSError, match="disk full"):
        write_report(simulated(), tmp_path)
    assert (tmp_path / "report.json").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "report.json"]


@pytest.mark.parametrize("name", ["flat", "buy_and_hold"])
@pytest.mark.parametrize("bars", [59, 61])
def test_a_baseline_over_other_bars_is_refused(name, bars):
    with pytest.raises(DataError, match=f"baseline '{name}' covers other bars"):
        report_of(**{name: run_of(5, bars)})


def test_a_baseline_with_other_capital_is_refused():
    rich = dataclasses.replace(run_of(4), start_equity=20_000.0)
    with pytest.raises(DataError, match="start equity"):
        report_of(buy_and_hold=rich)


def test_the_page_of_one_bar(tmp_path):
    page = Reader(page_of(report_of(bars=1), tmp_path))
    assert "n/a" in page.texts


def test_years_of_the_month_table_compound(tmp_path):
    time_ns = START + 24 * HOUR * np.arange(60)
    equity = np.where(np.arange(60) < 31, 11_000.0, 13_200.0)
    runs = {name: dataclasses.replace(run_of(None), time_ns=time_ns) for name in ("flat", "ledger")}
    runs["ledger"] = dataclasses.replace(runs["ledger"], equity=equity)
    texts = Reader(page_of(report_of(**runs, buy_and_hold=runs["flat"]), tmp_path)).texts
    row = texts.index("2024")
    assert texts[row : row + 4] == ["2024", "+10.0%", "+20.0%", "+32.0%"]


def named(figure, name):
    return [trace for trace in figure.data if trace.name == name]


def test_the_figure_has_linked_panels_per_symbol():
    symbols = ("XAUUSD", "EURUSD")
    curves = [("ppo", run_of(3, 60, symbols)), ("flat", run_of(None, 60, symbols))]
    figure = run_figure(curves)
    titles = [note.text for note in figure.layout.annotations]
    assert titles[:2] == ["Equity", "Drawdown"]
    assert titles[2:] == ["XAUUSD: position over price", "EURUSD: position over price"]
    equity, drawdown = sorted(named(figure, "ppo"), key=lambda trace: -max(trace.y))
    assert list(equity.y) == pytest.approx(list(curves[0][1].equity))
    assert max(drawdown.y) <= 0
    # Every panel but the lowest follows the lowest one's time axis.
    axes = [figure.layout[name] for name in ("xaxis", "xaxis2", "xaxis3")]
    assert {axis.matches for axis in axes} == {"x4"}
    assert equity.x[1] - equity.x[0] == 3_600_000
    assert equity.x[0] == START / 10**6


def test_names_are_never_markup_in_the_figure():
    # Plotly reads tags such as <b> and <a> in names and titles.
    figure = run_figure([("<b>ppo", run_of(3, 60, ("<i>GOLD",)))])
    assert "<i>" not in str(figure.layout.annotations)
    assert {trace.name for trace in figure.data} == {
        "&lt;b&gt;ppo",
        "long",
        "short",
        "&lt;i&gt;GOLD bid",
    }


def test_long_and_short_are_told_apart():
    ledger = run_of(3)
    figure = run_figure([("ppo", ledger)])
    (long,), (short,) = named(figure, "long"), named(figure, "short")
    assert list(np.add(long.y, short.y)) == pytest.approx(list(ledger.position_lots[:, 0]))
    assert min(long.y) == 0 == max(short.y)


def test_events_lie_on_the_equity_of_their_bar():
    event = Event(START + 5 * HOUR, "stop-out <b>")
    ledger = run_of(3, events=(event,))
    (marks,) = named(run_figure([("ppo", ledger)]), "events")
    assert list(marks.y) == [ledger.equity[5]]
    assert list(marks.text) == ["stop-out &lt;b&gt;"]


VALUES = st.lists(st.floats(-1e6, 1e6) | st.just(np.nan), min_size=1, max_size=300)


@given(VALUES, st.integers(4, 60))
def test_extremes_keep_the_ends_and_every_spike(values, points):
    column = np.array(values)
    rows = extremes(column, points)
    assert rows.size <= max(points, 4)
    assert (np.diff(rows) > 0).all()
    assert rows[0] == 0
    assert rows[-1] == column.size - 1
    if not np.isnan(column).all():
        assert np.nanmax(column[rows]) == np.nanmax(column)
        assert np.nanmin(column[rows]) == np.nanmin(column)


def test_short_runs_are_drawn_whole():
    assert (extremes(np.zeros(MAX_POINTS)) == np.arange(MAX_POINTS)).all()


def test_drawn_columns_travel_in_binary(tmp_path):
    page = page_of(report_of(), tmp_path)
    columns = re.findall(r'"bdata":"([^"]+)"', page)
    equity = report_of().ledger.equity.astype("<f8").tobytes()
    assert base64.b64encode(equity).decode() in [
        text.replace("\\u002f", "/").replace("\\u002b", "+") for text in columns
    ]
