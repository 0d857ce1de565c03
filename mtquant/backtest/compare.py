"""The report of a run over a scenario: beside flat and buy and hold on the same rows."""

from __future__ import annotations

from mtquant.backtest.ledger import Ledger
from mtquant.backtest.report import Provenance, Report
from mtquant.backtest.run import run_baselines
from mtquant.backtest.seed_table import SeedTable
from mtquant.envs.scenario import Scenario


def compare(
    ledger: Ledger,
    scenario: Scenario,
    rows: tuple[int, int],
    *,
    what: str,
    agent: str,
    bundle: str = "",
    selection: str = "",
    notes: tuple[str, ...] = (),
    seeds: SeedTable | None = None,
) -> Report:
    """A report with its baselines.

    Args:
        ledger: What the agent did on ``rows``.
        scenario: Bars and configuration.
        rows: First and last row.
        what: What was run, such as ``test split``.
        agent: Name of the agent.
        bundle: Name of the bundle; "" where equal runs shall give equal reports.
        selection: What the selection on validation decided.
        notes: What else a reader must know.
        seeds: The trainings that the agent was chosen from.
    """
    env, market = scenario.env, scenario.market
    flat, hold = run_baselines(scenario, rows)
    return Report(
        title=f"{', '.join(env.symbols)} {env.timeframe}: {what}",
        bundle=bundle,
        agent=agent,
        env=env.name,
        data=Provenance(market.source, " ".join(market.fingerprints), market.simulated_seed),
        ledger=ledger,
        flat=flat,
        buy_and_hold=hold,
        currency=env.account.currency,
        selection=selection,
        notes=notes,
        seeds=seeds,
    )
