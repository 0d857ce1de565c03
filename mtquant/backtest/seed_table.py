"""Several trainings of one agent that differ by their seed alone: each one's result, and the mean.

How good an agent is shows in the mean and its interval; a single seed shows luck as well. Which one
is deployed was decided on validation before any of these test results was known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from math import isfinite

from mtquant.backtest.report_html import SideTable
from mtquant.backtest.report_rows import NOTHING, Cell
from mtquant.backtest.student import MeanInterval, mean_interval


@dataclass(frozen=True)
class SeedRow:
    """One training.

    Attributes:
        seed: Of the training.
        validation_reward: Mean per bar of the selected checkpoint; 0 where flat was selected.
        frames: Trained when that checkpoint was taken; 0 for flat.
        net_return: On the test split, a fraction.
        sharpe: On the test split, annualised; None where nothing was traded.
        turnover_per_year: On the test split; None where nothing remained.
    """

    seed: int
    validation_reward: float
    frames: int
    net_return: float
    sharpe: float | None
    turnover_per_year: float | None


Form = Callable[[float], str]
COLUMNS: dict[str, tuple[str, Form]] = {
    "validation_reward": ("Validation", lambda value: f"{value:+.5f}"),
    "net_return": ("Test return", lambda value: f"{value:+.2%}"),
    "sharpe": ("Sharpe", lambda value: f"{value:.2f}"),
    "turnover_per_year": ("Turnover", lambda value: f"{value:,.1f}x"),
}


@dataclass(frozen=True)
class SeedTable:
    """The trainings behind one agent.

    Attributes:
        rows: One a seed.
        chosen: The seed that is deployed; None where the mean of all actions was to be.
    """

    rows: tuple[SeedRow, ...]
    chosen: int | None

    @property
    def rule(self) -> str:
        """How the deployed policy follows from the seeds."""
        if self.chosen is None:
            return "the mean of all seeds' actions, tried on validation again"
        return "the median seed by validation reward, never the best by test"

    def means(self) -> dict[str, MeanInterval | None]:
        """Mean and 95 % interval over the seeds that have a value; None where none has."""
        found: dict[str, MeanInterval | None] = {}
        for name in COLUMNS:
            values = [getattr(row, name) for row in self.rows if getattr(row, name) is not None]
            found[name] = mean_interval(values) if values else None
        return found

    def to_dict(self) -> dict[str, object]:
        """JSON values."""
        means = {
            name: None
            if found is None
            else {
                "mean": found.mean,
                "interval": [found.low, found.high] if isfinite(found.high) else None,
                "seeds": found.numbers,
            }
            for name, found in self.means().items()
        }
        runs = [asdict(row) | {"chosen": row.seed == self.chosen} for row in self.rows]
        return {"deployed": self.rule, "runs": runs, "means": means}

    def page(self) -> SideTable:
        """The table as console and page show it."""
        rows = [self._row(row) for row in self.rows]
        marked = [number for number, row in enumerate(self.rows) if row.seed == self.chosen]
        return SideTable(
            heading="Seeds",
            lead=(
                f"Deployed: {self.rule}. Validation is the mean reward per bar, the rest is the "
                "test split, turnover a year. Intervals: 95 %, Student's t over the seeds."
            ),
            columns=[title for title, _ in COLUMNS.values()] + ["Selected at"],
            rows=[*rows, *self._mean_rows()],
            marked=marked[0] if marked else None,
        )

    def _row(self, row: SeedRow) -> tuple[str, Sequence[Cell]]:
        label = f"seed {row.seed}" + (" (deployed)" if row.seed == self.chosen else "")
        values = [(getattr(row, name), form) for name, (_, form) in COLUMNS.items()]
        cells = [NOTHING if value is None else (form(value), "") for value, form in values]
        return label, [*cells, (f"{row.frames:,}" if row.frames else "flat", "")]

    def _mean_rows(self) -> list[tuple[str, Sequence[Cell]]]:
        means: list[Cell] = []
        ends: tuple[list[Cell], list[Cell]] = [], []
        for name, found in self.means().items():
            form = COLUMNS[name][1]
            partly = found is not None and found.numbers < len(self.rows)
            known = found is not None and isfinite(found.high)
            detail = f"of {found.numbers} seeds" if found and partly else ""
            means.append((form(found.mean), detail) if found else NOTHING)
            for cells, end in zip(ends, ("low", "high"), strict=True):
                cells.append((form(getattr(found, end)), "") if known else NOTHING)
        labels = ("mean", "interval from", "to")
        return [
            (label, [*cells, ("", "")]) for label, cells in zip(labels, (means, *ends), strict=True)
        ]
