"""The journal's tables, and what is done about a file of another version.

Rows are only added (:mod:`mtquant.live.chain`); ``n`` is the commit that did. Of an intent the last
four columns follow from its outcomes, and ``agent_state`` keeps only the newest.
"""

from __future__ import annotations

import sqlite3

from mtquant.errors import ConfigError

SCHEMA_VERSION = 6

_TABLES = """
CREATE TABLE chain (n INTEGER PRIMARY KEY, digest BLOB NOT NULL);
CREATE TABLE run (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL, value TEXT NOT NULL, n INTEGER NOT NULL);
CREATE TABLE boot (
    id INTEGER PRIMARY KEY, at_ns INTEGER NOT NULL, boot_id TEXT NOT NULL, n INTEGER NOT NULL);
CREATE TABLE account (
    bar_time_ns INTEGER PRIMARY KEY, balance REAL NOT NULL, equity REAL NOT NULL,
    peak REAL NOT NULL, day_start REAL NOT NULL, day INTEGER NOT NULL, level INTEGER NOT NULL,
    positions TEXT NOT NULL, memory TEXT NOT NULL, broker_equity REAL,
    at_ns INTEGER NOT NULL, state_digest TEXT NOT NULL, n INTEGER NOT NULL);
CREATE TABLE agent_state (bar_time_ns INTEGER PRIMARY KEY, state BLOB NOT NULL);
CREATE TABLE decision (
    symbol TEXT NOT NULL, bar_time_ns INTEGER NOT NULL, action REAL, held INTEGER NOT NULL,
    target INTEGER NOT NULL, reason TEXT NOT NULL, checks TEXT NOT NULL, n INTEGER NOT NULL,
    PRIMARY KEY (bar_time_ns, symbol)) WITHOUT ROWID;
CREATE TABLE intent (
    magic INTEGER PRIMARY KEY, symbol TEXT NOT NULL, bar_time_ns INTEGER NOT NULL,
    leg INTEGER NOT NULL, steps INTEGER NOT NULL, stop_distance INTEGER NOT NULL,
    take_distance INTEGER NOT NULL, ticket INTEGER NOT NULL, n INTEGER NOT NULL,
    state TEXT NOT NULL DEFAULT 'planned', executed_steps INTEGER NOT NULL DEFAULT 0,
    settled_bar_ns INTEGER, failed INTEGER NOT NULL DEFAULT 0);
CREATE INDEX intent_state ON intent (state);
CREATE INDEX intent_settled ON intent (settled_bar_ns);
CREATE INDEX intent_failed ON intent (bar_time_ns) WHERE failed = 1;
CREATE TABLE outcome (
    id INTEGER PRIMARY KEY, magic INTEGER NOT NULL, state TEXT NOT NULL, at_ns INTEGER NOT NULL,
    retcode INTEGER, executed_steps INTEGER NOT NULL, price REAL, order_ticket INTEGER,
    deal_ticket INTEGER, text TEXT, settled_bar_ns INTEGER, failed INTEGER NOT NULL,
    n INTEGER NOT NULL);
CREATE INDEX outcome_magic ON outcome (magic);
CREATE INDEX outcome_sent ON outcome (at_ns) WHERE state = 'sending';
CREATE TABLE deal (
    ticket INTEGER PRIMARY KEY, order_ticket INTEGER, symbol TEXT NOT NULL, magic INTEGER NOT NULL,
    time_ns INTEGER NOT NULL, volume_lots REAL, price REAL, profit REAL, swap REAL,
    commission REAL, reason TEXT NOT NULL, opens INTEGER NOT NULL, n INTEGER NOT NULL);
CREATE INDEX deal_time ON deal (time_ns);
CREATE TABLE event (
    id INTEGER PRIMARY KEY, bar_time_ns INTEGER NOT NULL, text TEXT NOT NULL, n INTEGER NOT NULL);
CREATE TABLE breaker (
    number INTEGER PRIMARY KEY, at_ns INTEGER NOT NULL, bar_time_ns INTEGER,
    level INTEGER NOT NULL, equity REAL, text TEXT NOT NULL, person TEXT, n INTEGER NOT NULL);
CREATE TABLE applied (
    number INTEGER PRIMARY KEY, bar_time_ns INTEGER NOT NULL, n INTEGER NOT NULL);
CREATE TABLE switch (
    id INTEGER PRIMARY KEY, at_ns INTEGER NOT NULL, form TEXT NOT NULL, text TEXT NOT NULL,
    n INTEGER NOT NULL);
"""


def prepare(database: sqlite3.Connection, name: str) -> None:
    """Create the tables in an empty file, or check that a file has them.

    Args:
        database: Open.
        name: Of the file, for the refusal.

    Raises:
        ConfigError: The file was written by another version of mtquant.
    """
    (version,) = database.execute("PRAGMA user_version").fetchone()
    (tables,) = database.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
    if version == 0 and tables == 0:
        database.executescript(
            f"BEGIN IMMEDIATE; {_TABLES} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
        )
    elif version != SCHEMA_VERSION:
        raise ConfigError(
            f"journal {name} has schema version {version}, this mtquant reads "
            f"{SCHEMA_VERSION}; choose another journal"
        )
