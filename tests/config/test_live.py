"""What a person writes about live trading and that cannot be meant is refused in one sentence."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
import yaml

from mtquant.config.live import LiveLimits
from mtquant.config.load import validate
from mtquant.errors import ConfigError
from mtquant.live.log import LiveLog

SECONDS = ("max_quote_age_seconds", "max_decision_age_seconds", "connection_lost_seconds")


def written(**changes: object) -> LiveLimits:
    """The limits of the manual's example with some of them changed."""
    text = (Path(__file__).parents[2] / "docs/live.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return validate(LiveLimits, yaml.safe_load(block)["demo"] | changes, "live.yaml")


@pytest.mark.parametrize("name", SECONDS)
@pytest.mark.parametrize("seconds", [1e300, 1.1e9, math.inf, math.nan, 0.0])
def test_seconds_that_no_clock_counts_are_refused(name, seconds):
    with pytest.raises(ConfigError, match=name) as caught:
        written(**{name: seconds})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", SECONDS)
def test_the_most_seconds_are_nanoseconds_of_64_bits(name):
    present_ns = 1_800_000_000 * 10**9
    assert present_ns + round(getattr(written(**{name: 1e9}), name) * 1e9) < 2**63


@pytest.mark.parametrize(
    ("level", "told"),
    [
        ("verbose", "unknown LOG_LEVEL 'VERBOSE'; known: CRITICAL"),
        ("WARNIN", "did you mean 'WARNING'?"),
        ("a\nb", "unknown LOG_LEVEL"),
    ],
)
def test_a_level_that_is_none_is_refused_before_a_file_is_made(tmp_path, monkeypatch, level, told):
    monkeypatch.setenv("LOG_LEVEL", level)
    with pytest.raises(ConfigError) as caught:
        LiveLog(tmp_path / "logs" / "log.jsonl", 0)
    assert told in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "logs").exists()


def test_a_level_may_be_written_in_small_letters(tmp_path, monkeypatch):
    monkeypatch.setenv("LOG_LEVEL", "warning")
    log = LiveLog(tmp_path / "log.jsonl", 0)
    log.say("nothing of note")
    log.on_trouble("a word of warning")
    log.close()
    (line,) = (tmp_path / "log.jsonl").read_text().splitlines()
    assert "a word of warning" in line
