"""The report as one HTML file that needs nothing else: no network, no folder beside it.

This module only lays out; :mod:`mtquant.backtest.report` decides what is said. Every text that
comes from outside (names of symbols, bundles, agents) is escaped here, and a content policy in the
page forbids loading anything, so that a report can be mailed and opened without a second thought.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import plotly.io

from mtquant.backtest.charts import Curve, run_figure
from mtquant.backtest.report_rows import Cell

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
)
# The chart's own menu would offer to send the data to a company's cloud.
CHART = {
    "responsive": True,
    "displaylogo": False,
    "showSendToCloud": False,
    "modeBarButtonsToRemove": ["lasso2d", "select2d", "zoomIn2d", "zoomOut2d", "autoScale2d"],
}

STYLE = """
:root { --ink: #1f2933; --muted: #616e7c; --line: #e4e7eb; --paper: #ffffff; --back: #f5f7fa;
  --gain: #1b7a53; --loss: #b3412b; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink); line-height: 1.5; font-size: 15px;
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1200px; margin: 0 auto; padding: 32px 24px 48px; }
h1 { font-size: 26px; line-height: 1.25; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 16px; margin: 0 0 12px; }
section { background: var(--paper); border: 1px solid var(--line); border-radius: 8px;
  padding: 20px 24px; margin-top: 20px; overflow-x: auto; }
.banner { background: #fff4d6; border: 2px solid #d08c1d; border-radius: 8px; padding: 12px 20px;
  margin: 20px 0 0; font-weight: 600; font-size: 17px; }
.outcome { border-left: 4px solid #1d5fae; background: #e9f1fa; padding: 10px 16px;
  margin: 16px 0 0; }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(210px, 1fr)); gap: 12px 24px;
  margin: 0; }
dt { color: var(--muted); font-size: 13px; }
dd { margin: 0; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 4px 12px; text-align: right; border-bottom: 1px solid var(--line);
  white-space: nowrap; vertical-align: top; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
thead th { color: var(--muted); font-size: 13px; font-weight: 600;
  border-bottom: 2px solid var(--line); white-space: normal; overflow-wrap: anywhere; }
tbody th { font-weight: 400; white-space: pre; }
.metrics thead th + th { width: 25%; }
tbody tr:last-child > * { border-bottom: 0; }
small { white-space: pre; }
td small { display: block; color: var(--muted); font-size: 12px; }
.agent { font-weight: 600; }
.agent small { font-weight: 400; }
.months td, .months th { padding: 4px 6px; font-size: 13px; }
.gain { color: var(--gain); } .loss { color: var(--loss); }
ul { margin: 0; padding-left: 20px; }
footer { color: var(--muted); font-size: 13px; margin-top: 16px; }
@media (max-width: 640px) { main { padding: 16px 12px; } section { padding: 14px; } }
"""


@dataclass(frozen=True)
class SideTable:
    """A further table, with one row marked.

    Attributes:
        heading: Of its section.
        lead: A sentence below the heading.
        columns: Names of all columns but the first, which names the rows.
        rows: Label, and per column the value and a detail in small print.
        marked: Number of the row that stands out; None for none.
    """

    heading: str
    lead: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Cell]]]
    marked: int | None


@dataclass(frozen=True)
class Page:
    """What stands on the page, in this order; all texts are plain, not HTML.

    Attributes:
        title: Heading and window title.
        warning: A sentence that cannot be overlooked, or "".
        outcome: What the selection decided, or "".
        facts: What was tested: label and value.
        columns: Names of the compared runs; the agent first.
        rows: Label, and per column the value and a detail in small print.
        months: Return by ``YYYY-MM`` of the agent.
        remarks: Events and notes.
        footer: How the numbers were computed.
        curves: What is drawn; the agent first.
        seeds: The trainings that the agent was chosen from, or None.
    """

    title: str
    warning: str
    outcome: str
    facts: Sequence[tuple[str, str]]
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Cell]]]
    months: Mapping[str, float | None]
    remarks: Sequence[str]
    footer: str
    curves: Sequence[Curve]
    seeds: SideTable | None = None


def render_page(page: Page) -> str:
    """The complete HTML document; equal pages give equal text."""
    chart = plotly.io.to_html(
        run_figure(page.curves),
        full_html=False,
        include_plotlyjs=True,
        div_id="run",
        config=CHART,
    )
    facts = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in page.facts)
    parts = [
        f"<h1>{escape(page.title)}</h1>",
        f'<p class="banner" role="alert">{escape(page.warning)}</p>' if page.warning else "",
        f'<p class="outcome">{escape(page.outcome)}</p>' if page.outcome else "",
        f"<section><dl>{facts}</dl></section>",
        f"<section><h2>Result</h2>{_metrics_table(page)}<footer>{escape(page.footer)}</footer>"
        "</section>",
        _side_table(page.seeds) if page.seeds else "",
        f"<section>{chart}</section>",
        _section("Monthly return", _months_table(page.months)),
        _section("Events and notes", _list(page.remarks)),
    ]
    return html_document(page.title, parts)


def html_document(title: str, parts: Sequence[str], style: str = "") -> str:
    """A page in the reports' style that loads nothing.

    Args:
        title: Of the window, plain text.
        parts: HTML of its sections; empty ones are left out.
        style: Rules that this page adds.
    """
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}{style}</style>\n"
        "</head>\n<body>\n<main>\n"
        + "\n".join(part for part in parts if part)
        + "\n</main>\n</body>\n</html>\n"
    )


def _section(heading: str, content: str) -> str:
    return f"<section><h2>{heading}</h2>{content}</section>" if content else ""


def _list(texts: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(text)}</li>" for text in texts)
    return f"<ul>{items}</ul>" if items else ""


def _metrics_table(page: Page) -> str:
    lines = "".join(
        _row(label, [_cell(cell, number == 0) for number, cell in enumerate(cells)])
        for label, cells in page.rows
    )
    return f'<table class="metrics">{_heads(page.columns)}<tbody>{lines}</tbody></table>'


def _side_table(table: SideTable) -> str:
    lines = "".join(
        _row(label, [_cell(cell, number == table.marked) for cell in cells])
        for number, (label, cells) in enumerate(table.rows)
    )
    content = f"<table>{_heads(table.columns)}<tbody>{lines}</tbody></table>"
    return _section(table.heading, f"<p>{escape(table.lead)}</p>{content}")


def _heads(columns: Sequence[str]) -> str:
    heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in columns)
    return f"<thead><tr><th></th>{heads}</tr></thead>"


def _row(label: str, cells: Sequence[str]) -> str:
    return f'<tr><th scope="row">{escape(label)}</th>{"".join(cells)}</tr>'


def _cell(cell: Cell, is_agent: bool) -> str:
    value, detail = cell
    small = f"<small>{escape(detail)}</small>" if detail else ""
    return f"<td{' class=agent' if is_agent else ''}>{escape(value)}{small}</td>"


def _months_table(months: Mapping[str, float | None]) -> str:
    """A row per year, a column per month, the year's compounded return last."""
    heads = "".join(f'<th scope="col">{name}</th>' for name in (*MONTHS, "Year"))
    lines = ""
    for year in sorted({month[:4] for month in months}):
        keys = [f"{year}-{number:02d}" for number in range(1, 13)]
        values = [months.get(key) for key in keys if key in months]
        total = 1.0
        for value in values:
            total *= 1 + (value or 0.0)
        cells = "".join(_month(months.get(key)) for key in keys)
        lines += f'<tr><th scope="row">{year}</th>{cells}{_month(total - 1)}</tr>'
    return (
        f'<table class="months"><thead><tr><th></th>{heads}</tr></thead>'
        f"<tbody>{lines}</tbody></table>"
    )


def _month(value: float | None) -> str:
    if value is None:
        return "<td></td>"
    tone = "gain" if value > 0 else "loss" if value < 0 else ""
    return f'<td class="{tone}">{value:+.1%}</td>'
