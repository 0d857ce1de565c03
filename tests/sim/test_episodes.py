from __future__ import annotations

import numpy as np
import pytest

from mtquant.sim.account import empty_book
from mtquant.sim.episodes import DEEPEST_START, OLDEST_START, reset_lane
from mtquant.sim.kernel import RUNNING, TRUNCATED
from mtquant.sim.randomness import seed_lanes, uniform
from mtquant.sim.simulator import Simulator

pytestmark = pytest.mark.nojit

FLAT_BARS = [(100.0, 100.5, 99.5, 100.0)] * 60


def test_splitmix64_gives_the_published_numbers():
    """First outputs of the reference implementation for the seed 1234567."""
    published = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    book = empty_book(1, 1)
    book.account["rng"] = 1234567
    drawn = [uniform(book, 0) for _ in published]
    assert drawn == [(number >> 11) / 2**53 for number in published]


def test_numbers_are_uniform_and_lanes_differ():
    book = empty_book(2, 1)
    seed_lanes(book, 5)
    draws = np.array([[uniform(book, i) for _ in range(2_000)] for i in range(2)])
    assert (draws >= 0.0).all()
    assert (draws < 1.0).all()
    np.testing.assert_allclose(draws.mean(axis=1), 0.5, atol=0.03)
    np.testing.assert_allclose(draws.var(axis=1), 1 / 12, atol=0.01)
    assert abs(np.corrcoef(draws)[0, 1]) < 0.08


def test_more_lanes_do_not_change_the_first_ones():
    few, many = empty_book(3, 1), empty_book(64, 1)
    seed_lanes(few, 9)
    seed_lanes(many, 9)
    np.testing.assert_array_equal(few.account["rng"], many.account["rng"][:3])
    assert np.unique(many.account["rng"]).size == 64


@pytest.mark.parametrize("stagger", [False, True])
def test_episodes_lie_within_their_rows(toy_bars, toy_tape, stagger):
    tape = toy_tape(toy_bars(FLAT_BARS), first=10, last=40, episode_bars=12)
    book = empty_book(1, 1)
    seed_lanes(book, 1)
    starts, lengths = [], []
    for _ in range(600):
        reset_lane(book, tape, 0, stagger)
        account = book.account[0]
        starts.append(int(account["cursor"]))
        lengths.append(int(account["end"] - account["cursor"]))
    assert set(starts) == set(range(10, 29))  # the last start still leaves 12 bars
    assert set(lengths) == (set(range(1, 13)) if stagger else {12})


@pytest.mark.parametrize("bars", [0, 30, 31, 500])
def test_an_episode_as_long_as_the_span_is_the_span(toy_bars, toy_tape, bars):
    tape = toy_tape(toy_bars(FLAT_BARS), first=10, last=40, episode_bars=bars)
    book = empty_book(1, 1)
    reset_lane(book, tape, 0, True)
    assert (book.account["cursor"][0], book.account["end"][0]) == (10, 40)
    assert book.account["rng"][0] == 0


def test_a_lane_never_leaves_its_rows(toy_bars, toy_tape):
    tape = toy_tape(toy_bars(FLAT_BARS), first=10, last=40, episode_bars=12, randomise=1)
    simulator = Simulator(tape, 8)
    simulator.seed(3)
    simulator.reset(stagger=True)
    actions = np.random.default_rng(0).uniform(-1, 1, (300, 8, 1)).astype(np.float32)
    for row in actions:
        simulator.step(row)
        cursor = simulator.book.account["cursor"]
        assert (cursor >= 10).all()
        assert (cursor <= 40).all()
        assert (simulator.book.account["end"] <= 40).all()


def test_random_starts_cost_nothing_and_stay_within_their_bounds(toy_bars, toy_tape):
    tape = toy_tape(
        toy_bars(FLAT_BARS),
        first=10,
        last=40,
        episode_bars=12,
        randomise=1,
        capital=10_000.0,
        capital_spread=0.4,
    )
    simulator = Simulator(tape, 400)
    simulator.seed(4)
    observations = simulator.reset()
    book = simulator.book
    account, position = book.account, book.positions[:, 0]
    assert 6_000 <= account["equity"].min() < 6_200
    assert 13_800 < account["equity"].max() <= 14_000
    for name in ("balance", "day_start", "start_equity"):
        np.testing.assert_array_equal(account[name], account["equity"])
    drawdown = 1.0 - account["equity"] / account["peak"]
    assert 0.0 <= drawdown.min() < 0.01
    assert 0.07 < drawdown.max() <= DEEPEST_START
    held = position["steps"] != 0
    assert 0.35 < held.mean() < 0.65
    assert (position["steps"] > 0).any()
    assert (position["steps"] < 0).any()
    assert position["age"][~held].max() == 0
    assert 0 <= position["age"].min()
    assert 20 < position["age"].max() < OLDEST_START
    # Longs enter at the bid, shorts at the ask: marked, nobody has gained or lost.
    np.testing.assert_allclose(position["entry"][position["steps"] > 0], 10_000)
    np.testing.assert_allclose(position["entry"][position["steps"] < 0], 10_010)
    np.testing.assert_array_equal(observations[:, 3], np.zeros(400))  # position_profit
    for name in ("commission", "spread_cost", "slippage_cost", "swap", "trades"):
        assert not account[name].any()
    assert account["traded"].max() == 0.0
    for lane in range(400):
        steps = abs(position["steps"][lane]) * 100.0
        assert steps <= account["equity"][lane] + 1e-9


def test_a_reset_forgets_the_episode_before(toy_bars, toy_tape):
    wild = [(100.0, 104.0, 96.0, 100.0 + 3 * (t % 2)) for t in range(60)]
    tape = toy_tape(toy_bars(wild), first=5, last=50)
    simulator = Simulator(tape)
    first = simulator.reset().copy()
    opened = simulator.book.account.copy(), simulator.book.positions.copy()
    for action in (1.0, -1.0, 0.5, -0.2, 1.0):
        assert simulator.step_lane(0, np.array([[action]], np.float32))[2] == RUNNING
    assert simulator.book.account["trades"][0] > 0
    np.testing.assert_array_equal(simulator.reset(), first)
    assert simulator.book.account.tobytes() == opened[0].tobytes()
    assert simulator.book.positions.tobytes() == opened[1].tobytes()


def test_finished_lanes_start_again_and_hand_over_their_last_observation(toy_bars, toy_tape):
    tape = toy_tape(toy_bars(FLAT_BARS), first=10, last=40, episode_bars=5)
    simulator = Simulator(tape, 3)
    simulator.seed(2)
    simulator.reset()
    starts = simulator.book.account["cursor"].copy()
    hold = np.full((3, 1), 0.5, np.float32)
    for _ in range(4):
        result = simulator.step(hold)
        assert not result.finished
    result = simulator.step(hold)
    assert result.statuses.tolist() == [TRUNCATED] * 3
    for lane, (last, summary) in result.finished.items():
        # The market part of an observation is its row of the tape.
        np.testing.assert_array_equal(last[:2], tape.features[starts[lane] + 5])
        assert last[2] > 0.0  # still holding
        assert summary.bars == 5
        fresh = result.observations[lane]
        row = simulator.book.account["cursor"][lane]
        np.testing.assert_array_equal(fresh[:2], tape.features[row])
        assert fresh[2] == 0.0  # flat again
    assert (simulator.book.account["bars"] == 0).all()


def randomised(toy_bars, toy_tape, *actions: float) -> Simulator:
    """400 lanes with random starts that went through ``actions`` on bars that never move."""
    tape = toy_tape(toy_bars(FLAT_BARS), first=10, last=40, episode_bars=12, randomise=1)
    simulator = Simulator(tape, 400)
    simulator.seed(4)
    simulator.reset()
    for action in actions:
        assert not simulator.step(np.full((400, 1), action, np.float32)).finished
    return simulator


def test_a_drawdown_before_the_episode_is_not_the_episodes(toy_bars, toy_tape):
    simulator = randomised(toy_bars, toy_tape, 0.0, 0.0, 0.0)
    account = simulator.book.account
    assert (account["peak"] > account["equity"] * 1.01).any()
    flat = [lane for lane in range(400) if account["trades"][lane] == 0]
    assert len(flat) > 100
    for lane in flat:
        summary = simulator.summary(lane)
        assert (summary.max_drawdown, summary.total_return, summary.trades) == (0.0, 0.0, 0)


def test_bars_before_the_episode_are_no_holding_bars(toy_bars, toy_tape):
    """Held for three bars of the episode, however old the position was at its start."""
    nan = float("nan")
    started = randomised(toy_bars, toy_tape)
    held = np.flatnonzero(started.book.positions["steps"][:, 0])
    assert started.book.positions["age"][held, 0].max() > 20
    simulator = randomised(toy_bars, toy_tape, nan, nan, nan, 0.0, 0.0)
    assert {simulator.summary(int(lane)).average_holding_bars for lane in held} == {3.0}
    at_once = randomised(toy_bars, toy_tape, 0.0, 0.0)
    assert {at_once.summary(int(lane)).average_holding_bars for lane in held} == {0.0}
