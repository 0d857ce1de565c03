"""``mtquant data fetch`` and ``mtquant data update``: a terminal's closed bars into the store.

Wiring only: pages are :mod:`mtquant.brokers.source`'s, overlap :mod:`mtquant.market.collecting`'s,
checks and store those of every file.
"""

from __future__ import annotations

import re
import time
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

from mtquant.brokers.accounts import load_accounts
from mtquant.brokers.reading import Reads
from mtquant.brokers.server_clock import ServerClock, measure, offset_text
from mtquant.brokers.source import MT5Source
from mtquant.commands.accounts import AccountOption, open_reads
from mtquant.commands.data import DataDirOption, SymbolOption, show_findings
from mtquant.config.data import DATA_DIR
from mtquant.config.load import load_symbols
from mtquant.errors import ConfigError, DataError, shown
from mtquant.market.clock import Clock
from mtquant.market.collecting import examine_news, examine_span
from mtquant.market.importing import Examined, store_examined
from mtquant.market.mapper import SymbolMapper
from mtquant.market.store import Store
from mtquant.market.symbols import SymbolSpec
from mtquant.market.timeframe import Timeframe

ReplaceOption = Annotated[
    bool, typer.Option("--replace", help="Let the broker's bars rewrite stored ones of the span.")
]


def fetch(
    account: AccountOption,
    symbol: SymbolOption,
    timeframe: Annotated[str, typer.Option("--timeframe", help="Such as H1.")],
    start: Annotated[str, typer.Option("--from", help="First day, UTC, such as 2020-01-31.")],
    end: Annotated[
        str | None, typer.Option("--to", help="Day after the last, UTC; now if omitted.")
    ] = None,
    data_dir: DataDirOption = DATA_DIR,
    replace: ReplaceOption = False,
) -> None:
    """Fetch closed bars from an account's terminal, check them and add them to the store."""
    spec, frame = load_symbols()[symbol], Timeframe.parse(timeframe)
    first, last = _day(start, "--from"), None if end is None else _day(end, "--to")
    with _Desk(account) as desk:
        desk.check_clock(spec)
        examined = examine_span(desk.source, spec, frame, first, last, time.time_ns())
        desk.keep(examined, Store(data_dir), replace)


def update(
    account: AccountOption,
    symbol: Annotated[
        str | None, typer.Option("--symbol", help="Standard name; all stored ones if omitted.")
    ] = None,
    timeframe: Annotated[
        str | None, typer.Option("--timeframe", help="Such as H1; all stored ones if omitted.")
    ] = None,
    data_dir: DataDirOption = DATA_DIR,
    replace: ReplaceOption = False,
) -> None:
    """Continue what is stored with the bars that have closed since."""
    store, symbols = Store(data_dir), load_symbols()
    wanted = None if symbol is None else symbols[symbol].name
    frame = None if timeframe is None else Timeframe.parse(timeframe)
    with _Desk(account) as desk:
        chosen = [
            key
            for key in store.list()
            if key[0] in desk.mapper.names and wanted in (None, key[0]) and frame in (None, key[1])
        ]
        if not chosen:
            raise ConfigError(
                f"nothing in {data_dir} is to be updated from account '{account}'; begin with "
                "`mtquant data fetch`"
            )
        refused = []
        for name, each in chosen:
            spec = symbols[name]
            try:
                desk.check_clock(spec)
                examined = examine_news(desk.source, spec, each, store, time.time_ns())
                desk.keep(examined, store, replace)
            except DataError as problem:  # of one series; the others go on
                refused.append(problem)
    if refused:
        more = f" [and {len(refused) - 1} more series]" if len(refused) > 1 else ""
        raise DataError(f"{refused[0]}{more}")


class _Desk:
    """A connected account, its broker's names and the screen."""

    def __init__(self, account: str) -> None:
        self._entry = load_accounts()[account].refuse_unfilled()
        self._console = Console()
        self._checked: set[str] = set()
        self.mapper = SymbolMapper(self._entry.broker_id, load_symbols)

    def __enter__(self) -> _Desk:
        self._reads: Reads = open_reads(self._entry)
        self.source = MT5Source(self._reads, self.mapper, self._entry.name)
        return self

    def __exit__(self, *problem: object) -> None:
        self._reads.close()

    def check_clock(self, spec: SymbolSpec) -> None:
        """Hold the server's clock against the symbol's, once a clock."""
        if spec.clock in self._checked:
            return
        name = self.mapper.to_broker(spec.name)
        offset = measure(ServerClock(Clock.parse(spec.clock)), self._reads, name)
        self._checked.add(spec.clock)
        if offset is None:
            self._say(
                f"the server's clock cannot be measured, {name} has no new tick; {spec.clock} is "
                "taken from configs/symbols.yaml"
            )
        else:
            self._say(f"the server's clock is at {offset_text(offset)}, which is {spec.clock}")

    def keep(self, examined: Examined, store: Store, replace: bool) -> None:
        """Show what was found and store the bars, or refuse them."""
        show_findings(self._console, examined.raw.origin.name, examined.findings)
        result = store_examined(examined, store, replace=replace)
        self._say(
            f"{len(result.bars):,} closed bars {result.bars.symbol} {result.timeframe.name}, "
            f"{result.bars.when(0)} to {result.bars.when(-1)}, from account {self._entry.name}: "
            f"{result.added.added:,} new, {result.added.replaced:,} replaced, "
            f"{result.added.total:,} in {result.added.path}\n"
            f"fingerprint {result.added.fingerprint}"
        )

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=True, highlight=False)


def _day(text: str, option: str) -> int:
    """A day's beginning, ns UTC.

    Raises:
        ConfigError: It is no day between 1970 and 2099.
    """
    if re.fullmatch(r"(19[7-9]\d|20\d\d)-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])", text):
        try:
            return int(np.datetime64(text, "ns").astype(np.int64))
        except ValueError:
            pass
    raise ConfigError(f"{option} '{shown(text)}' is no day; write it as 2020-01-31")
