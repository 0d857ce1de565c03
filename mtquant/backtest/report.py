"""The report of a run: the agent beside *flat* and *buy and hold*, under the same costs.

What is said is decided here once and shown three ways: on the console, as ``report.json`` and as
``report.html`` (laid out by :mod:`mtquant.backtest.report_html`). Nothing in it depends on when,
where or how fast it was made: the same run gives the same bytes. Numbers from the simulated market
carry a warning in all three, because nobody may take them for a real market's.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from mtquant.backtest.curve import monthly_returns
from mtquant.backtest.ledger import Ledger
from mtquant.backtest.metrics import Metrics, summarise
from mtquant.backtest.report_html import Page, SideTable, render_page
from mtquant.backtest.report_rows import Cell, metric_rows, minute_text
from mtquant.backtest.seed_table import SeedTable
from mtquant.errors import DataError
from mtquant.market.clock import utc_text

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Provenance:
    """Where the bars came from.

    Attributes:
        source: Key in the store, or the generator's name; never a path of this machine.
        fingerprint: Of the bars, see :meth:`mtquant.market.bars.Bars.fingerprint`.
        simulated_seed: Seed of the simulated market; None for recorded prices.
    """

    source: str
    fingerprint: str
    simulated_seed: int | None = None


@dataclass(frozen=True, eq=False)
class Report:
    """One tested agent and its baselines.

    Attributes:
        title: Heading, such as ``XAUUSD H1: test split``.
        bundle: Name of the bundle, or "" for an agent without one.
        agent: Name of the agent.
        env: Name of the trading environment.
        data: Where the bars came from.
        ledger: The agent's run.
        flat: The same bars without a position.
        buy_and_hold: The same bars, bought once under the same costs.
        currency: Of the account.
        selection: What the selection on validation decided, one sentence, or "".
        notes: What else a reader must know.
        seeds: The trainings that the agent was chosen from; None for a single one.

    Raises:
        DataError: The three ledgers do not cover the same bars, symbols and start equity.
    """

    title: str
    bundle: str
    agent: str
    env: str
    data: Provenance
    ledger: Ledger
    flat: Ledger
    buy_and_hold: Ledger
    currency: str = "USD"
    selection: str = ""
    notes: tuple[str, ...] = ()
    seeds: SeedTable | None = None

    def __post_init__(self) -> None:
        for name in ("flat", "buy_and_hold"):
            if not _comparable(self.ledger, getattr(self, name)):
                raise DataError(
                    f"the baseline '{name}' covers other bars, symbols or start equity than agent "
                    f"'{self.agent}'; run all three on the same panel and account"
                )

    @property
    def warning(self) -> str:
        """What must stand above every number of a simulated market, else ""."""
        if self.data.simulated_seed is None:
            return ""
        return f"Simulated market: these numbers say nothing about {self._symbols}"

    @property
    def _symbols(self) -> str:
        return ", ".join(self.ledger.symbols)

    @cached_property
    def results(self) -> dict[str, Metrics]:
        """Metrics under ``agent``, ``flat`` and ``buy_and_hold``."""
        runs = {"agent": self.ledger, "flat": self.flat, "buy_and_hold": self.buy_and_hold}
        return {name: summarise(ledger) for name, ledger in runs.items()}


def report_dict(report: Report) -> dict[str, object]:
    """The report as plain JSON values; no wall clock, host or duration in it."""
    ledger = report.ledger
    return {
        "schema_version": SCHEMA_VERSION,
        "title": report.title,
        "warning": report.warning or None,
        "tested": {
            "bundle": report.bundle or None,
            "agent": report.agent,
            "env": report.env,
            "symbols": list(ledger.symbols),
            "timeframe": ledger.timeframe.name,
            "first_bar": utc_text(ledger.time_ns[0]),
            "last_bar": utc_text(ledger.time_ns[-1]),
            "bars": len(ledger),
            "currency": report.currency,
        },
        "data": asdict(report.data),
        "selection": report.selection or None,
        "results": {name: metrics.to_dict() for name, metrics in report.results.items()},
        "monthly_returns": monthly_returns(ledger),
        "events": [
            {"time": utc_text(event.time_ns), "text": event.text} for event in ledger.events
        ],
        "notes": list(report.notes),
        **({"seeds": report.seeds.to_dict()} if report.seeds else {}),
    }


def write_report(report: Report, folder: Path) -> tuple[Path, Path]:
    """Write ``report.json`` and ``report.html``; each appears whole or not at all.

    Returns:
        The paths of the two files.
    """
    document = json.dumps(
        report_dict(report), sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False
    )
    page = render_page(_page(report))
    folder.mkdir(parents=True, exist_ok=True)
    return (
        write_whole(folder / "report.json", document + "\n"),
        write_whole(folder / "report.html", page),
    )


def console_table(report: Report) -> RenderableType:
    """The report for a terminal; names are shown as they are, never read as markup."""
    page = _page(report)
    table = Table(box=box.SIMPLE_HEAD, title=Text(page.title, style="bold"), title_justify="left")
    table.add_column("")
    for number, name in enumerate(page.columns):
        table.add_column(Text(name), justify="right", style="bold" if number == 0 else "")
    for label, cells in page.rows:
        table.add_row(Text(label), *(_console_cell(cell) for cell in cells))
    facts = Table.grid(padding=(0, 2))
    for label, value in page.facts:
        facts.add_row(Text(label, style="dim"), Text(value))
    parts: list[RenderableType] = [facts, table, Text(page.footer, style="dim")]
    parts += _console_seeds(page.seeds) if page.seeds else []
    parts += [Text(f"- {remark}") for remark in page.remarks]
    if page.outcome:
        parts.append(Text(page.outcome, style="bold"))
    if page.warning:
        banner = Panel(Text(page.warning, justify="center"), style="bold black on yellow")
        parts = [banner, *parts, banner]
    return Group(*parts)


def _console_seeds(seeds: SideTable) -> list[RenderableType]:
    table = Table("", box=box.SIMPLE_HEAD, title=Text(seeds.heading, style="bold"))
    table.title_justify = "left"
    for name in seeds.columns:
        table.add_column(Text(name), justify="right")
    for number, (label, cells) in enumerate(seeds.rows):
        style = "bold" if number == seeds.marked else ""
        table.add_row(Text(label), *(_console_cell(cell) for cell in cells), style=style)
    return [table, Text(seeds.lead)]


def _console_cell(cell: Cell) -> Text:
    value, detail = cell
    return Text.assemble(value, (f"\n{detail}", "not bold dim") if detail else "")


def _comparable(one: Ledger, other: Ledger) -> bool:
    return (
        np.array_equal(one.time_ns, other.time_ns)
        and one.symbols == other.symbols
        and one.timeframe is other.timeframe
        and one.start_equity == other.start_equity
    )


def _page(report: Report) -> Page:
    """All that console and HTML show, as text."""
    ledger, agent = report.ledger, report.results["agent"]
    names = (report.agent, "flat", "buy and hold")
    seed = report.data.simulated_seed
    bars = f"{report.data.source}, fingerprint {report.data.fingerprint[:16]}"
    facts = [
        ("Bundle", report.bundle),
        ("Agent", report.agent),
        ("Environment", report.env),
        ("Market", f"{', '.join(ledger.symbols)} {ledger.timeframe.name}"),
        ("Span", f"{minute_text(ledger.time_ns[0])} to {minute_text(ledger.time_ns[-1])} UTC"),
        ("Bars", f"{len(ledger):,}"),
        ("Data", bars if seed is None else f"SIMULATED MARKET, seed {seed}; {bars}"),
    ]
    return Page(
        title=report.title,
        warning=report.warning,
        outcome=report.selection,
        facts=[(label, value) for label, value in facts if value],
        columns=names,
        rows=metric_rows(list(report.results.values()), report.currency),
        months=monthly_returns(ledger),
        remarks=[
            *(f"{minute_text(event.time_ns)}: {event.text}" for event in ledger.events),
            *report.notes,
        ],
        footer=(
            f"Net of all costs. Annualised by {agent.bars_per_year:,.0f} bars a year, as counted "
            "in this span. 95 % intervals: Sharpe by Mertens (independent bars), win rate by "
            "Wilson."
        ),
        curves=tuple(zip(names, (ledger, report.flat, report.buy_and_hold), strict=True)),
        seeds=report.seeds.page() if report.seeds else None,
    )


def write_whole(path: Path, text: str) -> Path:
    """Write beside and rename, so that no reader ever sees half a file."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(text.encode())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    return path
