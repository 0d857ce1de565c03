"""``mtquant breaker``: where a runner's circuit breaker stands, and its reset by a person."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mtquant.errors import ConfigError
from mtquant.live.breaker_log import BreakerLog
from mtquant.live.journal import Journal
from mtquant.live.lock import BreakerStatus
from mtquant.market.clock import utc_text
from mtquant.risk.breaker import LEVEL_NAMES

app = typer.Typer(help="Show and reset a runner's circuit breaker.", no_args_is_help=True)

JournalOption = Annotated[Path, typer.Option("--journal", help="The runner's journal file.")]


@app.command("status")
def status_command(journal: JournalOption) -> None:
    """Show level, cause and cooldown."""
    with _opened(journal) as log:
        status = log.status(time.time_ns())
    Console().print(_table(status, journal.name))


@app.command("reset")
def reset_command(
    journal: JournalOption,
    by: Annotated[str, typer.Option("--by", help="Who answers for it.")],
    reason: Annotated[str, typer.Option("--reason", help="Why trading may begin anew.")],
) -> None:
    """Let trading begin anew at the next bar, once the cooldown is over."""
    with _opened(journal) as log:
        made = log.reset(time.time_ns(), by, reason)
    Console().print(
        f"reset by {made.person} at {utc_text(made.at_ns)}: {made.reason}\n"
        "It takes effect at the next bar; losses are counted anew from the equity of the last.",
        markup=False,
        soft_wrap=True,
        highlight=False,
    )


@contextmanager
def _opened(path: Path) -> Iterator[BreakerLog]:
    """The breaker's log of a journal that exists; nothing is created.

    Raises:
        ConfigError: The file is no journal that this version reads.
    """
    if not path.is_file() or path.stat().st_size == 0:
        raise ConfigError(f"there is no journal at '{path}'; name the file that a run writes")
    try:
        journal = Journal(path, key=os.environ.get("MTQUANT_JOURNAL_KEY", "").encode())
        try:
            yield journal.breaker
        finally:
            journal.close()
    except sqlite3.Error as error:
        raise ConfigError(f"'{path}' cannot be read as a journal: {error}") from None


def _table(status: BreakerStatus, name: str) -> Table:
    table = Table("what", "value", title=Text(f"circuit breaker, {name}"))
    at = status.triggered_at_ns
    rows = {
        "level": LEVEL_NAMES[status.level],
        "alert": status.alert,
        "triggered at": "-" if at is None else utc_text(at),
        "cause": status.cause or "-",
        "minutes since": "-" if at is None else f"{status.minutes_since:.1f}",
        "cooldown minutes": f"{status.cooldown_minutes:g}",
        "can reset": "yes" if status.can_reset else "no",
        "can trade": "yes" if status.can_trade else "no",
        "failed orders": str(status.failed_orders),
        "reset waiting": status.reset_by or "-",
    }
    for what, value in rows.items():
        # A name or a cause is shown as it is, never read as markup.
        table.add_row(what, Text(value))
    return table
