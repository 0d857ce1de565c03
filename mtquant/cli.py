"""The ``mtquant`` command: every part of the system under one name."""

from __future__ import annotations

import typer

from mtquant.commands.accounts import app as accounts_app
from mtquant.commands.backtest import backtest
from mtquant.commands.breaker import app as breaker_app
from mtquant.commands.bridge import app as bridge_app
from mtquant.commands.data import app as data_app
from mtquant.commands.features import app as features_app
from mtquant.commands.fetch import fetch, update
from mtquant.commands.live import arm, flatten, journal_app, kill, status
from mtquant.commands.study import app as study_app
from mtquant.commands.symbols import app as symbols_app
from mtquant.console import run_app
from mtquant.deploy import deploy
from mtquant.train import train

app = typer.Typer(
    help="Reinforcement learning for trading, with a bridge to MetaTrader 5.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command()(train)
app.command()(backtest)
app.command()(deploy)
data_app.command("fetch")(fetch)
data_app.command("update")(update)
app.command()(status)
app.command()(kill)
app.command()(flatten)
app.command()(arm)
app.add_typer(accounts_app, name="accounts")
app.add_typer(breaker_app, name="breaker")
app.add_typer(bridge_app, name="bridge")
app.add_typer(journal_app, name="journal")
app.add_typer(data_app, name="data")
app.add_typer(features_app, name="features")
app.add_typer(study_app, name="study")
app.add_typer(symbols_app, name="symbols")


def main() -> None:
    """Entry point of the ``mtquant`` script."""
    run_app(app)


if __name__ == "__main__":
    main()
