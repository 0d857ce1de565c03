"""BridgeSwitch: the kill switch of one terminal, which every order from any machine must pass.

Its files lie beside the bridge's table of orders. A kill waits for nothing but itself: not for the
terminal, nor for the calls that wait for it. What had passed the switch before counts as sent, and
the answer to the kill says whether there is such an order. Nobody arms it over HTTP.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtquant.brokers.bridge.reducing import Ask, doubt_of
from mtquant.brokers.bridge.wire import WireError
from mtquant.errors import RiskHalt
from mtquant.risk.switch import Form, SwitchFiles

UNTOLD = "its files are missing, or say nothing"


class Stopped(Exception):
    """The switch lets an order not pass; nothing was sent."""


@dataclass(frozen=True)
class SwitchState:
    """Where a switch stands, for those who look.

    Attributes:
        form: What may be sent.
        by: Who, as far as is known.
        reason: Why.
        at_ns: When, ns UTC; 0 where that is not known.
        sending: Whether an order that had passed before has no answer yet.
        kept: Whether it is in the files, and not in the server's memory alone.
    """

    form: Form
    by: str
    reason: str
    at_ns: int
    sending: bool
    kept: bool = True

    def told(self) -> dict[str, Any]:
        """As JSON values, for :func:`state_of`."""
        return {**vars(self), "form": self.form.word}


def state_of(told: Any) -> SwitchState:
    """What :meth:`SwitchState.told` said.

    Raises:
        WireError: It is nothing of the kind.
    """
    match told:
        case {
            "form": str(form),
            "by": str(by),
            "reason": str(reason),
            "at_ns": int(at_ns),
            "sending": bool(sending),
            "kept": bool(kept),
        } if form.upper() in Form.__members__:
            return SwitchState(Form[form.upper()], by, reason, at_ns, sending, kept)
    raise WireError("the body says nothing of a switch")


class BridgeSwitch:
    """The files, and the gate at which an order is either sent or stopped; for several threads."""

    def __init__(self, orders: Path) -> None:
        """Look at the files; nothing is created.

        Args:
            orders: The bridge's table of orders, beside which they lie.
        """
        self._files = SwitchFiles(orders)
        self._gate = threading.Lock()
        self._sending = False

    def begin(self, at_ns: int) -> None:
        """Arm it for the first start of all; one that somebody has touched stays as it is.

        Args:
            at_ns: Real time, ns UTC.

        Raises:
            RiskHalt: The files cannot be written.
        """
        if self._files.untouched():
            self._files.arm("bridge", "first start", at_ns)

    def state(self) -> SwitchState:
        """Where it stands."""
        with self._gate:
            return self._state(kept=True)

    def kill(self, form: Form, reason: str, person: str, at_ns: int) -> SwitchState:
        """Let nothing more be sent than a form allows.

        Args:
            form: How much to stop.
            reason: Why.
            person: Who.
            at_ns: Real time, ns UTC.

        Returns:
            Where it stands now, which may be worse; no order begins after this that it forbids.
        """
        with self._gate:
            try:
                self._files.kill(form, reason, person, at_ns)
            except RiskHalt:
                return self._state(kept=False)
            return self._state(kept=True)

    def let(self, request: Mapping[str, Any], ask: Ask) -> Form:
        """Judge an order before it is claimed.

        Args:
            request: Of the order.
            ask: Reaches the terminal, where it must be proven that the order reduces.

        Returns:
            The worst that the switch may be at for it, for :meth:`sending`.

        Raises:
            Stopped: It does not pass.
        """
        with self._gate:
            form = self._files.read()
        if form is Form.ARMED:
            return form
        doubt = "" if form is Form.HARD else doubt_of(request, ask)
        if doubt or form is Form.HARD:
            with self._gate:
                raise Stopped(self._against(doubt))
        return Form.FLATTEN

    @contextmanager
    def sending(self, most: Form) -> Iterator[None]:
        """Send one order inside, if the switch stands no worse than ``most`` at this instant.

        Raises:
            Stopped: It stands worse.
        """
        with self._gate:
            if self._files.read() > most:
                raise Stopped(self._against())
            self._sending = True
        try:
            yield
        finally:
            with self._gate:
                self._sending = False

    def _against(self, doubt: str = "") -> str:
        """Why an order does not pass, in words."""
        state = self._state(kept=True)
        told = ": ".join(filter(None, (state.by, state.reason)))
        why = f"; {doubt}" if doubt else ""
        return f"the bridge's switch is at {state.form.name} ({told}){why}; nothing was sent"

    def _state(self, *, kept: bool) -> SwitchState:
        form = self._files.read()
        said = self._files.said(form)
        at_ns = said.get("at_ns", 0)
        return SwitchState(
            form,
            str(said.get("by", "")),
            str(said.get("reason", "")) or UNTOLD,
            at_ns if isinstance(at_ns, int) else 0,
            self._sending,
            kept,
        )
