"""``mtquant kill | arm | flatten | status | journal``: a running strategy, from another terminal.

None of them needs the runner: the kill switch is files, and the journal is read beside it.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mtquant.brokers.accounts import load_accounts
from mtquant.brokers.bridge.calls import LONGEST_GROUP
from mtquant.brokers.connect import module_of
from mtquant.errors import BrokerUnavailable, ConfigError, RiskHalt, one_line
from mtquant.live.journal import Journal
from mtquant.live.kill_switch import Form, KillSwitch
from mtquant.live.reading import lines, newest, standing
from mtquant.live.start import lock_path
from mtquant.live.writer import is_held

journal_app = typer.Typer(help="Show, verify and export a runner's journal.", no_args_is_help=True)

JournalOption = Annotated[Path, typer.Option("--journal", help="The runner's journal file.")]
KEY = "MTQUANT_JOURNAL_KEY"
LIVE, JOURNAL_NAME = Path("live"), "journal.sqlite3"
"""Where ``deploy --live`` keeps a folder for each account and bundle, and what is in it."""


def kill(
    journal: Annotated[
        Path | None, typer.Option("--journal", help="The runner's journal file.")
    ] = None,
    account: Annotated[
        str | None,
        typer.Option("--account", help="All its runners under live/ here, and its bridge."),
    ] = None,
    reason: Annotated[str, typer.Option(help="For those who look.")] = "by hand",
    reduce: Annotated[bool, typer.Option("--reduce", help="Reductions go on.")] = False,
) -> None:
    """Let nothing more be sent, running or not, until somebody arms the switch."""
    if journal is None and account is None:
        raise ConfigError("say what is to be stopped: --journal FILE, or --account NAME")
    form, failed = Form.REDUCE if reduce else Form.HARD, list[str]()
    journals = list[Path]()
    if journal is not None:
        _must_exist(journal)
        journals.append(journal)
    if account is not None:  # a journal without a row is of a runner that may be about to begin
        found = sorted(LIVE.glob(f"*/{JOURNAL_NAME}"))
        begun = [one for one in found if one.parent.name.startswith(f"{account}-")]
        journals += [one for one in begun if not _of_another(one, account)]
    for one in journals:  # first, for that needs nobody's answer
        switch = KillSwitch(one)
        try:
            switch.kill(form, reason)
        except RiskHalt as problem:  # the others are stopped all the same
            failed.append(str(problem))
            _say(f"NOT STOPPED: {problem}")
        else:
            _say(f"the kill switch of {one} is at {switch.read().name}")
    if account is not None:
        _kill_bridge(account, form, reason, marked=bool(journals))
    if failed:
        raise RiskHalt("; ".join(failed))
    _say("what was sent before stands")


def _of_another(journal: Path, account: str) -> bool:
    """Whether a journal tells that it is of an account whose name goes on where this one's ends."""
    try:
        table = load_accounts()
        longer = [table[name] for name in table.names if name.startswith(f"{account}-")]
        named = [one for one in longer if journal.parent.name.startswith(f"{one.name}-")]
        if not named:
            return False
        with _read(journal) as database:
            told = dict(database.execute("SELECT key, value FROM run ORDER BY id")).get("account")
    except (ConfigError, sqlite3.Error):
        return False
    return told in [f"{one.login}@{one.server}" for one in named]


def _kill_bridge(account: str, form: Form, reason: str, *, marked: bool) -> None:
    """Let the switch beside an account's terminal fall, where it has a bridge."""
    entry = load_accounts()[account]
    if entry.bridge is None:
        if not marked:
            raise ConfigError(
                f"account '{account}' has no bridge and no journal under '{LIVE}' here; name the "
                "file with --journal"
            )
        return
    client = module_of(entry, entry.credentials())
    try:
        state = client.kill(form, one_line(reason, LONGEST_GROUP))
    except BrokerUnavailable as problem:
        raise BrokerUnavailable(
            f"{problem}; other machines may trade on: stop account '{account}' beside its terminal"
        ) from None
    finally:
        client.shutdown()
    under_way = "; an order that it had let pass has no answer yet" if state.sending else ""
    kept = "" if state.kept else "; ITS FILES CANNOT BE WRITTEN and a restart of it forgets this"
    _say(f"the switch of the bridge of '{account}' is at {state.form.name}{under_way}{kept}")


def flatten(
    journal: JournalOption,
    reason: Annotated[str, typer.Option(help="For those who look.")] = "by hand",
) -> None:
    """Let the runner close what it holds, and send nothing else."""
    switch = _switch(journal)
    switch.kill(Form.FLATTEN, reason)
    form = switch.read()
    if form is not Form.FLATTEN:
        raise ConfigError(f"the kill switch is at {form.name}, so nothing is closed; arm it first")
    _say("the kill switch is at FLATTEN; the runner closes what it holds at its next look")
    if not is_held(lock_path(journal)):
        _say("NO RUNNER IS THERE TO DO IT: start it again, or close the positions by hand")


def arm(
    journal: JournalOption,
    by: Annotated[str, typer.Option("--by", help="Who answers for it.")],
    reason: Annotated[str, typer.Option("--reason", help="Why trading may begin anew.")],
) -> None:
    """Let trading begin anew after a kill; the counts of orders begin anew too."""
    _switch(journal).arm(by, reason, time.time_ns())
    _say(f"armed by {by}: {reason}")


def status(journal: JournalOption) -> None:
    """Show where a runner stands: switch, breaker, position, open orders."""
    switch = _switch(journal)
    with _opened(journal) as opened, _read(journal) as database:
        breaker = opened.breaker.status(time.time_ns())
        rows = {
            "runner": "there" if is_held(lock_path(journal)) else "not there",
            "kill switch": switch.read().name,
            "said": switch.told() or "-",
            **standing(database),
            "breaker": f"LEVEL_{breaker.level}" if breaker.level else "NORMAL",
            "increases": "no" if not breaker.can_trade or switch.read() else "yes",
        }
    table = Table("what", "value", title=Text(journal.name))
    for what, value in rows.items():
        table.add_row(what, Text(value))
    Console().print(table)


@journal_app.command("show")
def show_command(
    journal: JournalOption,
    rows: Annotated[int, typer.Option(min=1, max=10_000, help="How many.")] = 20,
) -> None:
    """Print the newest decisions, orders and events."""
    with _read(journal) as database:
        for at, kind, what in newest(database, rows):
            when = str(np.datetime64(at, "ns").astype("datetime64[m]")).replace("T", " ")
            _say(f"{when}  {kind:<9} {what}")


@journal_app.command("verify")
def verify_command(journal: JournalOption) -> None:
    """Hold every row against the hash chain, and the chain against its anchor."""
    with _opened(journal), _read(journal) as database:
        (commits,) = database.execute("SELECT COUNT(*) FROM chain").fetchone()
    keyed = "" if os.environ.get(KEY) else f"; without {KEY} this finds accidents, not forgers"
    _say(f"{commits} commits are what was written{keyed}")


@journal_app.command("export")
def export_command(
    journal: JournalOption,
    out: Annotated[Path, typer.Option("--out", help="File of JSON lines, made anew.")],
) -> None:
    """Write every row as a line of JSON."""
    with _opened(journal), _read(journal) as database:
        text = "".join(f"{line}\n" for line in lines(database))
    try:
        with os.fdopen(os.open(out, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            file.write(text)
    except OSError as error:
        raise ConfigError(f"'{out}' cannot be written: {error}; name a new file") from None
    _say(f"{text.count(chr(10))} rows in {out}")


def _say(text: str) -> None:
    Console().print(text, markup=False, soft_wrap=True, highlight=False)


def _switch(journal: Path) -> KillSwitch:
    _must_exist(journal)
    return KillSwitch(journal)


def _must_exist(journal: Path) -> None:
    if not journal.is_file() or journal.stat().st_size == 0:
        raise ConfigError(f"there is no journal at '{journal}'; name the file that a run writes")


@contextmanager
def _opened(journal: Path) -> Iterator[Journal]:
    """A journal that exists, verified as it opens."""
    _must_exist(journal)
    opened = Journal(journal, key=os.environ.get(KEY, "").encode())
    try:
        yield opened
    finally:
        opened.close()


@contextmanager
def _read(journal: Path) -> Iterator[sqlite3.Connection]:
    """Its rows, read only."""
    _must_exist(journal)
    try:
        database = sqlite3.connect(f"{journal.resolve().as_uri()}?mode=ro", uri=True)
        try:
            yield database
        finally:
            database.close()
    except sqlite3.Error as error:
        raise ConfigError(f"'{journal}' cannot be read as a journal: {error}") from None
