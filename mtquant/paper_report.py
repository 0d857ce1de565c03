"""What a paper run leaves: a report, and how it stands beside the backtest of the same bars."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from mtquant.agents.bundle import Bundle
from mtquant.backtest.compare import compare
from mtquant.backtest.ledger import Ledger
from mtquant.backtest.report import console_table, write_report, write_whole
from mtquant.backtest.run import Recorder, run_agent
from mtquant.envs.scenario import Scenario


@dataclass(frozen=True)
class PaperRun:
    """A bundle, its bars under the env that holds, the rows to trade, and what was tightened."""

    bundle: Bundle
    scenario: Scenario
    rows: tuple[int, int]
    risk: tuple[str, ...]


def finish(
    run: PaperRun, folder: Path, console: Console, ledger: Ledger, outcome: dict[str, Any]
) -> None:
    """Write the report and ``paper.json``.

    Args:
        run: What was run.
        folder: Where to.
        console: Shows the table.
        ledger: The account, bar by bar.
        outcome: Of :func:`against_backtest`.
    """
    bundle = run.bundle
    report = compare(
        ledger,
        run.scenario,
        run.rows,
        what="paper run",
        agent=bundle.agent.name,
        bundle=bundle.name,
        selection=bundle.manifest.selection,
        notes=(outcome["sentence"], *_risk_note(run.risk)),
    )
    _json, page = write_report(report, folder)
    facts = {"bundle": bundle.name, "bundle_hash": bundle.manifest.bundle_hash}
    record = {**facts, "risk": list(run.risk), **outcome}
    write_whole(folder / "paper.json", json.dumps(record, indent=2, sort_keys=True) + "\n")
    console.print(console_table(report))
    console.print(
        f"report   {page}\njournal  {folder / 'journal.sqlite3'}",
        markup=False,
        soft_wrap=True,
        highlight=False,
    )


def _risk_note(told: tuple[str, ...]) -> tuple[str, ...]:
    """One sentence for the report, where there is a profile."""
    if not told:
        return ()
    profile, *changes = told
    return (f"Risk profile {profile}{': ' if changes else ''}{', '.join(changes)}.",)


def against_backtest(
    run: PaperRun, ledger: Ledger, recorder: Recorder, unseen: int | None = None
) -> dict[str, Any]:
    """Whether fills and equity are the backtest's, bit for bit.

    That one stays flat at LEVEL_3: paper waits for a person there, whatever the env says.

    Args:
        run: What was run.
        ledger: The account, bar by bar.
        recorder: Holds the fills.
        unseen: Bars that closed while nobody looked; None where bars come from a file.
    """
    backtest = run_agent(run.bundle.agent, _staying_flat(run.scenario), run.rows)
    fills = len(recorder.deals)
    equal = tuple(recorder.deals) == backtest.deals and np.array_equal(
        ledger.equity, backtest.equity
    )
    verdict = "equal" if equal else "DIFFER FROM"
    sentence = f"{fills} fills and every bar's equity {verdict} those of the backtest, bit for bit."
    if unseen:
        sentence += f" {unseen} bars closed while nobody looked: marked, not decided."
    return {
        "bars": len(ledger),
        "fills": fills,
        "final_equity": float(ledger.equity[-1]),
        "backtest_fills": len(backtest.deals),
        "backtest_final_equity": float(backtest.equity[-1]),
        "equals_backtest": equal,
        "sentence": sentence,
        **({} if unseen is None else {"unseen_bars": unseen}),
    }


def _staying_flat(scenario: Scenario) -> Scenario:
    breaker = scenario.env.breaker.model_copy(update={"on_level_3": "stay_flat"})
    return replace(scenario, env=scenario.env.model_copy(update={"breaker": breaker}))
