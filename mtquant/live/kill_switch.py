"""KillSwitch: files beside the journal that say whether anything may be sent; each send reads them.

    JOURNAL.armed     must be there, or nothing is sent
    JOURNAL.reduce    only reductions
    JOURNAL.flatten   the runner closes what it holds, and sends nothing else
    JOURNAL.hard      nothing is sent at all

To kill is to rename the first file, which a full disk allows too; the worst that is found holds, a
missing ``armed`` is HARD, and what cannot be read allows no increase. So it needs no running
process, no server and no free space, and no restart forgets it. Only :meth:`KillSwitch.arm` takes
it back, with a name and a reason.
"""

from __future__ import annotations

import json
import os
import signal
from contextlib import suppress
from enum import IntEnum
from pathlib import Path
from types import FrameType

from mtquant.errors import ConfigError, RiskHalt


class Form(IntEnum):
    """What may be sent, the worst last."""

    ARMED = 0
    REDUCE = 1
    FLATTEN = 2
    HARD = 3

    @property
    def word(self) -> str:
        """As the file's name ends."""
        return self.name.lower()


KILLED = (Form.HARD, Form.FLATTEN, Form.REDUCE)


class KillSwitch:
    """The switch of one journal.

    Attributes:
        arming: By which one arming is told from another, at the last look; None where not armed.
    """

    def __init__(self, journal: Path) -> None:
        """Look at the files of a journal; nothing is created.

        Args:
            journal: Its file.
        """
        self._journal = journal
        self._paths = {form: f"{journal}.{form.word}" for form in Form}
        # What was asked for here holds even where no file can be written; until it is armed anew.
        self._asked, self._armed_then = Form.ARMED, self._armed_now()
        self.arming = self._armed_then

    def read(self) -> Form:
        """What may be sent now; whatever cannot be read allows no increase."""
        try:
            found = next((form for form in KILLED if _is_there(self._paths[form])), None)
            armed = self._armed_now()
        except OSError:
            return max(Form.REDUCE, self._asked)
        self.arming = armed
        if found is None:
            found = Form.HARD if armed is None else Form.ARMED
        if self._asked and found is Form.ARMED and armed != self._armed_then:
            self._asked = Form.ARMED
        return max(found, self._asked)

    def untouched(self) -> bool:
        """Whether none of its files is there: nobody has armed it yet, nor killed."""
        return not any(map(_is_there, self._paths.values()))

    def kill(self, form: Form, reason: str) -> None:
        """Let nothing more be sent than ``form`` allows; what is there already may be worse.

        Args:
            form: How much to stop.
            reason: Why, for those who look.

        Raises:
            RiskHalt: The files cannot be changed; in this process it holds all the same.
        """
        if form is Form.ARMED:
            raise ConfigError("a switch is armed with a name and a reason, not killed")
        with suppress(OSError):
            self._armed_then = self._armed_now()
        self._asked = max(form, self._asked)
        try:
            if not _is_there(self._paths[form]):
                self._mark(form)
        except OSError as error:
            raise RiskHalt(f"the kill switch beside '{self._journal}' fails: {error}") from error
        with suppress(OSError):  # the name says it already; the text is for people
            self._write(self._file(form), {"reason": reason})

    def arm(self, person: str, reason: str, at_ns: int) -> None:
        """Let trading begin anew.

        Args:
            person: Who answers for it.
            reason: Why.
            at_ns: Real time, ns UTC.

        Raises:
            ConfigError: Nobody is named, or no reason is given.
            RiskHalt: The files cannot be changed.
        """
        who, why = " ".join(person.split()), " ".join(reason.split())
        if not who or not why:
            raise ConfigError("the switch is armed by somebody, for a reason; name both")
        draft = self._journal.with_name(self._journal.name + ".arming")
        try:
            self._write(draft, {"by": who, "reason": why, "at_ns": at_ns})
            for form in KILLED:
                self._file(form).unlink(missing_ok=True)
            os.replace(draft, self._file(Form.ARMED))
        except OSError as error:
            raise RiskHalt(f"the kill switch beside '{self._journal}' fails: {error}") from error

    def told(self) -> str:
        """What the file that holds now says: who and why; empty where it cannot be read."""
        try:
            said = json.loads(self._file(self.read()).read_text(encoding="utf-8"))
            return ": ".join(str(said[key]) for key in ("by", "reason") if key in said)
        except (OSError, ValueError, TypeError):
            return ""

    def on_signals(self) -> None:
        """SIGUSR1 kills HARD and SIGUSR2 flattens; where there are none, SIGBREAK kills HARD."""
        names = {"SIGUSR1": Form.HARD, "SIGUSR2": Form.FLATTEN, "SIGBREAK": Form.HARD}
        forms = {getattr(signal, name, None): form for name, form in names.items()}

        def handle(number: int, frame: FrameType | None) -> None:
            with suppress(RiskHalt):  # it holds in this process, which is what a signal reaches
                self.kill(forms[signal.Signals(number)], f"signal {signal.Signals(number).name}")

        for number in forms:
            if number is not None:
                signal.signal(number, handle)

    def _mark(self, form: Form) -> None:
        """By a name alone, out of whatever file is there."""
        for other in (Form.ARMED, *reversed(KILLED)):
            if other < form:
                with suppress(FileNotFoundError):
                    os.replace(self._file(other), self._file(form))
                    return
        os.close(os.open(self._file(form), os.O_CREAT | os.O_WRONLY, 0o600))

    def _file(self, form: Form) -> Path:
        return Path(self._paths[form])

    def _armed_now(self) -> tuple[int, int] | None:
        """By which one arming is told from another; None where it is not armed."""
        try:
            found = os.stat(self._paths[Form.ARMED])
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns

    def _write(self, path: Path, said: dict[str, str | int]) -> None:
        file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        with os.fdopen(file, "w", encoding="utf-8") as out:
            out.write(json.dumps(said) + "\n")
            out.flush()
            os.fsync(out.fileno())


def _is_there(path: str) -> bool:
    try:
        os.lstat(path)
    except FileNotFoundError:
        return False
    return True
