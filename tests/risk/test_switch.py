"""The switch's files: the worst that is found holds, and only a person takes it back."""

from __future__ import annotations

import errno
import json
import os

import pytest

from mtquant.errors import ConfigError, RiskHalt
from mtquant.risk import switch as module
from mtquant.risk.switch import Form, SwitchFiles

pytestmark = pytest.mark.nojit


@pytest.fixture
def place(tmp_path):
    return tmp_path / "orders.sqlite3"


@pytest.fixture
def files(place):
    made = SwitchFiles(place)
    assert made.untouched() and made.read() is Form.HARD and made.told() == ""
    made.arm(" Ann  B ", "begin", 1)
    return made


def fail(*args, **kwargs):
    raise OSError(errno.EIO, "I/O error")


@pytest.mark.parametrize("form", [Form.REDUCE, Form.FLATTEN, Form.HARD])
def test_a_kill_says_who_why_and_when_and_another_look_finds_it(files, place, form):
    assert files.read() is Form.ARMED and files.told() == "Ann B: begin"
    assert not files.untouched()
    files.kill(form, "enough", "Bob", 5)
    for look in (files, SwitchFiles(place)):
        assert look.read() is form and look.told() == "Bob: enough"
        assert look.said(form) == {"by": "Bob", "reason": "enough", "at_ns": 5}
    files.kill(Form.REDUCE, "less")
    assert files.read() is form
    SwitchFiles(place).arm("Ann", "fine", 6)
    assert files.read() is Form.ARMED and files.said(Form.ARMED)["at_ns"] == 6


def test_an_unknown_person_or_moment_is_not_written(files, place):
    files.kill(Form.HARD, "enough")
    assert json.loads((place.parent / "orders.sqlite3.hard").read_text()) == {"reason": "enough"}
    assert files.told() == "enough"


def test_an_empty_file_of_somebodys_hand_is_a_kill_without_words(files, place):
    (place.parent / "orders.sqlite3.flatten").touch()
    assert files.read() is Form.FLATTEN and files.told() == ""
    (place.parent / "orders.sqlite3.hard").write_text("[5]")
    assert files.read() is Form.HARD and files.said(Form.HARD) == {}


@pytest.mark.parametrize("form", [Form.REDUCE, Form.FLATTEN, Form.HARD])
def test_a_kill_by_hand_that_was_seen_outlives_its_file(files, place, form):
    by_hand = place.with_name(f"{place.name}.{form.word}")
    by_hand.touch()
    assert files.read() is form
    by_hand.unlink()
    assert files.read() is Form.HARD and SwitchFiles(place).read() is Form.HARD
    files.arm("Ann", "fine", 2)
    assert files.read() is Form.ARMED


def test_an_arming_that_fails_leaves_the_worst(files, place):
    files.kill(Form.HARD, "enough")
    place.with_name(f"{place.name}.reduce").mkdir()
    with pytest.raises(RiskHalt, match="fails"):
        files.arm("Ann", "fine", 2)
    assert SwitchFiles(place).read() is Form.HARD


def test_what_cannot_be_read_allows_no_increase(files, monkeypatch):
    monkeypatch.setattr(module, "_is_there", fail)
    assert files.read() is Form.REDUCE


def test_what_cannot_be_written_holds_here_until_somebody_arms(files, place, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", fail)
        with pytest.raises(RiskHalt, match=r"orders\.sqlite3' fails: .*I/O error"):
            files.kill(Form.HARD, "enough")
        with pytest.raises(RiskHalt, match="I/O error"):
            files.arm("Ann", "fine", 2)
    assert files.read() is Form.HARD
    SwitchFiles(place).arm("Ann", "fine", 3)
    assert files.read() is Form.ARMED


def test_nobody_arms_by_accident(files):
    with pytest.raises(ConfigError, match="armed with a name"):
        files.kill(Form.ARMED, "x")
    files.kill(Form.HARD, "enough")
    for person, reason in (("", "why"), ("Ann", "\n")):
        with pytest.raises(ConfigError, match="by somebody, for a reason"):
            files.arm(person, reason, 2)
    assert files.read() is Form.HARD
