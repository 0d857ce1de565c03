"""Agents with a window or a memory trade on paper as in the backtest, restarts included."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

from mtquant.agents.policy import OnnxPolicy
from mtquant.errors import ConfigError
from mtquant.features.observed import observed_features
from mtquant.live.journal import Journal
from mtquant.live.memory import Memory
from mtquant.live.record import AccountRecord

INPUTS = ("ret_1", "hour_sin")
ACCOUNT = 8
BURN_IN = 30


def assert_same(paper, backtest):
    assert paper.equity == backtest.equity
    assert paper.deals == backtest.deals
    assert paper.steps == backtest.steps
    assert paper.levels == backtest.levels


@pytest.fixture(scope="module")
def remembering(memory_policy):
    """Reads bars and its own position; trades often."""
    read = np.zeros((len(INPUTS) + ACCOUNT, 2))
    read[0], read[1], read[2] = (1.5, -0.5), (0.3, 0.8), (0.4, -0.7)
    model = memory_policy(read, (0.9, 0.6))
    return OnnxPolicy(model, name="remembers", inputs=INPUTS, burn_in=BURN_IN)


class Windowed:
    """Weighs the last bars, newest least, so that their order matters."""

    name, inputs, scaled, window = "windowed", INPUTS, True, 5

    def __init__(self) -> None:
        self.seen: list[bytes] = []

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        self.seen.append(observation.tobytes())
        bars = observation[: 5 * len(INPUTS)].reshape(5, -1)
        wish = bars[:, 0] @ np.array([0.5, -0.4, 0.3, 0.2, -0.6]) + 0.2 * bars[1, 1]
        return np.array([np.clip(wish, -1.0, 1.0)], np.float32), state


@pytest.fixture
def world_of(make_world):
    def make(agent, n_bars=500):
        plain = make_world(n_bars)
        return type(plain)(plain.env, plain.panel.bars[0], agent)

    return make


def test_a_window_is_seen_alike(world_of, tmp_path):
    world = world_of(Windowed())
    backtest = world.backtest()
    seen, world.agent.seen = world.agent.seen, []
    assert_same(world.paper(world.terminal(), tmp_path / "journal.db"), backtest)
    assert world.agent.seen == seen and len(backtest.deals) > 100
    columns = observed_features(world.agent, world.pipeline, world.panel)
    shown = np.frombuffer(seen[7], np.float32)
    np.testing.assert_array_equal(shown[: 5 * len(INPUTS)], columns[world.rows[0] + 7])


def test_a_memory_is_carried_alike(world_of, remembering, tmp_path):
    world = world_of(remembering)
    backtest = world.backtest()
    assert len(backtest.deals) > 100
    assert_same(world.paper(world.terminal(), tmp_path / "journal.db"), backtest)


@pytest.mark.parametrize("kind", ["window", "memory"])
def test_a_restart_in_the_middle_changes_nothing(world_of, remembering, tmp_path, kind):
    world = world_of(remembering if kind == "memory" else Windowed())
    backtest = world.backtest()
    terminal = world.terminal()
    first = world.paper(terminal, tmp_path / "cut.db", bars=171)
    second = world.paper(terminal, tmp_path / "cut.db")
    assert first.equity + second.equity == backtest.equity
    assert first.deals + second.deals == backtest.deals


def forget(path) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("DELETE FROM agent_state")


class Spy:
    """A policy with memory, and all that it was asked."""

    def __init__(self, policy) -> None:
        self.policy, self.calls = policy, []
        for name in ("name", "inputs", "scaled", "window", "state_shape", "burn_in"):
            setattr(self, name, getattr(policy, name))

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        action, after = self.policy.predict(observation, state)
        self.calls.append((observation.copy(), state, after))
        return action, after


def held_memory(path, agent):
    with closing(Journal(path, durable=False)) as journal:
        record = journal.latest_record()
    return Memory.of(agent).recalled(record, record.bar_time_ns)


def test_the_journal_holds_the_newest_memory_alone(world_of, remembering, tmp_path):
    world, path = world_of(remembering), tmp_path / "journal.db"
    world.paper(world.terminal(), path, bars=40)
    with closing(sqlite3.connect(path)) as database:
        rows = database.execute("SELECT bar_time_ns, length(state) FROM agent_state").fetchall()
    assert rows == [(int(world.panel.time[world.rows[0] + 39]), 2 * 1 * 2 * 4)]


def assert_rebuilt(world, spy, path, t):
    """The last decision was made at row ``t`` by a memory grown over the burn-in's bars."""
    seen = np.array([observation for observation, _, _ in spy.calls])
    columns = observed_features(spy, world.pipeline, world.panel)
    np.testing.assert_array_equal(seen[:, : len(INPUTS)], columns[t - len(seen) + 1 : t + 1])
    assert (seen[:, len(INPUTS) :] == seen[-1, len(INPUTS) :]).all(), "the account as it stands"
    assert seen[-1, len(INPUTS)] != 0.0, "which holds something"
    assert spy.calls[0][1] is None
    for (_, _, after), (_, before, _) in zip(spy.calls, spy.calls[1:], strict=False):
        np.testing.assert_array_equal(after, before)
    np.testing.assert_array_equal(held_memory(path, spy), spy.calls[-1][2])


def test_a_lost_memory_is_rebuilt_from_the_newest_bars(world_of, remembering, tmp_path):
    world, path = world_of(Spy(remembering)), tmp_path / "journal.db"
    terminal = world.terminal()
    world.paper(terminal, path, bars=120)
    forget(path)
    world.agent.calls.clear()
    world.paper(terminal, path, bars=1)
    assert len(world.agent.calls) == BURN_IN + 1
    assert_rebuilt(world, world.agent, path, world.rows[0] + 120)
    world.agent.calls.clear()
    world.paper(terminal, path, bars=1)
    assert len(world.agent.calls) == 1, "the next bar goes on from it"


def test_a_bar_that_cannot_be_seen_spoils_no_memory(world_of, remembering, tmp_path, monkeypatch):
    world, path = world_of(Spy(remembering)), tmp_path / "journal.db"
    terminal = world.terminal()
    world.paper(terminal, path, bars=120)
    forget(path)
    world.agent.calls.clear()

    def with_a_gap(*arguments, last):
        columns = observed_features(*arguments, last=last).copy()
        columns[3] = np.nan
        return columns

    monkeypatch.setattr("mtquant.live.decide.observed_features", with_a_gap)
    world.paper(terminal, path, bars=1)
    assert len(world.agent.calls) == BURN_IN, "all but that one"
    assert np.isfinite(held_memory(path, world.agent)).all()


@pytest.mark.parametrize("restarted", [False, True])
def test_a_memory_that_missed_a_bar_is_rebuilt(world_of, remembering, tmp_path, desk_of, restarted):
    world = world_of(Spy(remembering))
    desk = desk_of(world)
    for _ in range(100):
        desk.bar()
    desk.terminal.advance()
    world.agent.calls.clear()
    if restarted:
        desk.journal.close()
        desk = desk_of(world, desk.terminal)
    assert desk.runner.on_bar() is not None
    assert len(world.agent.calls) == BURN_IN + 1
    assert_rebuilt(world, world.agent, desk.path, world.rows[0] + 101)


def test_of_a_short_history_all_there_is(world_of, memory_policy, tmp_path):
    """The burn-in then is the whole life so far, and what does not read the account is exact."""
    read = np.zeros((len(INPUTS) + ACCOUNT, 2))
    read[0], read[1] = (1.5, -0.5), (0.3, 0.8)
    model = memory_policy(read, (0.9, 0.6))
    world = world_of(OnnxPolicy(model, name="blind", inputs=INPUTS, burn_in=BURN_IN))
    backtest, terminal, path = world.backtest(), world.terminal(), tmp_path / "journal.db"
    first = world.paper(terminal, path, bars=BURN_IN - 5)
    forget(path)
    second = world.paper(terminal, path)
    assert first.equity + second.equity == backtest.equity


def test_a_memory_of_another_shape_or_bar_is_none(remembering, make_world, tmp_path):
    state = np.arange(4, dtype=np.float32).reshape(2, 1, 2)
    memory = Memory.of(remembering)
    record = AccountRecord(7, *[1e4] * 4, 0, 0, (), agent_state=memory.stored(state))
    assert record.agent_state == state.astype("<f4").tobytes()
    np.testing.assert_array_equal(memory.recalled(record, 7), state)
    assert memory.recalled(record, 8) is None
    assert memory.recalled(None, 7) is None
    assert memory.recalled(replace(record, agent_state=b""), 7) is None
    assert memory.recalled(replace(record, agent_state=b"\0" * 12), 7) is None
    assert Memory.of(Windowed()).recalled(record, 7) is None


def test_a_memory_that_is_not_declared_is_refused(remembering):
    state = np.zeros((2, 1, 2), np.float32)
    assert Memory.of(Windowed()).stored(None) == Memory.of(remembering).stored(None) == b""
    with pytest.raises(ConfigError, match=r"agent windowed returns a state of shape \(2, 1, 2\)"):
        Memory.of(Windowed()).stored(state)
    with pytest.raises(ConfigError, match=r"declares \(2, 1, 2\)"):
        Memory.of(remembering).stored(state[0])
