"""One training on disk: learning, with what a stopped run needs to go on under ``runs/NAME``."""

from __future__ import annotations

from mtquant.envs.scenario import Scenario
from mtquant.training.callbacks import ValidationCallback
from mtquant.training.learn import Learned, learn
from mtquant.training.plan import Plan
from mtquant.training.profile import Profile
from mtquant.training.progress import Listener


class Interrupted(Exception):
    """Training was stopped by the user; its state is saved under ``name``."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def learn_run(
    plan: Plan, scenario: Scenario, listener: Listener, profile: Profile | None = None
) -> Learned:
    """Train to the end, or to the user's Ctrl-C.

    Raises:
        ConfigError: A parameter is refused, or the network diverged.
        Interrupted: The user stopped it; its state is saved.
    """
    record = plan.record

    def save(watch: ValidationCallback) -> None:
        watch.checkpoint(record).save(plan.state)

    try:
        return learn(
            scenario,
            record.agent,
            name=record.agent_name,
            seed=record.seed,
            listener=listener,
            folder=plan.folder,
            checkpoint=plan.checkpoint,
            save=save,
            profile=profile,
        )
    except KeyboardInterrupt:
        raise Interrupted(record.name) from None
