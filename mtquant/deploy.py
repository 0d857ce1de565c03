"""``python -m mtquant.deploy``: a bundle on a terminal, simulated or real.

Env, features, costs and limits come from the bundle alone; a risk profile may only tighten them.
Paper takes the live path: adapter, closed bars, features, ONNX policy, sizer, checks, breaker,
journal, order, terminal. What ``--live`` adds is in :mod:`mtquant.live_deploy`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.live import Live

from mtquant.agents.bundle import Bundle
from mtquant.agents.catalogue import CHECKPOINTS, find_bundle, newest_bundle
from mtquant.agents.origin import market_of, split_times
from mtquant.backtest.ledger import Ledger
from mtquant.backtest.run import Recorder, bundle_scenario, make_ledger
from mtquant.brokers.terminal.simulated import SimulatedTerminal
from mtquant.brokers.terminal.state import AccountTerms
from mtquant.commands.backtest import REPORTS, given_file
from mtquant.config.data import DATA_DIR
from mtquant.config.risk import load_risk, tighten
from mtquant.config.schema import EnvConfig
from mtquant.console import run_app
from mtquant.errors import ConfigError
from mtquant.live.decide import Strategy
from mtquant.live.journal import Journal
from mtquant.live.monitor import Monitor
from mtquant.live.paper import paper_bars, paper_runner
from mtquant.live_deploy import connect_guarded, real_world, trade_live
from mtquant.live_plan import LivePlan, plan_live, refuse_few_steps
from mtquant.paper_deploy import feed_paper
from mtquant.paper_line import plan_paper
from mtquant.paper_report import PaperRun, against_backtest, finish

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def deploy(
    paper: Annotated[bool, typer.Option("--paper", help="On the simulated terminal.")] = False,
    live: Annotated[bool, typer.Option("--live", help="On a real terminal.")] = False,
    bundle: Annotated[
        list[str] | None,
        typer.Option(
            help="Name or folder; the newest if omitted. With --live several, in their order."
        ),
    ] = None,
    risk: Annotated[
        str | None, typer.Option(help="Profile of configs/risk.yaml, to tighten its limits.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="A file of bars instead of its own.")] = None,
    clock: Annotated[str | None, typer.Option(help="Clock of the file's times.")] = None,
    speed: Annotated[
        float | None, typer.Option(help="Bars per second; as fast as possible.")
    ] = None,
    account: Annotated[
        str | None,
        typer.Option(help="Name in configs/brokers.yaml: --paper reads it, --live trades it."),
    ] = None,
    confirm: Annotated[
        bool,
        typer.Option("--confirm", help="For --live: the third yes; without it nothing is sent."),
    ] = False,
    every: Annotated[float, typer.Option(help="With --account: seconds between two looks.")] = 5.0,
    out: Annotated[Path | None, typer.Option(help="Folder of report and journal.")] = None,
    checkpoints: Annotated[Path, typer.Option(help="Folder of bundles.")] = CHECKPOINTS,
    data_dir: Annotated[Path, typer.Option(help="Folder of the store.")] = DATA_DIR,
) -> None:
    """Run a bundle on a terminal."""
    if paper == live:
        raise ConfigError(
            "say where to trade: --paper (the simulated terminal) or --live --account NAME"
        )
    if speed is not None and not 0 < speed < float("inf"):
        raise ConfigError(f"--speed {speed} must be a positive number of bars per second")
    found = [find_bundle(one, checkpoints) for one in bundle or ()] or [newest_bundle(checkpoints)]
    for one in found:
        _refuse_untradable(one)
    if live:
        tightened = [_tightened(one.env, risk) for one in found]
        pairs = [(one, env) for one, (env, _) in zip(found, tightened, strict=True)]
        plan = plan_live(pairs, account, out, every)
        _confirm(plan, [line for _, told in tightened for line in told], confirm)
        return trade_live(plan, Console(), real_world(connect_guarded))
    if len(found) > 1:
        raise ConfigError("on paper each bundle has an account of its own; give one --bundle")
    (chosen,) = found
    if account is None:
        return _paper_on_file(_prepare(chosen, risk, data, clock, data_dir), out, speed)
    env, told = _tightened(chosen.env, risk)
    if not (data is None and clock is None and speed is None):
        raise ConfigError("bars come from a file or from --account; choose one of them")
    paper_plan = plan_paper(chosen, env, told, account or "", out, every)
    return feed_paper(paper_plan, Console(), real_world())


def _paper_on_file(run: PaperRun, out: Path | None, speed: float | None) -> None:
    """On the bars of a file, as fast as they can be read or as fast as is asked."""
    folder = out or REPORTS / f"paper-{run.bundle.name}"
    console, chosen = Console(), run.bundle
    console.print(
        f"bundle   {chosen.name} ({chosen.manifest.bundle_hash[:12]})\n"
        f"bars     {run.scenario.market.description}\nselected {chosen.manifest.selection}"
        + "".join(f"\nrisk     {line}" for line in run.risk),
        markup=False,
        soft_wrap=True,
        highlight=False,
    )
    ledger, recorder = _trade(run, folder, console, speed)
    finish(run, folder, console, ledger, against_backtest(run, ledger, recorder))


def _confirm(plan: LivePlan, told: Sequence[str], confirm: bool) -> None:
    """The third yes, after all that it is said to."""
    kind = "demo account" if plan.limits.is_demo else "REAL MONEY on account"
    what = f"{plan.names} would trade {kind} {plan.limits.account} at {plan.limits.server}"
    if not confirm:
        raise ConfigError(f"nothing was sent: {what}; read docs/live.md and add --confirm")
    for line in told:
        Console().print(f"risk     {line}", markup=False, soft_wrap=True, highlight=False)


def _refuse_untradable(bundle: Bundle) -> None:
    """Check that what sizes the bundle's orders exists outside of an episode."""
    if bundle.env.sizing.method == "fixed_at_start":
        raise ConfigError(
            f"bundle {bundle.name}: sizing.method 'fixed_at_start' counts from the start of an "
            "episode, and live trading has none; train with another method"
        )


def _tightened(env: EnvConfig, risk: str | None) -> tuple[EnvConfig, tuple[str, ...]]:
    """The env under a risk profile where that is stricter, and what that has changed."""
    if risk is None:
        return env, ()
    profile, found = load_risk(risk)
    env, changes = tighten(env, profile)
    what = "tightens" if changes else "is nowhere stricter than the bundle"
    return env, (f"{risk} of {found.path.name} ({found.origin}) {what}", *map(str, changes))


def _prepare(
    bundle: Bundle, risk: str | None, data: Path | None, clock: str | None, data_dir: Path
) -> PaperRun:
    """The test split of the bundle's own bars, or everything in a given file."""
    env, told = _tightened(bundle.env, risk)
    market = given_file(env, data, clock) or market_of(bundle, data_dir)
    scenario = replace(bundle_scenario(bundle, market), env=env)
    rows = scenario.rows("all")
    if market.fingerprints == bundle.manifest.data.fingerprints:
        first, last = (
            int(np.searchsorted(market.panel.time, t)) for t in split_times(bundle, "test")
        )
        rows = (first, last)
    for s, spec in enumerate(bundle.specs):
        steps = scenario.full_size_steps(rows, s)
        money = f"{env.account.capital:,.0f} {env.account.currency}"
        refuse_few_steps(steps, spec.name, money, "train with more capital")
    return PaperRun(bundle, scenario, rows, told)


def _trade(
    run: PaperRun, folder: Path, console: Console, speed: float | None
) -> tuple[Ledger, Recorder]:
    """The live path over every bar."""
    scenario, bundle = run.scenario, run.bundle
    bars = len(scenario.market.panel)
    tape = scenario.tape(np.zeros((bars, 0), np.float32), run.rows)
    first, last = int(tape.rules["first"][0]), run.rows[1]
    account = scenario.env.account
    terms = AccountTerms(
        account.capital, account.currency, round(account.leverage), account.margin_call_level
    )
    terminal = SimulatedTerminal(
        scenario.market.panel,
        (*bundle.specs, *bundle.context_specs),
        tape,
        rows=(first, last),
        terms=terms,
    )
    journal = Journal(_fresh_journal(folder), durable=speed is not None)
    strategy = Strategy(
        bundle.agent, bundle.pipeline, scenario.env, bundle.specs, bundle.context_specs
    )
    runner = paper_runner(terminal, journal, strategy, bundle.name)
    recorder = Recorder(tape, last - first, len(bundle.specs))
    monitor = Monitor(f"{bundle.name} on paper")
    try:
        with Live(console=console, auto_refresh=False, transient=True) as view:
            for number, report in enumerate(paper_bars(terminal, runner)):
                recorder.take(terminal.account.book, 0.0)
                if report is not None:
                    monitor.add(report)
                    if number:  # the breaker is the runner's, known at the close before
                        recorder.accounts["level"][number - 1] = report.outlook.record.level
                if console.is_terminal and (speed is not None or number % 100 == 0):
                    view.update(monitor.table(), refresh=True)
                if speed is not None:
                    time.sleep(1.0 / speed)
    finally:
        journal.close()
    console.print(monitor.table())
    return make_ledger(recorder, scenario, first + 1), recorder


def _fresh_journal(folder: Path) -> Path:
    """A journal file of this run alone: simulated time starts again, so must its journal."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "journal.sqlite3"
    for name in (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
        name.unlink(missing_ok=True)
    return path


if __name__ == "__main__":
    run_app(app)
