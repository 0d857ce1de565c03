"""What the ``mtquant features`` commands show, as tables on the console."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mtquant.features.audit import Finding
from mtquant.features.base import Feature, Picked
from mtquant.features.compression import (
    CompressionRegime,
    ZlibRatio,
    gate_finding,
    label_shares,
)
from mtquant.features.leaks import find_leaks
from mtquant.market.panel import Panel
from mtquant.market.timeframe import Timeframe
from mtquant.research.worth import Row

FATAL = {"not finite", "range"}  # findings of the audit; the others are for the user to judge


def show_ranking(console: Console, rows: Sequence[Row], title: str) -> None:
    """One line a column: rank correlation with the move and with its size, and the verdict."""
    table = folding_table(
        "column", "IC", "95 %", "folds", "size IC", "95 %", "verdict", title=title
    )
    for row in rows:
        cells = [str(row["column"])]
        for kind in ("", "size_"):
            mark = "*" if row[f"{kind}ic_survives"] else ""
            cells.append(f"{row[f'{kind}ic']:+.3f}{mark}")
            cells.append(f"{row[f'{kind}ic_low']:+.3f} to {row[f'{kind}ic_high']:+.3f}")
        cells.insert(3, f"{row['stability']:.0%}")
        table.add_row(*cells, str(row["verdict"]))
    console.print(table)


def show_leaks(console: Console, features: Sequence[Feature], given: Panel | None) -> set[str]:
    """Try every feature and show what leaks; names of those that do."""
    table = folding_table("what", "column", "when", "finding", title="leaks")
    broken = set()
    with console.status("looking for leaks") as status:
        for feature in features:
            status.update(f"looking for leaks in {feature.key}")
            leaks = [] if given is None else find_leaks(feature, given)
            if given is None or given.timeframe is Timeframe.H1:
                leaks += find_leaks(feature)
            for leak in leaks:
                table.add_row(leak.kind, leak.column, leak.time, escape(leak.sentence))
                broken.add(feature.key)
    clean = f"no leaks in {', '.join(dict.fromkeys(feature.key for feature in features))}"
    console.print(table if table.row_count else clean)
    return broken


def show_gates(
    console: Console, features: Sequence[Feature], panel: Panel, train_rows: int
) -> None:
    """How often each label of a regime holds, and a gate that stands still."""
    for feature in features:
        whole = feature.feature if isinstance(feature, Picked) else feature
        if not isinstance(whole, CompressionRegime | ZlibRatio):
            continue
        learned = whole.fit(panel[:train_rows])
        for bars in panel.bars:
            params = learned.get(bars.symbol, {})
            shares = label_shares(whole, bars, params)
            if shares:
                told = ", ".join(f"{label} {share:.1%}" for label, share in shares.items())
                console.print(f"{whole.key}, {bars.symbol}: {told} of the bars", soft_wrap=True)
            if finding := gate_finding(whole, bars, params):
                console.print(f"[yellow]{escape(finding)}[/]", soft_wrap=True)


def show_audit(console: Console, findings: Sequence[Finding], panel: Panel, origin: str) -> bool:
    """Show what the columns are like on the bars; whether one of them cannot be used."""
    first = panel.bars[0]
    title = f"{origin}: {len(panel):,} bars, {first.when(0)} to {first.when(-1)}"
    table = folding_table("what", "column", "finding", title=title)
    for found in findings:
        colour = "red" if found.kind in FATAL else "yellow" if found.grave else "dim"
        kind, column, sentence = found.row()
        table.add_row(f"[{colour}]{kind}[/]", column, escape(sentence))
    console.print(table if table.row_count else escape(f"{title}: nothing found"))
    return any(found.kind in FATAL for found in findings)


def folding_table(*titles: str, title: str | None = None) -> Table:
    """A table that folds long cells instead of cutting them."""
    table = Table(title=None if title is None else escape(title))
    for name in titles:
        table.add_column(name, overflow="fold")
    return table
