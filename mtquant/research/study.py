"""The study of planted markets: trials in parallel, and what their seeds came to.

A trial learns on one history of a law, is selected on the validation part of it, and is scored on
a fresh draw. Its result is a small file named by everything that it depends on, so that a study
that is stopped goes on where it was, and one that is changed starts again where it must.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from threading import Thread
from typing import Any

import mtquant
from mtquant.agents.policy import OnnxPolicy
from mtquant.backtest.student import MeanInterval, mean_interval
from mtquant.config.load import load_agent
from mtquant.config.schema import AgentConfig, canonical_json
from mtquant.research.optimum import Optimum, optimum
from mtquant.research.planted import Score, planted_env, positions_of, score
from mtquant.research.study_rows import StudyRow
from mtquant.training.crew import for_workers
from mtquant.training.learn import Learned, learn

FRESH_BARS = 150_000
FRESH_SEED = 1_000_000  # added to a trial's seed: no history is learned on and scored on
MOST_TURNOVER, MOST_EXPOSURE = 0.02, 0.10  # of an agent that stays flat
FLAT_SHARE = 0.95  # of the trials


@dataclass(frozen=True)
class Trial:
    """One seed of one row.

    Attributes:
        seed: Of the history and of the training.
        value: Conditional mean reward per bar on the fresh draw.
        linear_value: The same without the reward's lambda.
        best: Value of the optimum's positions on the same draw.
        turnover: Mean change of the position per bar, full sizes.
        exposure: Mean size of the position, full sizes.
        learned: Whether selection preferred anything to flat.
        frames: Trained.
        seconds: Of the training loop, validation included.
    """

    seed: int
    value: float
    linear_value: float
    best: float
    turnover: float
    exposure: float
    learned: bool
    frames: int
    seconds: float

    @classmethod
    def of(cls, seed: int, found: Score, best: float, learned: Learned) -> Trial:
        """From what was found on the fresh draw, and how it was learned."""
        facts = (learned.policy is not None, learned.frames, learned.seconds)
        return cls(
            seed, found.value, found.linear_value, best, found.turnover, found.exposure, *facts
        )

    @property
    def share(self) -> float:
        """Of what the optimum earns on the same draw, whose luck so cancels."""
        return self.value / self.best

    @property
    def stays_flat(self) -> bool:
        """Whether it trades and holds next to nothing."""
        return self.turnover < MOST_TURNOVER and self.exposure < MOST_EXPOSURE


def run_trial(row: StudyRow, agent: AgentConfig, seed: int) -> Trial:
    """Learn on a history of the row's market and score what was learned on a fresh draw."""
    scenario = row.market.scenario(seed, agent.window)
    learned = learn(scenario, agent, name=row.agent, seed=seed)
    history, fresh = row.market.fresh(scenario, FRESH_BARS, FRESH_SEED + seed)
    rows = fresh.rows("all")
    history = history[rows[0] : rows[1]]
    penalty = fresh.env.reward.downside_penalty
    best = score(history, best_of(row).positions(history), penalty).value
    if learned.policy is None:
        nothing = Score(0.0, 0.0, 0.0, 0.0)
        return Trial.of(seed, nothing, best, learned)
    policy = OnnxPolicy(learned.policy, name=row.agent, inputs=scenario.inputs, window=agent.window)
    found = score(history, positions_of(policy, fresh, rows), penalty)
    return Trial.of(seed, found, best, learned)


@dataclass(frozen=True)
class RowResult:
    """What the seeds of a row came to.

    Attributes:
        row: What was played.
        optimum: The best there is.
        trials: One a seed.
    """

    row: StudyRow
    optimum: Optimum
    trials: tuple[Trial, ...]

    @property
    def share(self) -> MeanInterval | None:
        """Of the optimum, with its 95 % interval over seeds; None of a martingale."""
        if self.optimum.value <= 0.0:
            return None
        return mean_interval([trial.share for trial in self.trials])

    def mean(self, name: str) -> float:
        """Mean over seeds of one of a trial's numbers."""
        return self.interval(name).mean

    def interval(self, name: str) -> MeanInterval:
        """The same with its interval."""
        return mean_interval([float(getattr(trial, name)) for trial in self.trials])

    @property
    def flat_share(self) -> float:
        """Share of the trials that stay flat."""
        return sum(trial.stays_flat for trial in self.trials) / len(self.trials)

    @property
    def verdict(self) -> str:
        """What was asked, and ``holds`` or ``fails``; empty where nothing was.

        One seed has no interval, so it settles nothing.
        """
        if self.row.stays_flat:
            holds = self.flat_share >= FLAT_SHARE and self.interval("value").low <= 0.0
            return f"flat in {self.flat_share:.0%} of seeds: {'holds' if holds else 'fails'}"
        if self.row.least_share is None or self.share is None:
            return ""
        asked = f"at least {self.row.least_share:.0%}"
        if len(self.trials) == 1:
            return f"{asked}: take more seeds"
        return f"{asked}: {'holds' if self.share.low >= self.row.least_share else 'fails'}"

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        best = self.optimum
        return {
            "row": self.row.name,
            "law": {"name": type(self.row.market.law).__name__, **asdict(self.row.market.law)},
            "agent": self.row.agent,
            "optimum": {
                name: getattr(best, name)
                for name in ("value", "linear_value", "turnover", "exposure")
            },
            "share": self.share._asdict() if self.share and len(self.trials) > 1 else None,
            "verdict": self.verdict,
            "trials": [asdict(trial) for trial in self.trials],
        }


Task = tuple[StudyRow, AgentConfig, int]


def run_study(
    rows: Sequence[StudyRow],
    seeds: int,
    folder: Path,
    *,
    jobs: int = 1,
    told: Callable[[StudyRow, Trial], None] = lambda row, trial: None,
) -> list[RowResult]:
    """Every row with every seed.

    Args:
        rows: What to play.
        seeds: 0 to ``seeds - 1``, each in every row.
        folder: Of the trials' files; what stands there is not played again.
        jobs: Processes; one thread each.
        told: Called with each trial as it ends.

    Raises:
        ConfigError: An agent that is named has no configuration, or its training failed.
    """
    agents = {row.name: load_agent(row.agent)[0] for row in rows}
    tasks = [(row, agents[row.name], seed) for row in rows for seed in range(seeds)]
    trials: dict[tuple[str, int], Trial] = {}
    for (row, _, seed), trial in _played(tasks, folder, jobs):
        trials[row.name, seed] = trial
        told(row, trial)
    return [
        RowResult(row, best_of(row), tuple(trials[row.name, seed] for seed in range(seeds)))
        for row in rows
    ]


def best_of(row: StudyRow) -> Optimum:
    """The optimum of the row's market under the reward that its agent is paid."""
    env = planted_env(row.market.law, row.market.features or ("returns",), row.market.changes)
    return optimum(row.market.law, downside_penalty=env.reward.downside_penalty)


def _played(tasks: Sequence[Task], folder: Path, jobs: int) -> Iterator[tuple[Task, Trial]]:
    """Each task with its trial: first those on file, then the others as they end."""
    folder.mkdir(parents=True, exist_ok=True)
    places = [folder / _file_name(task) for task in tasks]
    still_open = []
    for number, (task, place) in enumerate(zip(tasks, places, strict=True)):
        kept = _read(place)
        if kept is None:
            still_open.append(number)
        else:
            yield task, kept
    for number, trial in _ended({number: tasks[number] for number in still_open}, jobs):
        text = json.dumps(asdict(trial), indent=1) + "\n"
        places[number].write_text(text, encoding="utf-8")
        yield tasks[number], trial


def _ended(tasks: Mapping[int, Task], jobs: int) -> Iterator[tuple[int, Trial]]:
    """Trials by the number of their task, in the order in which they end."""
    if jobs == 1:
        for number, task in tasks.items():
            yield number, run_trial(*task)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_end_with_parent) as pool:
        with for_workers():
            running = {pool.submit(run_trial, *task): number for number, task in tasks.items()}
        for future in as_completed(running):
            yield running[future], future.result()


def _end_with_parent() -> None:
    """Let this process end when the one that started it is gone, however that came."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    Thread(target=watch, daemon=True).start()


@cache
def _code() -> str:
    """Hash of all sources: what trades, learns and scores may stand in any of them."""
    root, digest = Path(mtquant.__file__).parent, hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        # A checkout on Windows may end its lines differently.
        content = path.read_bytes().replace(b"\r\n", b"\n")
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + content)
    return digest.hexdigest()


def _file_name(task: Task) -> str:
    """Named by all that the result depends on; another law, agent or code is another file."""
    row, agent, seed = task
    market = row.market
    env = planted_env(market.law, market.features or ("returns",), market.changes)
    content = canonical_json(
        {
            "law": [type(market.law).__name__, asdict(market.law)],
            "market": [market.signals, market.noise, market.bars, FRESH_BARS],
            "env": env.config_id,
            "agent": agent.config_id,
            "code": _code(),
        }
    )
    return f"{row.name}-{seed}-{hashlib.sha256(content.encode()).hexdigest()[:12]}.json"


def _read(place: Path) -> Trial | None:
    try:
        return Trial(**json.loads(place.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
