"""KillSwitch: a runner's switch, files beside its journal; signals reach it too."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType

from mtquant.errors import RiskHalt
from mtquant.risk.switch import Form, SwitchFiles

__all__ = ["Form", "KillSwitch", "on_signals"]


class KillSwitch(SwitchFiles):
    """The switch of one journal."""


def on_signals(switches: Sequence[KillSwitch]) -> None:
    """SIGUSR1 kills HARD and SIGUSR2 flattens; where there are none, SIGBREAK kills HARD.

    Args:
        switches: That fall, all of them.
    """
    names = {"SIGUSR1": Form.HARD, "SIGUSR2": Form.FLATTEN, "SIGBREAK": Form.HARD}
    forms = {getattr(signal, name, None): form for name, form in names.items()}

    def handle(number: int, frame: FrameType | None) -> None:
        for switch in switches:
            with suppress(RiskHalt):  # it holds in this process, which is what a signal reaches
                switch.kill(forms[signal.Signals(number)], f"signal {signal.Signals(number).name}")

    for number in forms:
        if number is not None:
            signal.signal(number, handle)
