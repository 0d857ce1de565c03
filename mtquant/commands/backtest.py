"""``mtquant backtest``: a bundle, or an agent by name, over any bars."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import typer
from rich.console import Console

from mtquant.agents.base import Agent
from mtquant.agents.bundle import Bundle
from mtquant.agents.catalogue import CHECKPOINTS
from mtquant.agents.origin import market_of, split_times
from mtquant.agents.rules import build_rule
from mtquant.backtest.bootstrap import PATHS
from mtquant.backtest.challenge_report import Challenge, take_challenge
from mtquant.backtest.compare import compare
from mtquant.backtest.report import Report, console_table, write_report, write_whole
from mtquant.backtest.run import bundle_scenario, named_agent, run_agent
from mtquant.config.challenge import RuleSet, load_rules
from mtquant.config.data import (
    DATA_DIR,
    MarketData,
    given_market,
    only_symbol,
    read_bars,
    resolve_market,
)
from mtquant.config.load import load_env
from mtquant.config.risk import RiskProfile, apply_risk, load_risk
from mtquant.config.schema import AgentConfig, EnvConfig
from mtquant.envs.scenario import Scenario
from mtquant.errors import ConfigError, DataError
from mtquant.market.clock import utc_text

REPORTS = Path("reports")


def backtest(
    name: Annotated[str, typer.Argument(help="A bundle, or a rule agent such as ema_cross.")],
    data: Annotated[Path | None, typer.Option(help="A file of bars instead of its own.")] = None,
    clock: Annotated[str | None, typer.Option(help="Clock of the file's times.")] = None,
    env: Annotated[
        str | None, typer.Option(help="Env of a rule agent; xauusd_h1 if omitted.")
    ] = None,
    risk: Annotated[str | None, typer.Option(help="Profile of configs/risk.yaml.")] = None,
    start: Annotated[str | None, typer.Option(help="First day, such as 2023-01-31, UTC.")] = None,
    end: Annotated[str | None, typer.Option(help="Day after the last, UTC.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the report.")] = None,
    rules: Annotated[
        str | None, typer.Option(help="Rules of a challenge to judge it by: a preset or a file.")
    ] = None,
    rules_paths: Annotated[
        int | None,
        typer.Option(min=1, max=1_000_000, help="Paths to draw for the odds of passing."),
    ] = None,
    checkpoints: Annotated[Path, typer.Option(help="Folder of bundles.")] = CHECKPOINTS,
    data_dir: Annotated[Path, typer.Option(help="Folder of the store.")] = DATA_DIR,
) -> None:
    """Run a bundle or an agent over bars and report it beside flat and buy and hold.

    A bundle runs over its own test split unless a file or a span is given; a rule agent runs over
    everything that the store holds, or over the simulated market.
    """
    rule_set = _rule_set(rules, rules_paths)
    profile, told = _risk_profile(risk)
    tested = named_agent(name, checkpoints)
    span = _span(start, end)
    if isinstance(tested, Bundle):
        if env is not None:
            raise ConfigError(f"bundle {tested.name} brings its own env; leave --env out")
        market = given_file(tested.env, data, clock) or market_of(tested, data_dir)
        run = _bundle_run(tested, market, span, profile)
    else:
        config = apply_risk(load_env(env or "xauusd_h1")[0], profile)
        market = given_file(config, data, clock) or resolve_market(config, data_dir=data_dir)
        run = _rule_run(tested, config, market, span)
    result = run_agent(run.agent, run.scenario, run.rows)
    challenge, notes = None, told + run.notes
    if rule_set is not None:
        challenge = take_challenge(result, *rule_set, paths=rules_paths or PATHS)
        notes += challenge.sentences()
    report = compare(
        result.ledger, run.scenario, run.rows, what="backtest", agent=run.agent.name, notes=notes
    )
    _hand_over(report, challenge, out or REPORTS / Path(name).name.removesuffix(".yaml"))


class _Run(NamedTuple):
    """What is to be run."""

    agent: Agent
    scenario: Scenario
    rows: tuple[int, int]
    notes: tuple[str, ...] = ()


def _bundle_run(
    bundle: Bundle, market: MarketData, span: tuple[int, int] | None, profile: RiskProfile
) -> _Run:
    """A bundle over its test split, or over the span of any other bars."""
    scenario = bundle_scenario(bundle, market)
    scenario = replace(scenario, env=apply_risk(scenario.env, profile))
    if span is None and market.fingerprints == bundle.manifest.data.fingerprints:
        first, last = split_times(bundle, "test")
        span = (first, last + 1)
    rows = _rows(scenario, span)
    return _Run(bundle.agent, scenario, rows, _overlap(bundle, scenario, rows))


def _rule_run(
    rule: AgentConfig, env: EnvConfig, market: MarketData, span: tuple[int, int] | None
) -> _Run:
    """A rule agent over all bars of the span."""
    agent = build_rule(rule.kind, rule.params, len(env.symbols))
    scenario = Scenario.fit_all(env, market)
    return _Run(agent, scenario, _rows(scenario, span))


def _risk_profile(risk: str | None) -> tuple[RiskProfile, tuple[str, ...]]:
    """The profile of ``--risk``, which sets nothing where there is none, and a note of it."""
    if risk is None:
        return RiskProfile(), ()
    profile, found = load_risk(risk)
    return profile, (f"Under the risk profile {risk} of {found.path.name} ({found.origin}).",)


def _rule_set(rules: str | None, paths: int | None) -> tuple[RuleSet, str] | None:
    """The rules of a challenge and their name."""
    if rules is None:
        if paths is not None:
            raise ConfigError("--rules-paths draws paths for a challenge; name it with --rules")
        return None
    rule_set, found = load_rules(rules)
    return rule_set, found.path.stem


def _hand_over(report: Report, challenge: Challenge | None, folder: Path) -> None:
    """Write the report and print it."""
    folder.mkdir(parents=True, exist_ok=True)
    document, page = write_report(report, folder)
    if challenge is not None:
        whole = {**json.loads(document.read_text("utf-8")), "challenge": challenge.to_dict()}
        text = json.dumps(whole, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
        write_whole(document, text + "\n")
    console = Console()
    console.print(console_table(report))
    console.print(f"report   {page}", markup=False, soft_wrap=True, highlight=False)


def given_file(env: EnvConfig, data: Path | None, clock: str | None) -> MarketData | None:
    """The bars of ``--data FILE --clock C``, or None where no file is given.

    Raises:
        ConfigError: A clock without a file, or an env of several symbols.
        DataError: The file is refused.
    """
    if data is None:
        if clock is not None:
            raise ConfigError("--clock reads the times of a file; give the file with --data")
        return None
    bars = read_bars(data, only_symbol(env), clock=clock)
    return given_market(env, bars)


def _span(start: str | None, end: str | None) -> tuple[int, int] | None:
    if start is None and end is None:
        return None
    bounds = np.iinfo(np.int64)
    first = bounds.min if start is None else _day(start, "--start")
    last = bounds.max if end is None else _day(end, "--end")
    if first >= last:
        raise ConfigError(f"--start {start} must lie before --end {end}")
    return first, last


def _day(text: str, option: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{option} {text!r} is no date; write it like 2023-01-31") from None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return int(aware.timestamp()) * 10**9


def _rows(scenario: Scenario, span: tuple[int, int] | None) -> tuple[int, int]:
    """Rows of the bars that open in ``[first, last)``, after the warm-up."""
    if span is None:
        return scenario.rows("all")
    time = scenario.market.panel.time
    first, last = (int(np.searchsorted(time, bound)) for bound in span)
    if last - max(first, scenario.first_row) < 2:
        raise DataError(
            f"no bars to trade on in that span: the data runs from {utc_text(int(time[0]))} to "
            f"{utc_text(int(time[-1]))} and its first {scenario.first_row} bars are the warm-up"
        )
    return first, last - 1


def _overlap(bundle: Bundle, scenario: Scenario, rows: tuple[int, int]) -> tuple[str, ...]:
    """A warning where the span holds bars that the bundle has learned from or was chosen on."""
    known_until = split_times(bundle, "validation")[1]
    begins = int(scenario.market.panel.time[rows[0]])
    if begins > known_until:
        return ()
    return (
        f"The bundle was trained and selected on bars up to {utc_text(known_until)}: what it does "
        "before is no evidence.",
    )
