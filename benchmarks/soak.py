"""Soak: one runner on one account for very long, while one call in a hundred goes wrong.

    python benchmarks/soak.py [--bars 1000000] [--rate 0.01] [--seed 1]

A scripted strategy on M1 bars of the simulated terminal, the journal not synced. All faults of the
catalogue take part but those that never end, those that put the terminal on another account, and
trades of others, which a person has to settle. The process does not die: each birth checks the
whole journal. A person looks every 200 bars and arms the switch again.

The oracle is that of the fault schedules: B1 at every call, A3 before every order, and F4 for each
order once it is old. What is older than the terminal keeps is judged and dropped, so that memory is
the runner's own.

Prints every violation, memory as it goes, and how many orders were executed and judged; ends with 1
where something is violated or memory grows by more than 5 % after the first tenth.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "faults"))

import harness

from mtquant.brokers.terminal.fault_kinds import Fault
from mtquant.brokers.terminal.fault_plans import CATALOGUE
from mtquant.brokers.terminal.lasting_faults import FOR_EVER, AccountSwitched
from mtquant.brokers.terminal.order_faults import ForeignClose, ForeignTrade
from mtquant.brokers.terminal.state import AccountTerms
from mtquant.config.assemble import assemble_tape
from mtquant.errors import MTQuantError
from mtquant.live.intents import tag_of
from mtquant.live.kill_switch import Form, KillSwitch
from mtquant.live.settings import RunnerSettings
from mtquant.market.panel import Panel
from mtquant.market.simulated import SimulatedMarket

MINUTE = 60 * 10**9
CALLS_A_BAR = 14  # more than a bar makes
KEPT = 2_000  # deals and orders that the terminal remembers
LOOKS = 200  # bars between two looks of a person
GROWTH = 0.05
OTHERS = (AccountSwitched, ForeignTrade, ForeignClose)


LIMITS = harness.LIMITS.model_copy(
    update={"orders_per_hour": 60, "orders_per_day": 5_000, "executions_per_day": 5_000}
)


class Minutes(harness.Scripted):
    """The script of the fault schedules, another target every twenty bars of a minute."""

    def wanted(self, bar_time_ns: int) -> int:
        return harness.SCRIPT[bar_time_ns // (20 * MINUTE) % len(harness.SCRIPT)]


class Stage(harness.Stage):
    """So many minutes."""

    def __init__(self, bars: int) -> None:
        super().__init__()
        self.env = self.env.model_copy(update={"timeframe": "M1"})
        market = SimulatedMarket("XAUUSD", "M1", bars + 60, 3).bars(harness.SPEC)
        self.panel = Panel([market])
        features = np.zeros((len(market), 0), np.float32)
        rules = self.env.rules(reward_scale=1.0)
        self.tape = assemble_tape(self.env, self.panel, (harness.SPEC,), features, rules)
        self.bars = bars
        self.strategy = Minutes(self.env, int(market.time[-1]))


class Forgetful(harness.Watched):
    """A terminal with a short memory, which looks back at an order before it forgets it."""

    def _before_order(self, request: dict[str, Any]) -> None:
        super()._before_order(request)
        if len(self._ids) > KEPT:  # an id is never used again within so many orders
            self._ids = {request["magic"]}

    def forget(self) -> int:
        """Judge and drop what is old; how many orders were executed among that."""
        deals, orders = self.account.deals, self.account.orders
        old = len(deals) - KEPT
        if old <= 0 or self.journal is None:
            return 0
        executed = Counter[int]()
        for deal in deals:
            if tag_of(deal.magic) == harness.TAG:
                executed[deal.magic] += round(deal.volume * 100) * (1 if deal.type == 0 else -1)
        magics = {deal.magic for deal in deals[:old]} & executed.keys()
        for magic in magics:
            row = self.journal.execute(
                "SELECT state, executed_steps FROM intent WHERE magic = ?", (magic,)
            ).fetchone()
            if row is None or (row[0] != "spare" and row[1] != executed[magic]):
                self.broken.append(f"F4: {magic}: {executed[magic]} dealt, journalled {row}")
        del deals[:old]
        del orders[: max(len(orders) - KEPT, 0)]
        self._looked -= old
        return len(magics)


def faults(rng: np.random.Generator, calls: int, rate: float) -> dict[int, Fault]:
    """A plan for so many calls."""
    chosen = [
        fault
        for fault in CATALOGUE.values()
        if not isinstance(fault, OTHERS) and getattr(fault, "bars", 0) != FOR_EVER
    ]
    struck = np.flatnonzero(rng.random(calls) < rate)
    kinds = rng.integers(len(chosen), size=len(struck))
    return {int(n): chosen[kind] for n, kind in zip(struck, kinds, strict=True)}


def resident_mb() -> float:
    """Memory of this process."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


class Soak:
    """One long life."""

    def __init__(self, bars: int, rate: float, seed: int, path: Path) -> None:
        plan = faults(np.random.default_rng(seed), bars * CALLS_A_BAR, rate)
        self.stage, self.path = Stage(bars), path
        self.terminal = Forgetful(
            self.stage.panel,
            (harness.SPEC,),
            self.stage.tape,
            rows=(self.stage.first, self.stage.first + bars),
            terms=AccountTerms(100_000_000.0),
            plan=plan,
            record=False,
        )
        self.decided = self.executed = self.armed = 0
        settings = RunnerSettings("faults", grace_bars=harness.GRACE, limits=LIMITS, boot_id="b")
        self._parts = harness.begun(self.stage, self.terminal, path, settings)
        self.terminal.look_into(path)

    def bar(self, number: int) -> None:
        """One more of its life."""
        with suppress(MTQuantError):  # the next look tries again
            self.decided += self._parts[-1].on_bar() is not None
        self.terminal.advance()
        if number % LOOKS == 0:
            self._look_after(number)

    def end(self) -> None:
        """Close what it holds open."""
        harness._dead(self._parts, self.terminal)

    def _look_after(self, number: int) -> None:
        """What a person does; the terminal forgets what is old."""
        switch = KillSwitch(self.path)
        if not switch.untouched() and switch.read() is not Form.ARMED:
            switch.arm("person", f"looked at bar {number}", self.terminal.now_ns())
            self.armed += 1
        self.executed += self.terminal.forget()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bars", type=int, default=1_000_000)
    parser.add_argument("--rate", type=float, default=0.01)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        soak = Soak(options.bars, options.rate, options.seed, Path(folder) / "journal.db")
        began, told, memory = time.perf_counter(), 0, list[float]()
        for number in range(1, options.bars):
            soak.bar(number)
            for broken in soak.terminal.broken[told:]:
                print(f"bar {number}: {broken}", flush=True)
            told = len(soak.terminal.broken)
            if number % (options.bars // 20) == 0:
                memory.append(resident_mb())
                print(
                    f"{number:>9,} bars  {soak.decided:>9,} decided  {soak.executed:>8,} orders  "
                    f"armed {soak.armed:>5,} times  {memory[-1]:7.1f} MB  "
                    f"{1e3 * (time.perf_counter() - began) / number:5.2f} ms a bar",
                    flush=True,
                )
        soak.end()
    growth = max(memory[1:]) / memory[1] - 1.0
    print(f"{told} violations; memory grows by {growth:.1%} after the first tenth (bar: 5%)")
    return 1 if told or growth > GROWTH else 0


if __name__ == "__main__":
    sys.exit(main())
