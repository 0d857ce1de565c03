"""``mtquant bridge``: a terminal for other machines, a look at one, and tokens for both."""

from __future__ import annotations

import logging
import sys
import time
from functools import partial
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mtquant.brokers.accounts import load_accounts
from mtquant.brokers.base import Instrument
from mtquant.brokers.bridge.calls import Scope
from mtquant.brokers.bridge.client import BridgeClient
from mtquant.brokers.bridge.orders import OrderTable
from mtquant.brokers.bridge.process import WorkerLost, WorkerProcess, WorkerRefused
from mtquant.brokers.bridge.supervisor import Patience, Supervisor
from mtquant.brokers.bridge.switch import UNTOLD
from mtquant.brokers.bridge.tokens import (
    Token,
    TokenTable,
    read_token,
    token_of_variable,
    tokens_of_environment,
    write_token,
)
from mtquant.brokers.bridge.worker import official_module
from mtquant.brokers.checkup import Checkup, Finding
from mtquant.brokers.connect import connect
from mtquant.brokers.mt5 import MT5Adapter
from mtquant.config.data import DATA_DIR
from mtquant.config.load import load_symbols
from mtquant.errors import BrokerUnavailable, ConfigError
from mtquant.market.mapper import SymbolMapper
from mtquant.market.symbols import SymbolSpec
from mtquant.market.timeframe import Timeframe
from mtquant.risk.switch import Form, SwitchFiles

if TYPE_CHECKING:
    from mtquant.brokers.bridge.server import BridgeServer, ServerSettings

app = typer.Typer(
    help="Offer a MetaTrader 5 terminal to other machines, or check one.", no_args_is_help=True
)

_OFFICIAL = "mtquant.brokers.bridge.worker"
_SIMULATED = "mtquant.commands.bridge_simulated"
_ORDERS = Path("bridge/orders.sqlite3")
_FAILED = 1

TokenFiles = Annotated[
    list[Path] | None, typer.Option("--token-file", help="File of `mtquant bridge token`.")
]


@app.command("token")
def token_command(
    scope: Annotated[Scope, typer.Argument(help="What it allows.")],
    out: Annotated[Path, typer.Option("--out", help="New file, for its owner's eyes only.")],
) -> None:
    """Make a token; it is written to a file and shown nowhere."""
    write_token(out, scope)
    Console().print(f"a token of scope '{scope.value}' is in {out}", markup=False, soft_wrap=True)


@app.command("serve")
def serve_command(
    token_file: TokenFiles = None,
    host: Annotated[str, typer.Option(help="Address to bind.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8750,
    cert: Annotated[Path | None, typer.Option(help="PEM file; TLS.")] = None,
    key: Annotated[Path | None, typer.Option(help="PEM file of its private key.")] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="Another name by which clients may call.")
    ] = None,
    orders: Annotated[Path, typer.Option(help="Table of all orders; keep it.")] = _ORDERS,
    rate: Annotated[float, typer.Option(min=1.0, help="Calls a second of one scope.")] = 200.0,
    simulated: Annotated[
        str | None, typer.Option(help="A symbol on the simulated terminal instead.")
    ] = None,
    timeframe: Annotated[str, typer.Option(help="Of its bars.")] = "H1",
    speed: Annotated[float, typer.Option(min=0.0, help="Its bars per second.")] = 0.0,
    data_dir: Annotated[Path, typer.Option(help="Folder of its bars.")] = DATA_DIR,
    login: Annotated[int | None, typer.Option(help="Account of the real terminal.")] = None,
    server: Annotated[str | None, typer.Option(help="Its broker's server.")] = None,
    terminal: Annotated[str | None, typer.Option(help="Path of terminal64.exe.")] = None,
    password_env: Annotated[
        str | None, typer.Option(help="Environment variable of the password.")
    ] = None,
    until_stdin_ends: Annotated[
        bool, typer.Option("--until-stdin-ends", help="Stop with whoever started it.")
    ] = False,
) -> None:
    """Offer the terminal on this machine over HTTP until stopped."""
    settings = _settings(
        host=host,
        port=port,
        certificate=cert,
        private_key=key,
        allow_hosts=tuple(allow_host or ()),
        rate=rate,
    )
    tokens = TokenTable([*map(read_token, token_file or ()), *tokens_of_environment()])
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    if simulated is None:
        given = {"login": login, "server": server, "path": terminal, "password_env": password_env}
        connect = {name: value for name, value in given.items() if value is not None}
        program, setup = _OFFICIAL, {"connect": connect}
    else:
        program, setup = _SIMULATED, _simulated_setup(simulated, timeframe, speed, data_dir)
    made = _start(program, setup, orders, tokens, settings)
    _say_switch(SwitchFiles(orders))
    scheme = "http" if cert is None else "https"
    shown = f"[{host}]" if ":" in host else host
    Console().print(f"bridge on {scheme}://{shown}:{made.port}", markup=False, soft_wrap=True)
    if until_stdin_ends:
        Thread(target=_stop_with_stdin, args=[made], name="bridge-stdin", daemon=True).start()
    made.run()


def _stop_with_stdin(server: BridgeServer) -> None:
    while sys.stdin.buffer.read(1024):
        pass
    server.stop()


def _settings(**chosen: Any) -> ServerSettings:
    """Settings of the server, checked.

    Raises:
        ConfigError: They are unsafe, or the server's own packages are missing.
    """
    try:
        from mtquant.brokers.bridge.server import ServerSettings
    except ImportError as missing:
        raise ConfigError(
            f"the bridge's server needs '{missing.name}', which is not installed; "
            "pip install 'mtquant[bridge]'"
        ) from None
    settings = ServerSettings(**chosen)
    settings.check()
    return settings


def _simulated_setup(symbol: str, timeframe: str, speed: float, data_dir: Path) -> dict[str, Any]:
    name = load_symbols()[symbol].name
    frame = Timeframe.parse(timeframe).name
    return {
        "symbol": name,
        "timeframe": frame,
        "bars_per_second": speed,
        "data_dir": str(data_dir),
    }


def _start(
    program: str,
    setup: dict[str, Any],
    orders: Path,
    tokens: TokenTable,
    settings: ServerSettings,
) -> BridgeServer:
    """A server whose worker has a terminal.

    Raises:
        ConfigError: There is none, or the server cannot listen.
    """
    from mtquant.brokers.bridge.server import BridgeServer

    patience = Patience()
    command = [sys.executable, "-m", program]
    supervisor = Supervisor(
        partial(WorkerProcess, command, setup, patience.connect), OrderTable(orders), patience
    )
    try:
        supervisor.open()
        return BridgeServer(supervisor, tokens, settings)
    except (WorkerLost, WorkerRefused) as problem:
        supervisor.close()
        raise ConfigError(str(problem)) from None
    except BaseException:
        supervisor.close()
        raise


@app.command("arm")
def arm_command(
    by: Annotated[str, typer.Option("--by", help="Who answers for it.")],
    reason: Annotated[str, typer.Option("--reason", help="Why trading may begin anew.")],
    orders: Annotated[Path, typer.Option(help="The bridge's table of all orders.")] = _ORDERS,
) -> None:
    """Let orders pass again after a kill, on this machine and running or not."""
    if not orders.is_file():
        raise ConfigError(f"there is no table of orders at '{orders}'; name it with --orders")
    SwitchFiles(orders).arm(by, reason, time.time_ns())
    Console().print(f"armed by {by}: {reason}", markup=False, soft_wrap=True, highlight=False)


def _say_switch(files: SwitchFiles) -> None:
    """What stands in the way of orders, at the start."""
    form = files.read()
    if form is not Form.ARMED:
        told = f"the switch is at {form.name} ({files.told() or UNTOLD}); see `mtquant bridge arm`"
        Console(stderr=True).print(told, markup=False, soft_wrap=True, highlight=False)


@app.command("check")
def check_command(
    account: Annotated[
        str | None, typer.Option(help="Name in configs/brokers.yaml, instead of what follows.")
    ] = None,
    url: Annotated[str | None, typer.Option(help="Of a bridge; else the terminal here.")] = None,
    token_file: Annotated[
        Path | None, typer.Option("--token-file", help="Its token, of scope read.")
    ] = None,
    token_env: Annotated[
        str | None, typer.Option("--token-env", help="Environment variable of its token instead.")
    ] = None,
    ca_file: Annotated[
        Path | None, typer.Option(help="PEM file of the authority behind its certificate.")
    ] = None,
    symbol: Annotated[str, typer.Option(help="Standard name.")] = "XAUUSD",
    broker_name: Annotated[str | None, typer.Option(help="What the broker calls it.")] = None,
    login: Annotated[int | None, typer.Option(help="Account that it must be.")] = None,
    server: Annotated[str | None, typer.Option(help="Its broker's server.")] = None,
) -> None:
    """Ask a terminal everything that sends no order, and show what holds."""
    spec = load_symbols()[symbol]
    expected: tuple[int, str] | None
    if account is not None:
        if any((url, token_file, token_env, ca_file, login, server)):
            raise ConfigError(f"account '{account}' says where it is; give --account alone")
        expected, named, module = _account(account, spec)
    else:
        if (login is None) != (server is None):
            raise ConfigError("an account is a --login and its --server; give both or neither")
        expected = None if login is None or server is None else (login, server)
        named, module = spec.name, _module(url, token_file, token_env, ca_file)
    instrument = Instrument(spec, broker_name or named)
    adapter = MT5Adapter(module, [instrument], expected)
    try:
        found = adapter.connect()
        findings = list(Checkup(module, adapter, instrument).run(found, time.time_ns()))
    except BrokerUnavailable as problem:
        raise ConfigError(f"there is no terminal to check: {problem}") from None
    finally:
        adapter.close()
    Console().print(_table(findings, account or url or "the terminal here"))
    if not all(finding.good for finding in findings):
        raise typer.Exit(_FAILED)


def _account(name: str, spec: SymbolSpec) -> tuple[tuple[int, str], str, Any]:
    """Login and server, the symbol's name there, and a module that is verified to be it.

    Raises:
        ConfigError: It is not filled in, or nothing answers.
        RiskHalt: Another account answers.
    """
    entry = load_accounts()[name].refuse_unfilled()
    assert entry.login is not None
    theirs = SymbolMapper(entry.broker_id, load_symbols).to_broker(spec.name)
    try:
        module = connect(entry, entry.credentials())
    except BrokerUnavailable as problem:
        raise ConfigError(f"there is no terminal to check: {problem}") from None
    return (entry.login, entry.server), theirs, module


def _module(
    url: str | None, token_file: Path | None, token_env: str | None, ca_file: Path | None
) -> Any:
    """The official module, or a client of a bridge.

    Raises:
        ConfigError: There is neither.
    """
    if url is None:
        try:
            return official_module({})
        except ImportError:
            raise ConfigError(
                "there is no terminal to check: the MetaTrader5 package is not installed here (it "
                "exists for Windows alone); name a bridge with --url"
            ) from None
    return BridgeClient(url, _token(token_file, token_env), ca_file=ca_file)


def _token(token_file: Path | None, token_env: str | None) -> Token:
    if token_file is not None:
        return read_token(token_file)
    return token_of_variable(token_env or "MTQUANT_BRIDGE_READ_TOKEN", Scope.READ)


def _table(findings: list[Finding], place: str) -> Table:
    table = Table("check", "", "seen", title=escape(place))
    for finding in findings:
        mark = "[green]good[/]" if finding.good else "[red]BAD[/]"
        table.add_row(finding.what, mark, escape(finding.seen))
    return table
