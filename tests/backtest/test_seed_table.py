"""The table of seeds: marked, averaged, and never more certain than it may be."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from mtquant.backtest.report import _console_seeds
from mtquant.backtest.report_html import _side_table
from mtquant.backtest.seed_table import SeedRow, SeedTable

ROWS = (
    SeedRow(3, 0.3, 2048, 0.10, 1.0, 30.0),
    SeedRow(4, 0.0, 0, 0.0, None, 0.0),
    SeedRow(5, 0.6, 512, 0.20, 3.0, 60.0),
)


def test_means_leave_out_what_has_no_value():
    means = SeedTable(ROWS, 3).means()
    assert means["net_return"].mean == pytest.approx(0.1) and means["net_return"].numbers == 3
    # 1 and 3: mean 2, deviation sqrt(2), 12.7062 * sqrt(2) / sqrt(2) either way.
    assert means["sharpe"][:3] == pytest.approx((2.0, 2.0 - 12.7062, 2.0 + 12.7062), abs=1e-4)
    assert SeedTable(ROWS[1:2], 4).means()["sharpe"] is None


def test_json_marks_the_deployed_seed_and_holds_no_infinity():
    told = SeedTable(ROWS, 3).to_dict()
    assert [run["chosen"] for run in told["runs"]] == [True, False, False]
    assert told["deployed"] == "the median seed by validation reward, never the best by test"
    assert told["runs"][1]["sharpe"] is None and told["means"]["sharpe"]["seeds"] == 2
    assert SeedTable(ROWS[:1], 3).to_dict()["means"]["sharpe"]["interval"] is None


def test_the_mean_of_all_marks_no_seed():
    table = SeedTable(ROWS, None)
    assert not any(run["chosen"] for run in table.to_dict()["runs"])
    assert table.page().marked is None and "mean of all seeds' actions" in table.page().lead


def test_console_and_page_show_the_same():
    page = SeedTable(ROWS, 5).page()
    console = Console(record=True, width=100, file=io.StringIO())
    console.print(*_console_seeds(page))
    shown, html = console.export_text(), _side_table(page)
    for told in ("seed 5 (deployed)", "+0.60000", "+20.00%", "3.00", "60.0x", "512", "of 2 seeds"):
        assert told in shown and told in html, told
    assert "flat" in shown and "never the best by test" in html
    assert html.count("class=agent") == 5 and "class=agent>+0.60000" in html
