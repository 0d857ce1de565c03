"""A log of JSON lines, one a happening, each with the decision it belongs to.

Files are turned over at 100 MB and kept for 30 days. Texts of a broker are values of JSON, so they
cannot forge a line; what was registered as a secret is masked wherever it stands.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable
from logging.handlers import RotatingFileHandler
from pathlib import Path

from mtquant.errors import ConfigError, unknown
from mtquant.live.report import BarReport
from mtquant.market.clock import DAY_NS, utc_text

MOST_BYTES, MOST_FILES, KEPT_DAYS = 100_000_000, 30, 30
MASK = "***"


class JsonLines(logging.Formatter):
    """Formats records as lines of JSON."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        """Mask these texts, empty ones left aside."""
        super().__init__()
        self._secrets = tuple(secret for secret in secrets if secret)

    def format(self, record: logging.LogRecord) -> str:
        """One line; a tuple of extra facts may stand in the record's ``facts``."""
        line = {
            "time": utc_text(int(record.created * 1e9)),
            "level": record.levelname,
            "event": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        text = json.dumps(line, default=str)
        for secret in self._secrets:
            text = text.replace(json.dumps(secret)[1:-1], MASK)
        return text


class LiveLog:
    """The log of the runners of an account, a :class:`mtquant.live.loop.Listener`."""

    def __init__(self, path: Path, now_ns: int, secrets: Iterable[str] = ()) -> None:
        """Open it, private to its owner, and remove what is too old.

        Args:
            path: The newest file; older ones stand beside it with a number.
            now_ns: Present time, ns UTC.
            secrets: Texts that must not be written.

        Raises:
            ConfigError: ``LOG_LEVEL`` is no level.
        """
        level = (os.environ.get("LOG_LEVEL") or "INFO").upper()
        if level not in (levels := logging.getLevelNamesMapping()):
            raise ConfigError(unknown("LOG_LEVEL", level, levels, cure="(of the environment)"))
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for old in path.parent.glob(path.name + ".*"):
            if now_ns - old.stat().st_mtime_ns > KEPT_DAYS * DAY_NS:
                old.unlink()
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
        handler = RotatingFileHandler(
            path, maxBytes=MOST_BYTES, backupCount=MOST_FILES, encoding="utf-8"
        )
        handler.setFormatter(JsonLines(secrets))
        self._log = logging.Logger(f"mtquant.live.{path}")
        self._log.setLevel(level)
        self._log.addHandler(handler)

    def close(self) -> None:
        """Close the file."""
        for handler in self._log.handlers:
            handler.close()

    def say(self, event: str, **facts: object) -> None:
        """Write one line."""
        self._log.info(event, extra={"facts": facts})

    def on_report(self, report: BarReport) -> None:
        """A line for each decision, each answer and each event of a bar."""
        bar_ns = report.outlook.record.bar_time_ns
        name = f"decision {utc_text(bar_ns)}"
        whose = {"strategy": report.strategy}
        for decision in report.outlook.decisions:
            self.say(
                "decided",
                **whose,
                decision=f"{name} {decision.symbol}",
                action=decision.action,
                held=decision.held,
                target=decision.target,
                reason=decision.reason,
                checks=decision.checks,
                equity=report.outlook.record.equity,
            )
        for result in report.results:
            self.say(
                "answered",
                **whose,
                decision=name,
                outcome=result.outcome.value,
                retcode=result.retcode,
                steps=result.steps,
                price=result.price,
                order=result.order,
                text=result.text,
            )
        for event in report.events:
            self._log.warning(event, extra={"facts": {**whose, "decision": name}})
        if report.trip is not None:
            self._log.error(report.trip.words, extra={"facts": {**whose, "decision": name}})

    def on_trouble(self, problem: str) -> None:
        """A line of level WARNING."""
        self._log.warning(problem)
