"""Where the time of a training goes: parts that are measured by wrapping their calls.

Time belongs to the innermost part that is running, so the parts add up to the whole. A profile that
is not asked for wraps nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from time import perf_counter
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm

from mtquant.training import callbacks
from mtquant.training.mlp import ActorCritic

ENV, FORWARD, PROBES = "env", "policy forward", "probes"
ROLLOUT, UPDATE = "rest of the rollout", "update"
VALIDATION, EXPORT, SAVING = "validation", "export", "saving its state"
FEATURES, TEST, REST = "features", "test and report", "the rest"
PARTS = (ENV, FORWARD, PROBES, ROLLOUT, UPDATE, VALIDATION, EXPORT, SAVING, FEATURES, TEST, REST)


class Profile:
    """Seconds by part.

    Attributes:
        seconds: Spent in each part, without the parts inside it.
        frames: Trained while it watched.
    """

    def __init__(self, clock: Callable[[], float] = perf_counter) -> None:
        """Measure by ``clock``, monotonic seconds."""
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.frames = 0
        self._clock = clock
        self._running: list[str] = []
        self._since = 0.0

    @contextmanager
    def measure(self, part: str) -> Iterator[None]:
        """Count the time inside as ``part``'s."""
        self._count()
        self._running.append(part)
        try:
            yield
        finally:
            self._count()
            self._running.pop()

    @contextmanager
    def watching(self, model: BaseAlgorithm, watch: callbacks.ValidationCallback) -> Iterator[None]:
        """Measure a learner and its callback inside."""
        before = model.num_timesteps
        policy, probes = model.policy, getattr(model, "probes", None)
        with ExitStack() as wraps:
            for owner, name, part, within in (
                (model.env, "step", ENV, ROLLOUT),
                (policy, "forward", FORWARD, ROLLOUT),
                (policy, "predict", FORWARD, ROLLOUT),
                (policy, "predict_values", FORWARD, ROLLOUT),
                (ActorCritic, "means", FORWARD, ROLLOUT),
                (ActorCritic, "values", FORWARD, ROLLOUT),
                (probes, "play", PROBES, ROLLOUT),
                (probes, "compare", PROBES, ROLLOUT),
                (model, "collect_rollouts", ROLLOUT, None),
                (model, "train", UPDATE, None),
                (watch, "validate", VALIDATION, None),
                (watch, "on_checkpoint", SAVING, None),
                (callbacks, "export_policy", EXPORT, None),
            ):
                if hasattr(owner, name):
                    wraps.enter_context(self._wrapped(owner, name, part, within))
            yield
        self.frames += model.num_timesteps - before

    def lines(self) -> list[str]:
        """The table: seconds, share, and microseconds for each trained frame."""
        total = sum(self.seconds.values())
        lines = [f"where the time goes: {total:.2f} s, {self.frames:,} frames"]
        for part in PARTS:
            seconds = self.seconds[part]
            share, each = seconds / (total or 1.0), 1e6 * seconds / max(self.frames, 1)
            lines.append(f"{part:<20}{seconds:>9.2f} s{share:>8.1%}{each:>10.2f} us a frame")
        return lines

    @contextmanager
    def _wrapped(self, owner: Any, name: str, part: str, within: str | None) -> Iterator[None]:
        """``owner.name`` measured; where ``within`` is given, only when called from that part."""
        plain, own = getattr(owner, name), vars(owner).get(name)

        def measured(*arguments: Any, **named: Any) -> Any:
            if within is not None and self._running[-1:] != [within]:
                return plain(*arguments, **named)
            with self.measure(part):
                return plain(*arguments, **named)

        setattr(owner, name, measured)
        try:
            yield
        finally:
            if own is None:
                delattr(owner, name)
            else:
                setattr(owner, name, own)

    def _count(self) -> None:
        now = self._clock()
        if self._running:
            self.seconds[self._running[-1]] += now - self._since
        self._since = now


def part_of(profile: Profile | None, part: str) -> AbstractContextManager[None]:
    """A part of a profile; nothing without one."""
    return nullcontext() if profile is None else profile.measure(part)
