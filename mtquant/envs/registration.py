"""Names for ``gymnasium.make``: every shipped env, ``mtquant/XAUUSD-H1-v0`` for ``xauusd_h1``.

Gymnasium finds this through the package's entry point, so the names exist without importing
mtquant; nothing heavy is imported before one is made.
"""

from __future__ import annotations

from gymnasium.envs.registration import register

SHIPPED = ("xauusd_h1", "eurusd_h1", "btcusd_m5")


def register_envs() -> None:
    """Register the shipped envs; called by Gymnasium inside the namespace ``mtquant``."""
    for name in SHIPPED:
        register(
            id=f"{name.upper().replace('_', '-')}-v0",
            entry_point="mtquant.envs.trading:make_registered",
            kwargs={"name": name},
        )
