"""``mtquant symbols``: what is known of the symbols, and what a broker says of them now."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mtquant.backtest.report import write_whole
from mtquant.brokers.accounts import load_accounts
from mtquant.brokers.specs import Difference, differences, live_spec, said
from mtquant.commands.accounts import AccountOption, open_reads
from mtquant.config.load import SYMBOLS, find, load_symbols
from mtquant.config.symbol_file import changed_symbols
from mtquant.errors import ConfigError, DataError
from mtquant.market.mapper import SymbolMapper
from mtquant.market.symbols import SymbolSpec, SymbolTable

app = typer.Typer(help="Show symbols and compare them with a broker's.", no_args_is_help=True)


@app.command("list")
def list_command() -> None:
    """Show all symbols of configs/symbols.yaml."""
    symbols = load_symbols()
    table = Table("symbol", "description", "class", "lot", "tick", "lots", "clock", "brokers")
    for name in symbols.names:
        spec = symbols[name]
        table.add_row(
            name,
            Text(spec.description),
            spec.asset_class,
            f"{spec.contract_size:g}",
            f"{spec.tick_size:.10g}",
            f"{spec.lot_min:g} to {spec.lot_max:g} by {spec.lot_step:g}",
            spec.clock,
            Text(", ".join(f"{broker} {theirs}" for broker, theirs in spec.brokers.items())),
        )
    Console().print(table)


@app.command("show")
def show_command(
    name: Annotated[str, typer.Argument(help="Standard name, or any broker's, such as GOLD.pro.")],
) -> None:
    """Show everything that is known of one symbol."""
    symbols = load_symbols()
    spec = symbols[_standard(symbols, name)]
    table = Table("field", "value", title=spec.name)
    for field, value in spec.model_dump().items():
        if isinstance(value, dict):
            value = ", ".join(f"{key} {one}" for key, one in value.items())
        table.add_row(field, Text("none" if value is None else str(value)))
    Console().print(table)


@app.command("sync")
def sync_command(
    account: AccountOption,
    names: Annotated[
        list[str] | None, typer.Argument(help="Standard names; all the broker has if omitted.")
    ] = None,
    write: Annotated[
        bool, typer.Option("--write", help="Write them into ./configs/symbols.yaml.")
    ] = False,
) -> None:
    """Show where the broker's contracts differ from configs/symbols.yaml, field by field."""
    entry = load_accounts()[account].refuse_unfilled()
    symbols, mapper = load_symbols(), SymbolMapper(entry.broker_id, load_symbols)
    wanted = [mapper.spec(name) for name in names or mapper.names]
    console, reads = Console(), open_reads(entry)
    try:
        there = set(reads.symbols())
        changed: dict[str, SymbolSpec] = {}
        table = Table("symbol", "field", "configs/symbols.yaml", f"{account} now")
        for spec in wanted:
            theirs = mapper.to_broker(spec.name)
            if theirs not in there and not names:
                table.add_row(spec.name, "", "", f"no symbol {theirs} there")
                continue
            try:
                live = live_spec(reads.symbol_info(theirs), spec)
            except DataError as problem:
                table.add_row(spec.name, "", "", Text(str(problem)))
                continue
            found = differences(spec, live)
            _add_rows(table, spec.name, found)
            if found:
                changed[spec.name] = live
    finally:
        reads.close()
    console.print(table)
    _finish(console, symbols, changed, write)


def _finish(
    console: Console, symbols: SymbolTable, changed: dict[str, SymbolSpec], write: bool
) -> None:
    if not changed:
        said = "no contract differs; nothing was written"
    elif write:
        said = f"{', '.join(changed)} written to {_write(changed)}"
    else:
        said = f"{', '.join(changed)} differ; nothing was written, --write does"
    console.print(said, markup=False, soft_wrap=True, highlight=False)


def _write(changed: dict[str, SymbolSpec]) -> Path:
    """The working directory's file, made from the packaged one where there is none."""
    found = find(SYMBOLS)
    if found is None:
        raise ConfigError(f"no {SYMBOLS} here and none in the package; reinstall mtquant")
    text = changed_symbols(found.path.read_text(encoding="utf-8"), changed, str(found.path))
    path = Path(SYMBOLS)
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_whole(path, text)


def _add_rows(table: Table, name: str, found: tuple[Difference, ...]) -> None:
    for one in found:
        table.add_row(name, one.field, said(one.ours), said(one.theirs))


def _standard(symbols: SymbolTable, name: str) -> str:
    """The standard name of a name that anybody uses."""
    if name.strip().upper() in symbols.names:
        return name.strip().upper()
    return symbols.standard_name(name)
