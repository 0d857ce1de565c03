"""The bridge's table of orders: once, whatever dies."""

from __future__ import annotations

import os
import sqlite3

import pytest

from mtquant.brokers.bridge.orders import Known, OrderTable, Standing, digest_of, is_key
from mtquant.errors import ConfigError

KEY, OTHER = "k" * 16, "o" * 64
ONE, TWO = digest_of({"request": {"volume": 1.0}}), digest_of({"request": {"volume": 2.0}})


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deep" / "orders.sqlite3"


@pytest.fixture
def table(path):
    made = OrderTable(path)
    yield made
    made.close()


def test_an_answer_is_kept(table):
    assert table.claim(KEY, ONE, 0) == Known(Standing.NEW)
    table.answer(KEY, b"done")
    assert table.claim(KEY, ONE, 0) == Known(Standing.ANSWERED, b"done")
    assert table.claim(OTHER, ONE, 0) == Known(Standing.NEW)


def test_a_claim_is_on_disk_before_it_returns_and_stays_unknown(table, path):
    table.claim(KEY, ONE, 0)
    reader = sqlite3.connect(path)
    assert reader.execute("SELECT key, answer FROM sent").fetchall() == [(KEY, None)]
    reader.close()
    again = OrderTable(path)  # as after a death of the server
    assert again.claim(KEY, ONE, 0) == Known(Standing.UNKNOWN)
    assert again.withdraw(KEY, ONE, 0) == Known(Standing.UNKNOWN)
    again.close()


def test_what_never_arrived_is_withdrawn_for_ever(table, path):
    assert table.withdraw(KEY, ONE, 0) == Known(Standing.WITHDRAWN)
    assert table.claim(KEY, ONE, 0) == Known(Standing.WITHDRAWN)
    assert table.withdraw(KEY, ONE, 0) == Known(Standing.WITHDRAWN)


def test_a_key_is_one_requests(table):
    table.claim(KEY, ONE, 0)
    table.answer(KEY, b"done")
    assert table.claim(KEY, TWO, 0) == Known(Standing.ANOTHER)
    assert table.withdraw(KEY, TWO, 0) == Known(Standing.ANOTHER)
    assert digest_of({"a": 1, "b": 2.0}) == digest_of({"b": 2.0, "a": 1})
    assert digest_of({"a": 1}) != digest_of({"a": 1.0})


def test_commits_reach_the_disk_and_the_file_is_private(table, path):
    assert table._database.execute("PRAGMA synchronous").fetchone() == (2,)
    assert os.stat(path).st_mode & 0o077 == 0


def test_other_files_are_refused(tmp_path):
    text, foreign = tmp_path / "text", tmp_path / "foreign"
    text.write_text("no database, but longer than the header of one " * 10)
    with pytest.raises(ConfigError, match="table of orders"):
        OrderTable(text)
    other = sqlite3.connect(foreign)
    other.execute("PRAGMA user_version = 9")
    other.close()
    with pytest.raises(ConfigError, match="schema version 9"):
        OrderTable(foreign)


@pytest.mark.parametrize(
    "text", ["", "k" * 15, "k" * 65, "k" * 16 + "\n", "k" * 15 + "é", "a b" * 8]
)
def test_keys_have_a_form(text):
    assert not is_key(text)
