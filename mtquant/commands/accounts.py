"""``mtquant accounts``: the accounts of ``configs/brokers.yaml``, and whether they answer.

Nothing here trades, and a secret is only ever handed to the terminal or the bridge that it opens.
"""

from __future__ import annotations

import time
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mtquant.brokers.accounts import AccountEntry, load_accounts
from mtquant.brokers.connect import connect
from mtquant.brokers.connection import CHECK_EVERY_NS, Health
from mtquant.brokers.pool import ConnectionPool, Holdings
from mtquant.brokers.reading import Pace, Reads
from mtquant.config.load import load_symbols
from mtquant.errors import BrokerUnavailable, ConfigError
from mtquant.market.clock import SECOND_NS, utc_text

app = typer.Typer(help="Show the accounts and whether they answer.", no_args_is_help=True)

AccountOption = Annotated[str, typer.Option("--account", help="Name in configs/brokers.yaml.")]


def open_reads(entry: AccountEntry) -> Reads:
    """Connect to an account, verified, for reading."""
    module = connect(entry, entry.credentials())
    return Reads(module, Pace(now_ns=lambda: time.time_ns(), sleep=lambda s: time.sleep(s)))


@app.command("list")
def list_command() -> None:
    """Show the configured accounts."""
    accounts = load_accounts()
    table = Table("account", "broker", "login", "server", "kind", "reached by", "description")
    for name in accounts.names:
        entry = accounts[name]
        login = "not filled in" if entry.login is None else str(entry.login)
        way = entry.terminal or "terminal here" if entry.bridge is None else entry.bridge.url
        kind = "demo" if entry.is_demo else "REAL MONEY"
        row = (name, entry.broker_id, login, entry.server, kind, way, entry.description)
        table.add_row(*map(Text, row))
    Console().print(table)


@app.command("check")
def check_command(
    names: Annotated[
        list[str] | None, typer.Argument(help="Accounts; all that are filled in if omitted.")
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Check again every 30 s, until Ctrl-C.")
    ] = False,
) -> None:
    """Connect, verify and show latency, uptime and positions of accounts."""
    pool = ConnectionPool(_chosen(names), open_reads, load_symbols(), lambda: time.time_ns())
    console = Console()
    try:
        while True:
            health = pool.check()
            console.print(_health_table(pool, health))
            if any(one.up for one in health):
                console.print(_positions_table(pool.positions()))
            if not watch:
                break
            time.sleep(CHECK_EVERY_NS / SECOND_NS)
    finally:
        pool.close()
    down = [one for one in health if not one.up]
    if down:
        raise BrokerUnavailable(f"{down[0].account} is down: {down[0].problem}")


def _chosen(names: list[str] | None) -> list[AccountEntry]:
    accounts = load_accounts()
    if names:
        return [accounts[name].refuse_unfilled() for name in names]
    filled = [accounts[name] for name in accounts.names if accounts[name].login is not None]
    if not filled:
        raise ConfigError(
            "no account is filled in; copy configs/brokers.yaml into your working directory's "
            "configs/ and fill in login and server (docs/accounts.md)"
        )
    return filled


def _health_table(pool: ConnectionPool, health: tuple[Health, ...]) -> Table:
    table = Table("account", "state", "checked", "latency ms", "mean ms", "uptime", "reads", "lost")
    statistics = pool.statistics()
    for one in health:
        counts = statistics[one.account]
        table.add_row(
            Text(one.account),
            Text("up") if one.up else Text(f"down: {one.problem}"),
            utc_text(one.at_ns),
            f"{one.latency_ms:.1f}" if one.up else "-",
            f"{counts.latency_mean_ms:.1f}",
            f"{counts.uptime:.2%}" if counts.known_ns else "-",
            str(counts.reads),
            str(counts.failed_reads),
        )
    return table


def _positions_table(held: Holdings) -> Table:
    table = Table("account", "symbol", "lots", "opened at", "profit", title="positions")
    for one in held.positions:
        table.add_row(
            Text(one.account),
            Text(one.symbol),
            f"{one.volume_lots:+g}",
            f"{one.price_open:g}",
            f"{one.profit:+,.2f} {one.currency}",
        )
    for symbol, lots in held.net_lots().items():
        table.add_row("all", Text(symbol), f"{lots:+g}", "", "")
    for account in held.unknown:
        table.add_row(Text(account), "unknown", "?", "?", "?")
    return table
