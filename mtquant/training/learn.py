"""learn: from a scenario and an agent's configuration to the policy that validation selected.

Nothing here needs a bundle, a name that is free or a folder: a study trains as ``train`` does, with
the same learner, callback and selection. What a run keeps on disk is its caller's affair.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import Logger, configure

from mtquant.config.schema import AgentConfig
from mtquant.envs.scenario import Scenario
from mtquant.envs.vec_env import SB3VecEnv
from mtquant.errors import ConfigError
from mtquant.training.callbacks import ValidationCallback
from mtquant.training.learner import build_learner
from mtquant.training.profile import Profile
from mtquant.training.progress import Listener, Silent
from mtquant.training.selection import Selection
from mtquant.training.state import Checkpoint

LARGEST_WEIGHT = 1e6
Save = Callable[[ValidationCallback], None]


@dataclass(frozen=True)
class Learned:
    """What a training came to.

    Attributes:
        policy: The selected actor as an ONNX model; None where nothing beat flat.
        selection: How it was selected.
        frames: Trained in all.
        seconds: The training loop took, validation included, without what a resumed run did before.
    """

    policy: bytes | None
    selection: Selection
    frames: int
    seconds: float


def learn(
    scenario: Scenario,
    agent: AgentConfig,
    *,
    name: str,
    seed: int,
    listener: Listener | None = None,
    folder: Path | None = None,
    checkpoint: Checkpoint | None = None,
    save: Save | None = None,
    profile: Profile | None = None,
    clock: Callable[[], float] = perf_counter,
) -> Learned:
    """Train to the end and select on validation.

    Args:
        scenario: Bars under a fitted environment.
        agent: What learns, for how long; ``device: auto`` is the CPU.
        name: Of the agent, in messages.
        seed: Of everything random.
        listener: Receives the news.
        folder: Of the TensorBoard files; None logs nowhere.
        checkpoint: Where to go on from; None begins.
        save: Called after every validation pass and when the user stops the run.
        profile: Measures where the time goes.
        clock: Monotonic seconds, for ``seconds`` alone.

    Raises:
        ConfigError: A parameter is refused, or the network diverged.
        KeyboardInterrupt: The user stopped it; ``save`` has been called.
    """
    torch.set_num_threads(1)
    listener = listener or Silent()
    save = save or (lambda _: None)
    learning = agent.learning
    device = "cuda" if agent.device == "cuda" else "cpu"
    model = build_learner(agent, SB3VecEnv(scenario, learning.n_envs), seed, device)
    model.set_logger(configure(str(folder), ["tensorboard"]) if folder else Logger(None, []))
    watch = ValidationCallback(
        scenario,
        learning,
        name=name,
        listener=listener,
        on_checkpoint=save,
    )
    if checkpoint is not None:
        watch.resume(checkpoint)
        if checkpoint.snapshot is not None:
            checkpoint.snapshot.restore(model)
        listener.on_text(f"resumed  at {model.num_timesteps:,} frames")
    started = clock()
    try:
        with profile.watching(model, watch) if profile else nullcontext():
            _to_the_end(model, watch, learning.timesteps, name)
    except KeyboardInterrupt:
        save(watch)
        raise
    selected = watch.policy if watch.selection.learned else None
    return Learned(selected, watch.selection, model.num_timesteps, clock() - started)


def _to_the_end(model: BaseAlgorithm, watch: ValidationCallback, total: int, name: str) -> None:
    try:
        remaining = total - model.num_timesteps
        if remaining > 0:
            model.learn(remaining, callback=watch, reset_num_timesteps=model.num_timesteps == 0)
        watch.finish(model)
    except ValueError:
        # Not finite, or so large that a deviation of exp(weight) is 0 or infinite.
        if all((weight.abs() < LARGEST_WEIGHT).all() for weight in model.policy.parameters()):
            raise
        raise ConfigError(
            f"agent {name}: the network diverged after {model.num_timesteps:,} frames; lower "
            "learning_rate"
        ) from None
