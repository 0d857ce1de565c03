"""The whole study of planted markets, row by row, with as many seeds as each is asked for.

    python benchmarks/planted_study.py [--seeds 10] [--martingale-seeds 13] [--jobs 2]

What `mtquant study planted` plays, one row after the other, so that a table stands after each: it
prints the row and how long it took on the wall, and rewrites `study.json` and `study.html` under
`--out`. Trials that are on file are not played again, by either command, so it may be stopped at
any time. Martingales and `leak_blind` take more seeds: five laws with 13 each are 65 runs, of which
95 % are to stay flat. Rows with SAC or a memory come last: they take longest.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from mtquant.research.study import FLAT_SHARE, RowResult, run_study
from mtquant.research.study_page import cells, render_study
from mtquant.research.study_rows import ROWS, StudyRow

SLOW = ("sac", "ppo_recurrent", "ppo_classic")


def write(results: list[RowResult], out: Path) -> None:
    """Table and picture of what has ended so far."""
    content = json.dumps([result.to_dict() for result in results], indent=2)
    (out / "study.json").write_text(content + "\n", encoding="utf-8")
    (out / "study.html").write_text(render_study(results), encoding="utf-8")


def flat_share(results: list[RowResult]) -> str:
    """Of all martingales' trials together."""
    trials = [trial for result in results if result.row.stays_flat for trial in result.trials]
    if not trials:
        return ""
    flat = sum(trial.stays_flat for trial in trials)
    return f"flat in {flat} of {len(trials)} trainings on martingales (bar: {FLAT_SHARE:.0%})"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--martingale-seeds", type=int, default=13)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("runs/study/planted"))
    chosen = parser.parse_args()
    rows: list[StudyRow] = sorted(ROWS.values(), key=lambda row: row.agent in SLOW)
    results: list[RowResult] = []
    for row in rows:
        seeds, started = chosen.seeds, time.perf_counter()
        if row.stays_flat:
            seeds = chosen.martingale_seeds
        results += run_study([row], seeds, chosen.out / "trials", jobs=chosen.jobs)
        write(results, chosen.out)
        shown = "  ".join(cells(results[-1]))
        print(f"{shown}  [{time.perf_counter() - started:.0f} s in all]", flush=True)
    print(flat_share(results))


if __name__ == "__main__":
    main()
