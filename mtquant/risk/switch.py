"""SwitchFiles: files beside another one that say whether anything may be sent.

    FILE.armed     must be there, or nothing is sent
    FILE.reduce    only reductions
    FILE.flatten   the runner closes what it holds, and sends nothing else
    FILE.hard      nothing is sent at all

The other file is a runner's journal or a bridge's table of orders, and each send reads them anew.

To kill is to rename the first file, which a full disk allows too; the worst that is found holds, a
missing ``armed`` is HARD, and what cannot be read allows no increase. So it needs no running
process, no server and no free space, and no restart forgets it. A file that somebody has put there
is a kill as well, and whoever finds it removes ``armed``. Only :meth:`SwitchFiles.arm` takes it
back, with a name and a reason.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from enum import IntEnum
from pathlib import Path
from typing import Any

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


class SwitchFiles:
    """The switch beside one file.

    Attributes:
        arming: By which one arming is told from another, at the last look; None where not armed.
    """

    def __init__(self, beside: Path) -> None:
        """Look at the files; nothing is created.

        Args:
            beside: The file whose name theirs begin with.
        """
        self._beside = beside
        self._paths = {form: f"{beside}.{form.word}" for form in Form}
        # What was asked for here holds even where no file can be written; until it is armed anew.
        self._asked, self._armed_then = Form.ARMED, self._armed_now()
        self.arming = self._armed_then

    def read(self) -> Form:
        """What may be sent now; whatever cannot be read allows no increase."""
        try:
            found = next((form for form in KILLED if _is_there(self._paths[form])), None)
            armed = self._armed_now()
            if found is not None and armed is not None and _is_there(self._paths[found]):
                armed = self._disarmed(armed)
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

    def kill(self, form: Form, reason: str, person: str = "", at_ns: int = 0) -> None:
        """Let nothing more be sent than ``form`` allows; what is there already may be worse.

        Args:
            form: How much to stop.
            reason: Why, for those who look.
            person: Who, where that is known.
            at_ns: Real time, ns UTC, where that is known.

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
            raise RiskHalt(f"the kill switch beside '{self._beside}' fails: {error}") from error
        with suppress(OSError):  # the name says it already; the text is for people
            said: dict[str, str | int] = {"by": person, "reason": reason, "at_ns": at_ns}
            self._write(self._file(form), {name: what for name, what in said.items() if what})

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
        draft = self._beside.with_name(self._beside.name + ".arming")
        try:
            self._write(draft, {"by": who, "reason": why, "at_ns": at_ns})
            for form in reversed(KILLED):  # where one cannot be removed a worse one still holds
                self._file(form).unlink(missing_ok=True)
            os.replace(draft, self._file(Form.ARMED))
        except OSError as error:
            raise RiskHalt(f"the kill switch beside '{self._beside}' fails: {error}") from error

    def told(self) -> str:
        """What the file that holds now says: who and why; empty where it cannot be read."""
        said = self.said(self.read())
        return ": ".join(str(said[key]) for key in ("by", "reason") if key in said)

    def said(self, form: Form) -> dict[str, Any]:
        """What the file of a form says (``by``, ``reason``, ``at_ns``), nothing where unreadable.

        Args:
            form: Which file.
        """
        try:
            found = json.loads(self._file(form).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _mark(self, form: Form) -> None:
        """By a name alone, out of whatever file is there."""
        for other in (Form.ARMED, *reversed(KILLED)):
            if other < form:
                with suppress(FileNotFoundError):
                    os.replace(self._file(other), self._file(form))
                    return
        os.close(os.open(self._file(form), os.O_CREAT | os.O_WRONLY, 0o600))

    def _disarmed(self, armed: tuple[int, int]) -> tuple[int, int] | None:
        """Undo an arming, so that a kill by hand outlives its file; as it is where that fails."""
        try:
            os.unlink(self._paths[Form.ARMED])
        except OSError:
            return armed
        return None

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
