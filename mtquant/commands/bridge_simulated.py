"""A bridge's worker on the simulated terminal: ``python -m mtquant.commands.bridge_simulated``.

It trades stored bars of a symbol where there are any, else the simulated market. Time begins in the
middle of the bars, so that there is history, and goes on by so many bars a second.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mtquant.brokers.bridge.worker import run_worker
from mtquant.brokers.terminal.simulated import SimulatedTerminal
from mtquant.brokers.terminal.state import AccountTerms
from mtquant.config.assemble import assemble_tape
from mtquant.config.data import simulated_market, stored_market
from mtquant.config.schema import EnvConfig

_BARS = 5_000  # of the simulated market


class PacedTerminal(SimulatedTerminal):
    """A simulated terminal whose time passes by itself, at its calls."""

    _bars_per_second = 0.0
    _began: float | None = None
    _passed = 0
    _clock: Callable[[], float]

    def pace(self, bars_per_second: float, clock: Callable[[], float]) -> None:
        """Let time pass from now on.

        Args:
            bars_per_second: How fast; 0 for never.
            clock: Seconds, monotonic.
        """
        self._bars_per_second, self._clock = bars_per_second, clock
        self._began = clock()

    def _call(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        if self._began is not None:
            due = int((self._clock() - self._began) * self._bars_per_second)
            while self._passed < due and not self.finished:
                self.advance()
                self._passed += 1
        return super()._call(function, args, kwargs)


def paced_terminal(setup: Mapping[str, Any], clock: Callable[[], float]) -> PacedTerminal:
    """A terminal over one symbol.

    Args:
        setup: ``symbol``, ``timeframe``, ``data_dir`` and ``bars_per_second``.
        clock: Seconds, monotonic.

    Raises:
        ConfigError: No such symbol or timeframe.
    """
    chosen = {"symbols": (setup["symbol"],), "timeframe": setup["timeframe"]}
    env = EnvConfig.model_validate({"name": "bridge", "features": ("returns",), **chosen})
    market = stored_market(env, Path(setup["data_dir"])) or simulated_market(env, _BARS)
    panel, specs = market.panel, market.specs
    nothing = np.zeros((len(panel), 0), np.float32)
    tape = assemble_tape(env, panel, specs, nothing, env.rules(reward_scale=1.0))
    account = env.account
    made = PacedTerminal(
        panel,
        specs,
        tape,
        rows=(len(panel) // 2, len(panel) - 1),
        terms=AccountTerms(account.capital, account.currency, round(account.leverage)),
    )
    made.pace(float(setup["bars_per_second"]), clock)
    return made


if __name__ == "__main__":
    run_worker(lambda setup: paced_terminal(setup, time.monotonic))
