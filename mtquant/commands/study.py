"""``mtquant study``: does it learn what there is to learn, and nothing else?

Wiring only: the markets and their optima, the trials and the page are in :mod:`mtquant.research`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from mtquant.commands.feature_tables import folding_table
from mtquant.errors import ConfigError

if TYPE_CHECKING:
    from mtquant.research.study import RowResult, Trial
    from mtquant.research.study_rows import StudyRow

app = typer.Typer(help="Studies of what agents learn.", no_args_is_help=True)

STUDIES = Path("runs/study")
PIPED_WIDTH = 160


@app.callback()
def studies() -> None:
    """Studies of what agents learn."""


@app.command()
def planted(
    rows: Annotated[list[str] | None, typer.Argument(help="Rows of the table; else all.")] = None,
    agent: Annotated[str | None, typer.Option(help="Learns in place of each row's own.")] = None,
    seeds: Annotated[int, typer.Option(help="Of every row.")] = 3,
    jobs: Annotated[int, typer.Option(help="Processes; 0 takes the processor's cores.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = STUDIES / "planted",
) -> None:
    """Let agents learn on markets whose optimum is known, and print what share of it they earn."""
    if seeds < 1 or jobs < 0:
        raise ConfigError(f"--seeds {seeds} must be 1 or more and --jobs {jobs} 0 or more")
    from mtquant.research.study import run_study
    from mtquant.research.study_page import COLUMNS, cells, render_study
    from mtquant.research.study_rows import chosen_rows

    console = Console()
    chosen = chosen_rows(rows or [], agent)

    def told(row: StudyRow, trial: Trial) -> None:
        console.print(
            f"{row.name} seed {trial.seed}: {trial.value:+.5f} a bar, turnover "
            f"{trial.turnover:.3f}, exposure {trial.exposure:.2f}, {trial.seconds:.0f} s",
            highlight=False,
        )

    workers = jobs or os.cpu_count() or 1
    results = run_study(chosen, seeds, out / "trials", jobs=workers, told=told)
    table = folding_table(*COLUMNS, title="planted markets")
    for result in results:
        table.add_row(*cells(result))
    # A pipe has no width of its own, and a row of this table is one line to whoever reads it there.
    Console(width=None if console.is_terminal else PIPED_WIDTH).print(table)
    _write(results, render_study(results), out)
    console.print(f"written  {out / 'study.json'}\n         {out / 'study.html'}", soft_wrap=True)


def _write(results: list[RowResult], page: str, out: Path) -> None:
    content = [result.to_dict() for result in results]
    (out / "study.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    (out / "study.html").write_text(page, encoding="utf-8")
