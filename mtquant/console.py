"""What all commands share: one sentence for a user's mistake, and a training run on the screen."""

from __future__ import annotations

import sys
from io import TextIOWrapper
from types import TracebackType
from typing import NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Task as RichTask
from rich.text import Text

from mtquant.backtest.report import Report, console_table
from mtquant.errors import MTQuantError, one_line

USER_ERROR, INTERRUPTED = 2, 130
_MOST_LETTERS = 1000  # of an error


def run_app(app: typer.Typer) -> None:
    """Run a command line; a mistake of the user's is one sentence and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a letter that it lacks ends no trading
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except MTQuantError as error:
        _refuse(str(error))
    except OSError as error:
        place = f" '{one_line(str(error.filename))}'" if error.filename else ""
        _refuse(f"cannot use{place}: {error.strerror or error}; choose another place")
    except KeyboardInterrupt:
        Console(stderr=True).print("interrupted")
        sys.exit(INTERRUPTED)


def _refuse(told: str) -> NoReturn:
    sentence = f"error: {one_line(told, _MOST_LETTERS)}"
    Console(stderr=True).print(sentence, style="red", markup=False, soft_wrap=True)
    sys.exit(USER_ERROR)


class _FramesPerSecond(ProgressColumn):
    """Frames/s over the last seconds."""

    def render(self, task: RichTask) -> Text:
        """The rate, or nothing before there is one."""
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f} frames/s" if speed else "", style="cyan")


class _RunOnScreen:
    """One run of a screen: a bar of its own, and lines that say whose they are."""

    def __init__(self, console: Console, bars: Progress, title: str, prefix: str = "") -> None:
        self.console = console
        self._bars = bars
        self._title = title
        self._prefix = prefix
        self._task: TaskID | None = None

    def on_text(self, text: str) -> None:
        """One line above the bars."""
        self.console.print(escape(self._prefix + text), soft_wrap=True)

    def on_progress(self, frames: int, total: int, reward: float | None) -> None:
        """Move the bar."""
        if self._task is None:
            self._task = self._bars.add_task(self._title, reward="-", sharpe="-")
        shown = "-" if reward is None else f"{reward:+.4f}"
        self._bars.update(self._task, completed=frames, total=total, reward=shown)

    def on_validation(self, frames: int, reward: float, sharpe: float | None, kept: bool) -> None:
        """One line a pass."""
        ratio = "-" if sharpe is None else f"{sharpe:+.2f}"
        if self._task is not None:
            self._bars.update(self._task, sharpe=ratio)
        self.console.print(
            f"{self._prefix}{frames:>11,} frames: validation reward {reward:+.5f}, "
            f"net Sharpe {ratio}" + (", best" if kept else ""),
            highlight=False,
        )

    def on_report(self, report: Report) -> None:
        """The whole table."""
        self._bars.stop()
        self.console.print(console_table(report))

    def of_seed(self, seed: int) -> _RunOnScreen:
        """A bar for one of several seeds."""
        return _RunOnScreen(self.console, self._bars, f"seed {seed}", f"seed {seed}: ")


class TrainingScreen(_RunOnScreen):
    """Shows a training: a progress bar for each seed on a terminal, lines elsewhere.

    It is a :class:`mtquant.training.progress.Listener`; nothing it does changes the run.
    """

    def __init__(self, console: Console) -> None:
        bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _FramesPerSecond(),
            TextColumn("reward {task.fields[reward]}"),
            TextColumn("validation Sharpe {task.fields[sharpe]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        super().__init__(console, bars, "learning")

    def __enter__(self) -> TrainingScreen:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()
