"""A journal that was damaged, cut or altered is refused; nothing is traded on a guess."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import sys
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

from mtquant.errors import ConfigError, MTQuantError, RiskHalt
from mtquant.live import chain
from mtquant.live.anchor import Anchor, Head
from mtquant.live.chain import CHAINED, START, Chain
from mtquant.live.journal import Journal
from mtquant.live.journal_schema import SCHEMA_VERSION

BARS = 40


@pytest.fixture(scope="module")
def written(make_world, tmp_path_factory):
    """The closed journal of a short run, with a breaker's trip and its reset in it."""
    path = tmp_path_factory.mktemp("written") / "journal.db"
    world = make_world(300, breaker={"daily_loss": (1e-6, 0.5, 0.6), "cooldown_minutes": 0})
    world.paper(world.terminal(), path, BARS)
    with closing(Journal(path, durable=False)) as journal:
        journal.begin("boot", 1)
        journal.intents.begin_sending([], 1, ["seen"], 1)
        reset = journal.breaker.reset(0, "Ann", "seen")
        with journal._transaction():
            journal.breaker.write(5, None, replace(reset, number=2))
    return path


@pytest.fixture
def copy(written, tmp_path):
    for suffix in ("", ".anchor"):
        shutil.copy(f"{written}{suffix}", tmp_path / f"{written.name}{suffix}")
    return tmp_path / written.name


def rows_of(path, table):
    with closing(sqlite3.connect(path)) as database:
        return database.execute(f"SELECT rowid FROM {table} ORDER BY n").fetchall()


def change(path, *statements):
    with closing(sqlite3.connect(path)) as database:
        for statement in statements:
            database.execute(statement)
        database.commit()


def refused(path, match="not what was written", **options):
    with pytest.raises(RiskHalt, match=match):
        Journal(path, **options)


def test_what_was_written_is_accepted(copy):
    Journal(copy).close()


@pytest.mark.parametrize(
    ("table", "column"),
    [(table, column) for table, columns in CHAINED.items() for column in columns.split(", ")],
)
def test_F3_a_change_of_any_column_is_found(copy, table, column):
    with closing(sqlite3.connect(copy)) as database:
        changed = database.execute(
            f"UPDATE {table} SET {column} = CASE typeof({column}) WHEN 'text' THEN "
            f"{column} || '1' WHEN 'null' THEN 1 ELSE {column} + 1 END "
            f"WHERE n = (SELECT MAX(n) FROM {table})"
        ).rowcount
        database.commit()
    if changed:
        refused(copy)
    else:
        assert table == "switch", "every other table is in use"


@pytest.mark.parametrize("table", ["account", "decision", "intent", "outcome", "deal", "chain"])
@pytest.mark.parametrize("which", ["first", "middle", "last"])
def test_F3_a_row_that_is_gone_is_found(copy, table, which):
    with closing(sqlite3.connect(copy)) as database:
        numbers = [n for (n,) in database.execute(f"SELECT DISTINCT n FROM {table} ORDER BY n")]
    number = numbers[{"first": 0, "middle": len(numbers) // 2, "last": -1}[which]]
    change(copy, f"DELETE FROM {table} WHERE n = {number}")
    refused(copy)


def test_F3_a_row_that_was_added_or_moved_is_found(copy):
    change(copy, "INSERT INTO event (bar_time_ns, text, n) VALUES (1, 'never said', 3)")
    refused(copy, "commit 3 was changed")
    change(copy, "UPDATE event SET n = 99999 WHERE text = 'never said'")
    refused(copy, "rows of commit 99999 stand outside the chain")


def test_F3_two_commits_that_changed_places_are_found(copy):
    change(
        copy,
        "UPDATE account SET n = -1 WHERE n = 5",
        "UPDATE account SET n = 5 WHERE n = (SELECT MIN(n) FROM account WHERE n > 5)",
    )
    refused(copy)


def cut_tail(path, commits):
    with closing(sqlite3.connect(path)) as database:
        (last,) = database.execute("SELECT MAX(n) FROM chain").fetchone()
        for table in [*CHAINED, "chain"]:
            database.execute(f"DELETE FROM {table} WHERE n > ?", (last - commits,))
        # So that nothing but the anchor can tell.
        database.execute(
            "UPDATE intent SET (state, executed_steps, settled_bar_ns, failed) = (SELECT "
            "COALESCE(MAX(state), 'planned'), COALESCE(MAX(executed_steps), 0), "
            "MAX(settled_bar_ns), COALESCE(MAX(failed), 0) FROM (SELECT * FROM outcome WHERE "
            "magic = intent.magic ORDER BY id DESC LIMIT 1))"
        )
        database.commit()


@pytest.mark.parametrize("commits", [1, 2, 30])
def test_F3_a_tail_that_was_cut_is_found_by_the_anchor(copy, commits):
    cut_tail(copy, commits)
    refused(copy, "its anchor says")
    copy.with_name(copy.name + ".anchor").unlink()
    refused(copy, "its anchor is missing")


def test_F3_a_chain_built_anew_without_the_key_is_found(tmp_path):
    path, key = tmp_path / "journal.db", b"a key of sixteen"
    with closing(Journal(path, key=key)) as journal:
        journal.bind({"strategy": "honest"}, {})
    Journal(path, key=key).close()
    anchor = path.with_name(path.name + ".anchor")
    path.unlink()
    anchor.unlink()
    with closing(Journal(path, key=b"guessed")) as journal:
        journal.bind({"strategy": "forged"}, {})
    refused(path, "written under another key", key=key)


def test_F3_the_anchor_survives_a_torn_write(tmp_path):
    anchor = Anchor(tmp_path / "a", b"k")
    assert anchor.read() is None
    for number in range(1, 6):
        anchor.write(Head(number, bytes([number]) * 32))
    with open(tmp_path / "a", "r+b") as file:
        file.seek(anchor.read().number % 2 * 147 + 20)
        file.write(b"0" * 8)
    assert anchor.read() == Head(4, b"\x04" * 32)
    (tmp_path / "a").write_bytes(b"rubbish" * 60)
    with pytest.raises(RiskHalt, match="damaged"):
        anchor.read()
    anchor.close()


@pytest.mark.parametrize("seed", range(60))
def test_F1_a_damaged_file_is_refused_or_says_what_was_written(written, copy, seed):
    """One bit, or all after some byte; the tables then hold what they held, or nothing opens."""
    rng = np.random.default_rng(seed)
    content = bytearray(copy.read_bytes())
    place = int(rng.integers(0, len(content)))
    if seed % 3:
        content[place] ^= 1 << int(rng.integers(0, 8))
    else:
        content = content[:place]
    copy.write_bytes(content)
    try:
        Journal(copy).close()
    except MTQuantError:
        return
    with closing(sqlite3.connect(written)) as one, closing(sqlite3.connect(copy)) as other:
        for table, columns in CHAINED.items():
            query = f"SELECT {columns} FROM {table} ORDER BY n, 1"
            assert one.execute(query).fetchall() == other.execute(query).fetchall()


def test_F1_a_file_without_its_wal_is_refused(tmp_path):
    """It went back in time: what was decided since would be decided again."""
    journal = Journal(tmp_path / "journal.db")
    journal._database.execute("PRAGMA wal_autocheckpoint = 0")
    journal.bind({"strategy": "test"}, {})
    journal.bind({}, {"clock": "bars"})
    moved = tmp_path / "moved"
    moved.mkdir()
    for suffix in ("", ".anchor"):
        shutil.copy(f"{journal.path}{suffix}", moved / f"journal.db{suffix}")
    assert os.path.getsize(f"{journal.path}-wal") > 0
    journal.close()
    refused(moved / "journal.db", "its anchor says|cannot be opened")


@pytest.mark.parametrize("commits", [1, 2])
def test_F1_only_the_first_commit_may_stand_without_its_anchor(tmp_path, commits):
    """Who dies between them has sent nothing; a journal that nobody can open helps no one."""
    path = tmp_path / "journal.db"
    with closing(Journal(path, durable=False)) as journal:
        for number in range(commits):
            journal.bind({f"fact {number}": "told"}, {})
    os.truncate(tmp_path / "journal.db.anchor", 0)
    if commits > 1:
        refused(path, "its anchor is missing")
    else:
        Journal(path).close()


def test_F5_states_are_what_the_outcomes_lead_to(copy):
    for column, value in (("state", "'cancelled'"), ("executed_steps", 77), ("failed", 1)):
        change(copy, f"CREATE TABLE kept AS SELECT magic, {column} AS was FROM intent")
        change(copy, f"UPDATE intent SET {column} = {value} WHERE state = 'executed'")
        refused(copy, "is not in the state")
        change(
            copy,
            f"UPDATE intent SET {column} = (SELECT was FROM kept WHERE magic = intent.magic)",
            "DROP TABLE kept",
        )
    Journal(copy).close()


def test_F5_the_journal_checks_after_every_bar_of_a_run(make_world, tmp_path):
    """What is remembered while it runs is what a start would read, at each bar."""
    from mtquant.live.paper import paper_bars, paper_runner

    world = make_world(300)
    path, terminal = tmp_path / "journal.db", world.terminal()
    journal = Journal(path, durable=False)
    runner = paper_runner(terminal, journal, world.strategy(), "test")
    for count, report in enumerate(paper_bars(terminal, runner)):
        with closing(Journal(path, durable=False)) as again:
            assert report is None or again.latest_record() == report.outlook.record
            assert again.intents.unfinished() == journal.intents.unfinished() == []
        if count == 30:
            break


@pytest.mark.parametrize("version", [SCHEMA_VERSION - 1, SCHEMA_VERSION + 1])
def test_F6_another_schema_is_refused_and_left_as_it_is(copy, version):
    change(copy, f"PRAGMA user_version = {version}")
    before = copy.read_bytes()
    with pytest.raises(ConfigError, match=f"schema version {version}"):
        Journal(copy)
    assert copy.read_bytes() == before


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_G8_files_are_private_and_links_are_not_followed(tmp_path):
    path = tmp_path / "deep" / "journal.db"
    journal = Journal(path)
    journal.bind({"strategy": "test"}, {})
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file.name
    journal.close()
    link = tmp_path / "link.db"
    link.symlink_to(path)
    with pytest.raises(ConfigError, match="symbolic link"):
        Journal(link)


def test_two_processes_write_one_chain(tmp_path):
    """A reset comes from another process while the runner goes on."""
    one, two = Journal(tmp_path / "journal.db"), Journal(tmp_path / "journal.db")
    for turn in range(6):
        (one, two)[turn % 2].bind({}, {"key": str(turn)})
    one.close()
    two.close()
    Journal(tmp_path / "journal.db").close()


def test_E5_whoever_begins_shuts_out_who_began_before(tmp_path):
    one, two = Journal(tmp_path / "journal.db"), Journal(tmp_path / "journal.db")
    one.begin("first", 1)
    one.bind({}, {"key": "1"})
    two.begin("second", 2)
    with pytest.raises(RiskHalt, match="another runner has begun"):
        one.bind({}, {"key": "2"})
    two.bind({}, {"key": "3"})
    assert two.counts.starts_since(2) == 1
    one.close()
    two.close()


def test_a_commit_that_fails_leaves_the_chain_where_it_was(tmp_path):
    journal = Journal(tmp_path / "journal.db")
    chain: Chain = journal._chain
    assert chain.head() == START
    journal.bind({}, {"key": "1"})
    before = chain.head()
    with pytest.raises(ZeroDivisionError), chain.transaction():
        chain.insert("run", [("key", "2")])
        raise ZeroDivisionError
    assert chain.head() == before
    journal.close()
    Journal(journal.path).close()


def test_F3_a_running_journal_is_checked_at_one_moment_of_it(copy, monkeypatch):
    with closing(Journal(copy, durable=False)) as running:
        real = chain._commits

        def meanwhile(database):
            told = real(database)
            running.intents.begin_sending([], 1, ["meanwhile"], 1)
            return told

        monkeypatch.setattr(chain, "_commits", meanwhile)
        Journal(copy, durable=False).close()
        assert running.events()[-1] == (1, "meanwhile")


class DyingAtCommit:
    """A connection whose process dies when it is about to commit."""

    def __init__(self, database):
        self._database = database

    def execute(self, sql, *rest):
        if sql == "COMMIT":
            raise KeyboardInterrupt
        return self._database.execute(sql, *rest)

    def __getattr__(self, name):
        return getattr(self._database, name)


def test_F1_the_anchor_is_never_ahead_of_the_rows(copy):
    """Whoever dies between the two would leave a journal that looks cut."""
    with closing(Journal(copy, durable=False)) as journal:
        before = journal._anchor.read()
        journal._chain._database = DyingAtCommit(journal._database)
        with pytest.raises(KeyboardInterrupt):
            journal.intents.begin_sending([], 1, ["lost"], 1)
        assert journal._anchor.read() == before
    Journal(copy, durable=False).close()
