"""Where an environment's bars come from: the store, a file, or the simulated market.

A result on simulated bars says nothing about the symbol whose contract they borrow, so the origin
travels with the bars into console, report and manifest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from mtquant.config.load import load_symbols
from mtquant.config.schema import EnvConfig
from mtquant.errors import ConfigError, DataError, one_line
from mtquant.features.pipeline import FeaturePipeline
from mtquant.market.bars import Bars
from mtquant.market.clock import Clock
from mtquant.market.importing import load_file
from mtquant.market.panel import Panel
from mtquant.market.simulated import SimulatedMarket
from mtquant.market.store import Store
from mtquant.market.symbols import SymbolSpec
from mtquant.market.timeframe import Timeframe

DATA_DIR = Path("data")
SIMULATED_BARS = 100_000
SIMULATED_SEED = 7
SIMULATED_APART = 1000  # between the seeds of an env's own symbol and of each other one
SIMULATED_START_NS = 1_104_710_400 * 10**9  # Monday 2005-01-03
SIMULATED_DAYS = 20 * 365 * 5 // 7  # of trading, at most: it ends in the past
SIMULATED_MOST = 5_000_000  # bars of a record: more would fill the memory
SIMULATED_DRIFT = 0.09  # of a bar's volatility: weak, yet enough to be found


@dataclass(frozen=True, eq=False)
class MarketData:
    """Bars with their contracts and their origin.

    Attributes:
        panel: The bars.
        specs: One per symbol, in the panel's order.
        source: Key in the store, ``given bars``, or the simulated market's law.
        simulated_seed: Seed of the simulated market; None for given prices.
        generator: One record per symbol from which the simulated market can be made again.
        context_specs: One per context symbol, in the panel's order.
        others: Markets of other symbols, which training episodes are played on, too.
    """

    panel: Panel
    specs: tuple[SymbolSpec, ...]
    source: str
    simulated_seed: int | None = None
    generator: dict[str, Any] = field(default_factory=dict)
    context_specs: tuple[SymbolSpec, ...] = ()
    others: tuple[MarketData, ...] = ()

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """Of each symbol's bars, context last."""
        return tuple(bars.fingerprint() for bars in (*self.panel.bars, *self.panel.context))

    @property
    def other_fingerprints(self) -> tuple[str, ...]:
        """Of the bars of other symbols, and of what they have as context."""
        return tuple(digest for other in self.others for digest in other.fingerprints)

    def between(self, first_ns: int, last_ns: int) -> MarketData:
        """The same market, cut to the bars that open in ``[first_ns, last_ns]``."""
        traded = [bars.between(first_ns, last_ns + 1) for bars in self.panel.bars]
        others = tuple(other.until(last_ns) for other in self.others)
        return replace(self, panel=with_context(traded, self.panel.context), others=others)

    def until(self, last_ns: int) -> MarketData:
        """The same market without the bars that open after ``last_ns``.

        Raises:
            DataError: No others are left.
        """
        first, bars = int(self.panel.time[0]), self.panel.bars[0]
        if first > last_ns:
            raise DataError(
                f"the bars of {bars.symbol} begin at {bars.when(0)}, and none may be learned from "
                f"after {np.datetime64(last_ns, 'ns').astype('datetime64[s]')}Z; import earlier "
                f"ones, or leave {bars.symbol} out of episode.other_symbols"
            )
        return self.between(first, last_ns)

    @property
    def description(self) -> str:
        """Origin and span, one line for the console."""
        bars = self.panel.bars[0]
        span = f"{len(self.panel):,} bars, {bars.when(0)} to {bars.when(-1)}"
        return f"{self.source}: {span}"


def specs_of(symbols: Sequence[str]) -> tuple[SymbolSpec, ...]:
    """Contracts from ``configs/symbols.yaml``."""
    table = load_symbols()
    return tuple(table[name] for name in symbols)


def context_of(env: EnvConfig) -> tuple[str, ...]:
    """Symbols that an env's features read besides those it trades."""
    return FeaturePipeline(env.features, env.symbols).context


def with_context(bars: Sequence[Bars], context: Sequence[Bars]) -> Panel:
    """A panel whose context ends with the traded bars, so that later bars change no fingerprint."""
    end = max(int(one.time[-1]) for one in bars if len(one)) + 1
    return Panel(bars, [one.between(None, end) for one in context])


def stored_market(env: EnvConfig, data_dir: Path = DATA_DIR) -> MarketData | None:
    """The env's bars in the store, or None where a symbol has none."""
    store, timeframe = Store(data_dir), Timeframe.parse(env.timeframe)
    held = store.list()
    if not any((name, timeframe) in held for name in env.symbols):
        return None
    read = (*env.symbols, *context_of(env))
    missing = [name for name in read if (name, timeframe) not in held]
    if missing:
        raise DataError(
            f"env {env.name} reads {', '.join(read)} and {data_dir} holds no "
            f"{timeframe.name} bars of {', '.join(missing)}; import them with `mtquant data import`"
        )
    bars = [store.get(name, timeframe) for name in read]
    source = ", ".join(store.path(name, timeframe).stem for name in read)
    traded = len(env.symbols)
    panel = with_context(bars[:traded], bars[traded:])
    return MarketData(panel, specs_of(env.symbols), source, context_specs=specs_of(context_of(env)))


def only_symbol(env: EnvConfig) -> str:
    """The one symbol that a single file of bars can serve.

    Raises:
        ConfigError: The env trades several.
    """
    if len(env.symbols) > 1:
        raise ConfigError(
            f"env {env.name} trades {len(env.symbols)} symbols; import each file with "
            "`mtquant data import` and leave --data out"
        )
    return env.symbols[0]


def simulated_market(
    env: EnvConfig, n_bars: int = SIMULATED_BARS, seed: int = SIMULATED_SEED
) -> MarketData:
    """The built-in market under the env's contracts; symbols are independent of each other.

    Bars longer than an hour are fewer than ``n_bars``: twenty years have no more.
    """
    minutes = Timeframe.parse(env.timeframe).minutes
    n_bars = min(n_bars, SIMULATED_DAYS * 24 * 60 // minutes)
    traded, context = specs_of(env.symbols), specs_of(context_of(env))
    laws = [
        SimulatedMarket(
            spec.name,
            env.timeframe,
            n_bars,
            seed + s,
            start_ns=SIMULATED_START_NS,
            drift=SIMULATED_DRIFT,
        )
        for s, spec in enumerate((*traded, *context))
    ]
    record = {law.symbol: law.to_dict() for law in laws}
    panel = regenerate(record, traded, context)
    return MarketData(panel, traded, f"simulated market {laws[0].law}", seed, record, context)


def regenerate(
    generator: Mapping[str, Mapping[str, Any]],
    specs: Sequence[SymbolSpec],
    context: Sequence[SymbolSpec] = (),
) -> Panel:
    """The simulated bars of a manifest's record.

    Raises:
        DataError: The record is of another law or lacks a symbol.
    """
    try:
        laws = {spec.name: SimulatedMarket(**generator[spec.name]) for spec in (*specs, *context)}
        for law in laws.values():
            if law.n_bars > SIMULATED_MOST:
                raise ConfigError(f"{law.n_bars:,} bars are more than {SIMULATED_MOST:,}")
        made = [[laws[spec.name].bars(spec) for spec in group] for group in (specs, context)]
        return with_context(*made)
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError, ConfigError) as error:
        raise DataError(
            f"the simulated market cannot be made again: {one_line(str(error))}; train again"
        ) from None


def given_market(env: EnvConfig, data: Bars | Panel | Sequence[Bars]) -> MarketData:
    """Bars handed over by the caller, put into the env's order.

    Raises:
        DataError: Another timeframe, or a symbol is missing.
    """
    if isinstance(data, Bars):
        data = [data]
    given = (*data.bars, *data.context) if isinstance(data, Panel) else data
    listed = {bars.symbol: bars for bars in given}
    context = context_of(env)
    missing = [name for name in (*env.symbols, *context) if name not in listed]
    if missing:
        raise DataError(
            f"env {env.name} reads {', '.join((*env.symbols, *context))}; bars of "
            f"{', '.join(missing)} are missing (given: {', '.join(sorted(listed))})"
        )
    panel = with_context([listed[n] for n in env.symbols], [listed[n] for n in context])
    if panel.timeframe.name != env.timeframe:
        raise DataError(
            f"env {env.name} trades {env.timeframe} bars, given are {panel.timeframe.name}; "
            f"resample them or override timeframe='{panel.timeframe.name}'"
        )
    return MarketData(panel, specs_of(env.symbols), "given bars", context_specs=specs_of(context))


def resolve_market(
    env: EnvConfig,
    data: Bars | Panel | Sequence[Bars] | None = None,
    data_dir: Path = DATA_DIR,
) -> MarketData:
    """Given bars, else what the store holds, else the simulated market."""
    if data is not None:
        return given_market(env, data)
    return stored_market(env, data_dir) or simulated_market(env)


def training_market(
    env: EnvConfig,
    data: Bars | Panel | Sequence[Bars] | None = None,
    data_dir: Path = DATA_DIR,
) -> MarketData:
    """:func:`resolve_market`, with the bars of ``episode.other_symbols`` up to its last.

    They are found where the env's own are: beside stored bars none are made up.

    Raises:
        ConfigError: Unknown symbol.
        DataError: No bars of one, or of another timeframe.
    """
    market, others = resolve_market(env, data, data_dir), []
    for place, spec in enumerate(specs_of(env.episode.other_symbols), start=1):
        one = env.on(spec.name)
        if data is not None:
            other = given_market(one, data)
        elif market.simulated_seed is not None:
            other = simulated_market(one, seed=market.simulated_seed + SIMULATED_APART * place)
        else:
            other = _stored_beside(one, data_dir)
        others.append(other.until(int(market.panel.time[-1])))
    return replace(market, others=tuple(others))


def _stored_beside(env: EnvConfig, data_dir: Path) -> MarketData:
    """The bars of another symbol in the store."""
    market = stored_market(env, data_dir)
    if market is None:
        raise DataError(
            f"env {env.name} needs {env.timeframe} bars of {env.symbols[0]} and {data_dir} holds "
            f"none; import them with `mtquant data import`, or leave {env.symbols[0]} out of "
            "episode.other_symbols"
        )
    return market


def read_bars(
    path: str | Path,
    symbol: str,
    timeframe: str | None = None,
    clock: str | None = None,
) -> Bars:
    """Checked bars of a file, without storing them.

    Args:
        path: MetaTrader 4 or 5 export, Dukascopy, Yahoo, CryptoDataDownload, CSV or Parquet.
        symbol: Standard name, such as ``XAUUSD``.
        timeframe: Such as ``H1``; told from the times if None.
        clock: Of the file's times (``utc``, ``ny+7``, ``eet``, ...), where it does not state it.

    Raises:
        ConfigError: Unknown symbol, timeframe or clock.
        UnknownClock: The file does not state its clock and none was given.
        DataError: The file is no market data, or holds what would corrupt training.
    """
    return load_file(
        path,
        load_symbols()[symbol],
        timeframe=None if timeframe is None else Timeframe.parse(timeframe),
        clock=None if clock is None else Clock.parse(clock),
    )
