"""``mtquant data``: import, list, check and resample bars.

Wiring only: every rule lives in :mod:`mtquant.market`. What was found is shown as a table before a
file is refused, so that one run tells all that is wrong with it. A clock that the file does not
state is asked for on a terminal and never guessed.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.prompt import Prompt
from rich.table import Table

from mtquant.config.data import DATA_DIR
from mtquant.config.load import load_symbols
from mtquant.errors import ConfigError
from mtquant.market.bars import Bars
from mtquant.market.clock import Clock
from mtquant.market.importing import (
    NO_REPAIRS,
    Examined,
    ImportResult,
    examine_file,
    store_examined,
)
from mtquant.market.quality import check as check_bars
from mtquant.market.quality import refuse_errors
from mtquant.market.raw import Finding, RawBars, UnknownClock
from mtquant.market.repairs import Repairs
from mtquant.market.resample import resample as resample_bars
from mtquant.market.store import Source, Store
from mtquant.market.symbols import SymbolSpec
from mtquant.market.timeframe import Timeframe

app = typer.Typer(help="Import, list, check and resample market data.", no_args_is_help=True)

_COLOURS = {"error": "red", "warning": "yellow", "info": "dim"}

SymbolOption = Annotated[str, typer.Option("--symbol", help="Standard name, such as XAUUSD.")]
TimeframeOption = Annotated[
    str | None, typer.Option("--timeframe", help="Such as H1; told from the times if left out.")
]
ClockOption = Annotated[
    str | None, typer.Option("--clock", help="Clock of the file's times: utc, ny+7, eet, ...")
]
DataDirOption = Annotated[Path, typer.Option("--data-dir", help="Folder of the store.")]


@app.command("import")
def import_command(
    file: Annotated[Path, typer.Argument(help="MT5, MT4, Dukascopy, Yahoo, CSV, Parquet, ...")],
    symbol: SymbolOption,
    timeframe: TimeframeOption = None,
    clock: ClockOption = None,
    data_dir: DataDirOption = DATA_DIR,
    sort: Annotated[bool, typer.Option("--sort", help="Put bars in order of time.")] = False,
    drop_duplicates: Annotated[
        bool, typer.Option("--drop-duplicates", help="Drop exact repeats of a bar.")
    ] = False,
    drop_bad: Annotated[
        bool, typer.Option("--drop-bad", help="Drop bars with missing or impossible prices.")
    ] = False,
    drop_spikes: Annotated[
        bool, typer.Option("--drop-spikes", help="Drop bars with a spike that reverts at once.")
    ] = False,
    drop_unfinished: Annotated[
        bool, typer.Option("--drop-unfinished", help="Drop bars that are not closed yet.")
    ] = False,
    drop_ambiguous: Annotated[
        bool, typer.Option("--drop-ambiguous", help="Drop times that a clock change doubled.")
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Let the file rewrite stored bars of its span.")
    ] = False,
) -> None:
    """Check a file of bars and add it to the store, in UTC."""
    repairs = Repairs(
        sort=sort,
        drop_duplicates=drop_duplicates,
        drop_bad=drop_bad,
        drop_spikes=drop_spikes,
        drop_unfinished=drop_unfinished,
        drop_ambiguous=drop_ambiguous,
    )
    import_file_shown(
        Console(), file, symbol, timeframe, clock, data_dir, repairs=repairs, replace=replace
    )


def import_file_shown(
    console: Console,
    file: Path,
    symbol: str,
    timeframe: str | None,
    clock: str | None,
    data_dir: Path,
    *,
    repairs: Repairs = NO_REPAIRS,
    replace: bool = False,
) -> ImportResult:
    """Import a file, showing what was found in it and where it went; see ``import``."""
    examined = _examine(console, file, _spec(symbol), timeframe, clock, repairs)
    show_findings(console, file.name, examined.findings)
    result = store_examined(examined, Store(data_dir), replace=replace)
    console.print(
        f"{result.layout} file, {len(result.bars)} bars {result.bars.symbol} "
        f"{result.timeframe.name} read on clock {result.clock.name}: {result.added.added} new, "
        f"{result.added.replaced} replaced, {result.added.total} in {result.added.path}\n"
        f"fingerprint {result.added.fingerprint}",
        markup=False,
        soft_wrap=True,
    )
    return result


@app.command("list")
def list_command(data_dir: DataDirOption = DATA_DIR) -> None:
    """Show what is stored; every file is verified on the way."""
    store = Store(data_dir)
    table = Table("symbol", "timeframe", "bars", "first", "last", "sources", "fingerprint")
    for symbol, timeframe in store.list():
        stored = store.read(symbol, timeframe)
        table.add_row(
            symbol,
            timeframe.name,
            f"{len(stored.bars):,}",
            stored.bars.when(0),
            stored.bars.when(-1),
            ", ".join(f"{source.name} ({source.clock})" for source in stored.sources),
            stored.fingerprint[:12],
        )
    Console().print(table if table.row_count else f"nothing is stored in {data_dir} yet")


@app.command("check")
def check_command(
    symbol: SymbolOption,
    file: Annotated[Path | None, typer.Argument(help="A file; else stored bars.")] = None,
    timeframe: TimeframeOption = None,
    clock: ClockOption = None,
    data_dir: DataDirOption = DATA_DIR,
) -> None:
    """Show what is wrong or odd about a file, or about stored bars, without changing anything."""
    console, spec = Console(), _spec(symbol)
    if file is not None:
        examined = _examine(console, file, spec, timeframe, clock, Repairs())
        show_findings(console, file.name, examined.findings)
        refuse_errors(examined.findings)
        return
    store = Store(data_dir)
    wanted = None if timeframe is None else Timeframe.parse(timeframe)
    stored = [key for key in store.list() if key[0] == spec.name and wanted in (None, key[1])]
    if not stored:
        raise ConfigError(f"no bars of {symbol} to check in {data_dir}; import a file first")
    for name, each in stored:
        raw = RawBars.from_bars(store.get(name, each), f"{name} {each.name}", Clock.parse("utc"))
        findings = check_bars(raw, spec, time.time_ns())
        show_findings(console, f"{name} {each.name}", findings)
        refuse_errors(findings)


@app.command("resample")
def resample_command(
    symbol: SymbolOption,
    source: Annotated[str, typer.Option("--from", help="Stored timeframe, such as M1.")],
    target: Annotated[str, typer.Option("--to", help="Higher timeframe, such as H1.")],
    data_dir: DataDirOption = DATA_DIR,
    replace: Annotated[
        bool, typer.Option("--replace", help="Rewrite stored bars of the same span.")
    ] = False,
) -> None:
    """Make a higher timeframe from stored bars, on the symbol's trading clock."""
    spec, store = _spec(symbol), Store(data_dir)
    bars = store.get(spec.name, Timeframe.parse(source))
    made = resample_bars(bars, Timeframe.parse(target), spec)
    added = store.add(made, _resampled(bars, made, spec), replace=replace)
    Console().print(
        f"{len(bars)} {bars.timeframe.name} bars make {len(made)} {made.timeframe.name} bars; "
        f"{added.total} in {added.path}\nfingerprint {added.fingerprint}",
        markup=False,
        soft_wrap=True,
    )


def _resampled(bars: Bars, made: Bars, spec: SymbolSpec) -> Source:
    name = f"resampled from {bars.timeframe.name}"
    return Source(name, spec.clock, len(made), made.when(0), made.when(-1))


def _spec(symbol: str) -> SymbolSpec:
    return load_symbols()[symbol]


def _examine(
    console: Console,
    file: Path,
    spec: SymbolSpec,
    timeframe: str | None,
    clock: str | None,
    repairs: Repairs,
) -> Examined:
    """Examine a file, asking for its clock where it is unknown and somebody is there to answer."""
    frame = None if timeframe is None else Timeframe.parse(timeframe)
    known = None if clock is None else Clock.parse(clock)
    now = time.time_ns()
    try:
        return examine_file(file, spec, timeframe=frame, clock=known, repairs=repairs, now_ns=now)
    except UnknownClock as question:
        if not sys.stdin.isatty():
            raise
        console.print(str(question), markup=False)
        known = Clock.parse(Prompt.ask("clock of the file's times", console=console))
        return examine_file(file, spec, timeframe=frame, clock=known, repairs=repairs, now_ns=now)


def show_findings(console: Console, title: str, findings: Iterable[Finding]) -> None:
    """What was found, errors first."""
    table = Table("severity", "what", "count", "first place", "value", "cure", title=escape(title))
    for found in findings:
        severity = found.severity.value
        table.add_row(
            f"[{_COLOURS[severity]}]{severity}[/]",
            found.what,
            f"{found.count:,}",
            escape(found.place.removeprefix(f"{title}, ")),
            escape(found.value),
            found.cure,
        )
    console.print(table if table.row_count else escape(f"{title}: nothing found"))
