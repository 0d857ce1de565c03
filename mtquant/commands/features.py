"""``mtquant features``: list the features and what they cost, check them and rank them on bars.

Wiring only: what a feature is, what it leaks and how it looks on data is found out in
:mod:`mtquant.features`, what it is worth in :mod:`mtquant.research`. Each says on which bars.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from mtquant.commands.feature_tables import (
    folding_table,
    show_audit,
    show_gates,
    show_leaks,
    show_ranking,
)
from mtquant.config.data import (
    DATA_DIR,
    only_symbol,
    read_bars,
    simulated_market,
    stored_market,
)
from mtquant.config.load import env_of_symbol, load_env, load_symbols
from mtquant.config.schema import EnvConfig
from mtquant.errors import ConfigError, DataError, unknown
from mtquant.features.audit import audit
from mtquant.features.base import Feature
from mtquant.features.describe import microseconds_per_bar, range_text
from mtquant.features.pipeline import FeaturePipeline
from mtquant.features.registry import all_kinds, build_features, chapters, default_feature, refusal
from mtquant.market.panel import Panel
from mtquant.market.store import Store
from mtquant.market.timeframe import Timeframe
from mtquant.research.ranking import HORIZONS, rank

app = typer.Typer(
    help="List, check and rank the features that an env can use.", no_args_is_help=True
)

DEFAULT_ENV = "xauusd_h1"
LISTED_BARS = 5_000
CHECKED_BARS = 20_000
UNUSABLE = 1  # exit code
SEED = 7

EnvOption = Annotated[
    str | None, typer.Option("--env", help="Its features and symbols; else all, on XAUUSD H1.")
]


NamesArgument = Annotated[
    list[str] | None, typer.Argument(help="Features, groups or columns; else the env's.")
]
DataOption = Annotated[Path | None, typer.Option(help="A file of bars; else stored ones.")]
SymbolOption = Annotated[str | None, typer.Option(help="Standard name, such as XAUUSD.")]
TimeframeOption = Annotated[str | None, typer.Option(help="Such as H1.")]
ClockOption = Annotated[str | None, typer.Option(help="Clock of the file's times.")]
DataDirOption = Annotated[Path, typer.Option(help="Folder of the store.")]


@app.command("list")
def list_command(
    group: Annotated[str | None, typer.Option(help="Only this group, such as technical.")] = None,
    env: EnvOption = None,
) -> None:
    """Show every feature column: range, bars that it reads, cost and meaning.

    The cost is measured now, on 5,000 simulated bars; it is that of all columns of a feature.
    """
    console, features = Console(), _features(env, ())
    if group is not None:
        known = dict.fromkeys(feature.group for feature in features)
        if group not in known:
            raise ConfigError(unknown("group", group, known))
        features = [feature for feature in features if feature.group == group]
    working = [feature for feature in features if not refusal(feature)]
    panel = _simulated(_env(env), working, LISTED_BARS)
    table = folding_table("column", "group", "range", "lookback", "us/bar", "meaning")
    for feature in features:
        cost = f"{microseconds_per_bar(feature, panel):.2f}" if feature in working else "-"
        for column in feature.columns:
            shown = (column.name, feature.group, range_text(column), f"{feature.lookback:,}", cost)
            table.add_row(*shown, escape(column.meaning))
            cost = ""
    console.print(table)
    for feature in features:
        if reason := refusal(feature):
            console.print(f"not measured, {feature.key}: {reason}", markup=False, soft_wrap=True)


@app.command("check")
def check_command(
    names: NamesArgument = None,
    data: DataOption = None,
    symbol: SymbolOption = None,
    timeframe: TimeframeOption = None,
    clock: ClockOption = None,
    env: EnvOption = None,
    data_dir: DataDirOption = DATA_DIR,
) -> None:
    """Look for leaks in features, and at what they are on bars.

    Leaks are looked for on a hostile made-up hourly market, and on the bars where they are given or
    of another timeframe. Exit code 1 says that a feature is unusable.
    """
    console, features = Console(), _features(env, names or ())
    asked = _asked_env(env, symbol, timeframe, data)
    everything = env is None and not names
    if everything:
        features = _without(console, features, refusal)
    panel, origin = _bars_for(asked, features, data, timeframe, clock, data_dir)
    if everything:
        features = _without(console, features, partial(_misfit, panel))
    pipeline = FeaturePipeline(features, panel.symbols)
    train_rows = int(len(panel) * (1 - asked.split.validation - asked.split.test))
    pipeline.first_valid(panel[:train_rows])  # too few bars are refused before the long search
    given = None if data is None and panel.timeframe is Timeframe.H1 else panel
    broken = show_leaks(console, features, given)
    sound = [feature for feature in features if feature.key not in broken]
    unusable = bool(broken)
    if sound:
        pipeline = FeaturePipeline(sound, panel.symbols)
        show_gates(console, sound, panel, train_rows)
        found = audit(pipeline, panel, train_rows)
        unusable |= show_audit(console, found, panel, origin)
    raise typer.Exit(UNUSABLE if unusable else 0)


@app.command("rank")
def rank_command(
    names: NamesArgument = None,
    data: DataOption = None,
    symbol: SymbolOption = None,
    timeframe: TimeframeOption = None,
    clock: ClockOption = None,
    horizon: Annotated[
        list[int] | None, typer.Option(help="Bars of a forward return; may be given often.")
    ] = None,
    env: EnvOption = None,
    data_dir: DataDirOption = DATA_DIR,
) -> None:
    """Measure what the columns foretell of the moves after the next open, costs not counted."""
    console = Console()
    asked = _asked_env(env, symbol, timeframe, data)
    features = build_features(names or asked.features)
    panel, origin = _bars_for(asked, features, data, timeframe, clock, data_dir)
    whose = None if symbol is None else load_symbols()[symbol].name
    ranking = rank(features, panel, horizon or HORIZONS, symbol=whose)
    console.print(f"{origin}: {ranking.market}, {ranking.rows:,} bars", markup=False)
    for h, bars in enumerate(ranking.horizons):
        show_ranking(console, ranking.rows_of(bars), f"moves over {bars} bars")
        direction, size = ranking.found_beyond[:, h]
        console.print(
            f"of {len(ranking.names)} columns {direction:.0%} leave 0 out of their interval for "
            f"direction and {size:.0%} for size; {ranking.expected_by_chance:.0%} would by chance",
            soft_wrap=True,
        )
    legend = "* survives a correction for all columns and horizons; a verdict is over all horizons"
    console.print(legend, soft_wrap=True)


def _without(
    console: Console, features: Sequence[Feature], reason_of: Callable[[Feature], str]
) -> list[Feature]:
    """Those that nothing stands against; the others are named with their reason."""
    kept = []
    for feature in features:
        if reason := reason_of(feature):
            console.print(f"left out, {feature.key}: {reason}", markup=False, soft_wrap=True)
        else:
            kept.append(feature)
    return kept


def _misfit(panel: Panel, feature: Feature) -> str:
    """Why a feature cannot read these bars; empty where it can."""
    try:
        feature.compute(panel, feature.fit(panel), last=1)
    except (ConfigError, DataError) as reason:
        return str(reason)
    return ""


def _asked_env(
    env: str | None, symbol: str | None, timeframe: str | None, data: Path | None
) -> EnvConfig:
    """The env whose symbols and timeframe the options name.

    Raises:
        ConfigError: The options contradict each other, or a file's symbol is not said.
    """
    if data is not None and env is None and symbol is None:
        raise ConfigError(f"whose bars does {data} hold? Say it with --symbol, such as XAUUSD")
    name = None if symbol is None else load_symbols()[symbol].name
    asked = env_of_symbol(name)[0] if name is not None and env is None else _env(env)
    if name is not None and name not in asked.symbols:
        raise ConfigError(
            f"env {asked.name} trades {', '.join(asked.symbols)}, not {name}; leave --symbol out"
        )
    if timeframe is None:
        return asked
    return asked.model_copy(update={"timeframe": Timeframe.parse(timeframe).name})


def _bars_for(
    env: EnvConfig,
    features: Sequence[Feature],
    data: Path | None,
    timeframe: str | None,
    clock: str | None,
    store: Path,
) -> tuple[Panel, str]:
    """Bars of a file, else stored ones, else simulated ones, and where they came from."""
    if clock is not None and data is None:
        raise ConfigError("--clock reads the times of a file; give the file with --data")
    if data is not None:
        panel, origin = Panel([read_bars(data, only_symbol(env), timeframe, clock)]), data.name
    elif (market := stored_market(env, store)) is not None:
        panel, origin = market.panel, market.source
    else:
        panel = _simulated(env, features, CHECKED_BARS)
        return panel, "simulated bars, for want of stored ones"
    context = [Store(store).get(name, panel.timeframe) for name in _others(panel.symbols, features)]
    return Panel(panel.bars, context), origin


def _env(name: str | None) -> EnvConfig:
    return load_env(name or DEFAULT_ENV)[0]


def _features(env: str | None, names: Sequence[str]) -> list[Feature]:
    """The named features, else those of the env, else all that need no parameters."""
    if names:
        return build_features(names)
    if env is not None:
        return build_features(_env(env).features)
    kinds = all_kinds()
    listed = [default_feature(kinds[key]) for keys in chapters(kinds).values() for key in keys]
    return [feature for feature in listed if feature is not None]


def _others(symbols: Sequence[str], features: Sequence[Feature]) -> list[str]:
    """Symbols that the features read besides these."""
    read = dict.fromkeys(name for feature in features for name in feature.context)
    return [name for name in read if name not in symbols]


def _simulated(env: EnvConfig, features: Sequence[Feature], n_bars: int) -> Panel:
    """Simulated bars of an env's symbols, and of those that the features read besides."""
    others = _others(env.symbols, features)
    widened = env.model_copy(update={"symbols": (*env.symbols, *others)})
    bars = simulated_market(widened, n_bars, SEED).panel.bars
    return Panel(bars[: len(env.symbols)], bars[len(env.symbols) :])
