"""``mtquant breaker``: the status of a journal, and a reset that a person answers for."""

from __future__ import annotations

import sqlite3

import pytest

from mtquant.live.journal import Journal
from mtquant.live.lock import Trip
from mtquant.live.record import AccountRecord
from mtquant.risk.breaker import LEVEL_3

NOON = 1_704_196_800 * 10**9  # 2024-01-02 12:00 UTC
MINUTE = 60 * 10**9
CAUSE = "daily loss 16.00% (limit 15.00%)"
ANN = ("--by", "Ann", "--reason", "feed repaired")


@pytest.fixture
def clock(monkeypatch):
    """The machine's clock, moved by hand."""

    def at(minutes):
        monkeypatch.setattr("time.time_ns", lambda: NOON + minutes * MINUTE)

    return at


def write_journal(path, clock="utc", bars=1, **settings):
    """A run that tripped LEVEL_3 at noon and has seen some bars, half an hour each, since."""
    journal = Journal(path)
    journal.bind({"clock": clock}, {name: str(value) for name, value in settings.items()})
    for bar in range(bars):
        at = NOON + bar * 30 * MINUTE
        record = AccountRecord(at, 8_400.0, 8_400.0, 1e4, 1e4, 19_724, LEVEL_3, ())
        trip = None if bar else Trip(LEVEL_3, at, at, 8_400.0, CAUSE)
        journal.commit_bar(record, [], [], [], [], 8_400.0, at_ns=at, trip=trip)
    journal.close()
    return path


def rows_of(out):
    """The table as a mapping."""
    cells = [[c.strip() for c in line.strip("│┃").split("│")] for line in out.splitlines()]
    return {row[0]: row[1] for row in cells if len(row) == 2}


def test_the_status_of_a_locked_run(desk, mtquant, clock):
    journal = write_journal(desk / "journal.db")
    clock(42)
    done = mtquant("breaker", "status", "--journal", journal)
    assert done.code == 0 and "circuit breaker, journal.db" in done.out
    assert rows_of(done.out) == {
        "level": "LEVEL_3",
        "alert": "CRITICAL",
        "triggered at": "2024-01-02T12:00:00Z",
        "cause": CAUSE,
        "minutes since": "42.0",
        "cooldown minutes": "60",
        "can reset": "no",
        "can trade": "no",
        "failed orders": "0",
        "reset waiting": "-",
    }


def test_a_run_that_has_not_begun_is_normal(desk, mtquant):
    Journal(desk / "journal.db").close()
    rows = rows_of(mtquant("breaker", "status", "--journal", "journal.db").out)
    assert (rows["level"], rows["triggered at"], rows["can trade"]) == ("NORMAL", "-", "yes")


def test_a_reset_once_the_cooldown_is_over(desk, mtquant, refused, clock):
    journal = write_journal(desk / "journal.db")
    words = ("breaker", "reset", "--journal", journal, *ANN)
    clock(59)
    assert "LEVEL_3 tripped 59 minutes ago and its cooldown is 60 minutes" in refused(*words)
    clock(60)
    assert rows_of(mtquant("breaker", "status", "--journal", journal).out)["can reset"] == "yes"
    done = mtquant(*words)
    assert done.code == 0
    assert "reset by Ann at 2024-01-02T13:00:00Z: feed repaired" in done.out
    with sqlite3.connect(journal) as database:
        kept = database.execute(
            "SELECT person, text, at_ns, bar_time_ns FROM breaker ORDER BY number DESC"
        ).fetchone()
    database.close()
    assert kept == ("Ann", "feed repaired", NOON + 60 * MINUTE, None)
    assert "Ann has reset the breaker already" in refused(*words)
    rows = rows_of(mtquant("breaker", "status", "--journal", journal).out)
    assert (rows["reset waiting"], rows["level"], rows["can reset"]) == ("Ann", "LEVEL_3", "no")


def test_simulated_time_counts_on_the_clock_of_the_bars(desk, mtquant, refused, clock):
    clock(10**6)
    words = ("breaker", "reset", *ANN, "--journal")
    said = refused(*words, write_journal(desk / "two.db", "bars", bars=2))
    assert "tripped 30 minutes ago" in said and "from 2024-01-02T13:00:00Z on" in said
    done = mtquant(*words, write_journal(desk / "three.db", "bars", bars=3))
    assert done.code == 0 and "2024-01-02T13:00:00Z" in done.out


def test_the_cooldown_is_that_of_the_run(desk, refused, clock):
    journal = write_journal(desk / "journal.db", cooldown_minutes=90.0)
    clock(60)
    assert "cooldown is 90 minutes" in refused("breaker", "reset", "--journal", journal, *ANN)


@pytest.mark.parametrize(
    ("by", "reason", "told"),
    [
        ("", "ok", "without a name"),
        ("  ", "ok", "without a name"),
        ("Ann", " ", "without a reason"),
    ],
)
def test_a_reset_names_person_and_reason(desk, refused, clock, by, reason, told):
    journal = write_journal(desk / "journal.db")
    clock(90)
    words = ("breaker", "reset", "--journal", journal)
    assert told in refused(*words, "--by", by, "--reason", reason)


def test_a_reset_without_the_options_is_typer_s_own_refusal(desk, mtquant):
    done = mtquant("breaker", "reset", "--journal", write_journal(desk / "journal.db"))
    assert done.code == 2 and "--by" in done.err


@pytest.mark.parametrize("command", [("status",), ("reset", *ANN)])
def test_what_is_no_journal_is_refused_and_left_alone(desk, refused, command):
    (desk / "empty.db").touch()
    (desk / "notes.txt").write_text("nothing of the kind " * 100, encoding="utf-8")
    before = [(path.name, path.read_bytes()) for path in desk.glob("*.*")]
    assert "there is no journal at 'none.db'" in refused(
        "breaker", *command, "--journal", "none.db"
    )
    assert "there is no journal" in refused("breaker", *command, "--journal", "empty.db")
    said = refused("breaker", *command, "--journal", "notes.txt")
    assert "journal 'notes.txt' cannot be opened: file is not a database" in said
    assert [(path.name, path.read_bytes()) for path in desk.glob("*.*")] == before


def test_names_are_shown_as_they_are(desk, mtquant, clock):
    journal = write_journal(desk / "journal.db")
    clock(90)
    words = ("--by", "[red]Ann[/]", "--reason", "[bold]")
    assert "[red]Ann[/]" in mtquant("breaker", "reset", "--journal", journal, *words).out
    assert "[red]Ann[/]" in mtquant("breaker", "status", "--journal", journal).out
