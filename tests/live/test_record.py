"""What a runner remembers is what the kernel remembers, brought forward bar by bar."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from mtquant.live.record import (
    AccountRecord,
    BrokerBalance,
    HeldPosition,
    bring_forward,
    record_of,
)
from mtquant.sim.account import Book, Tape
from mtquant.sim.simulator import Simulator

REMEMBERED = (
    "equity",
    "peak",
    "day_start",
    "week_start",
    "start_equity",
    "level",
    "trades",
    "wins",
    "losing_run",
    "gain_sum",
    "loss_sum",
    "mean_return",
    "square_return",
)
RULES = {
    "brakes": 1,
    "weekly_loss": 0.5,
    "drawdown": 0.9,
    "start_loss": 0.9,
    "losing_run": 3,
    "losing_run_level": 2,
    "adaptation": 0.05,
    "reward_kind": 4,
    "deviation_floor": 0.1,
    "reward_clip": 10.0,
}


@pytest.fixture(scope="module")
def tape(toy_bars, toy_tape) -> Tape:
    """Ten days of wild hours from a Friday on."""
    rng = np.random.default_rng(6)
    close = np.round(100.0 * np.exp(np.cumsum(0.004 * rng.standard_normal(240))), 2)
    opened = np.concatenate([close[:1], close[:-1]])
    rows = np.stack([opened, np.maximum(opened, close), np.minimum(opened, close), close], axis=1)
    return toy_tape(toy_bars(rows, start="2024-01-05T12:00"), **RULES)


class Broker:
    """Knows balance, positions and deals of a kernel's lane, and not what they mean."""

    def __init__(self) -> None:
        self.identifier = 0

    def after(self, book: Book) -> BrokerBalance:
        position, account = book.positions[0, 0], book.account[0]
        realised = []
        for deal in book.deals[0, : account["n_deals"]]:
            if not deal["closing"] and abs(position["steps"]) == abs(deal["steps"]):
                self.identifier += 1  # opened from flat
            money = deal["profit"] + deal["swap"] - deal["commission"]
            realised.append((self.identifier, float(money)))
        steps, identifier = int(position["steps"]), self.identifier if position["steps"] else 0
        held = HeldPosition(
            steps, float(position["entry"]), float(position["swap"]), identifier=identifier
        )
        return BrokerBalance(float(account["balance"]), (held,), realised=tuple(realised))


def stored(record: AccountRecord) -> AccountRecord:
    """As it comes back from a journal that keeps positions and memory as JSON."""
    positions = json.loads(json.dumps([vars(p) for p in record.positions]))
    held = tuple(HeldPosition(**position) for position in positions)
    return replace(record, positions=held, memory=json.loads(json.dumps(record.memory)))


def test_round_trips_week_and_moments_are_those_of_the_kernel(tape):
    simulator, broker = Simulator(tape), Broker()
    simulator.place(0, 0, len(tape.market) - 1, 10_000.0)
    found = broker.after(simulator.book)
    record = record_of(bring_forward(None, found, tape, [0]), 0, found)
    rng = np.random.default_rng(2)
    weeks = set()
    for t in range(1, len(tape.market)):
        action = rng.choice([0.0, 0.0, 1.0, -1.0, np.nan])
        simulator.step_lane(0, np.array([action], np.float32))
        found = broker.after(simulator.book)
        book = bring_forward(stored(record), found, tape, [t])
        for name in REMEMBERED:
            assert book.account[name][0] == simulator.book.account[name][0], (t, name)
        assert book.positions["result"][0, 0] == simulator.book.positions["result"][0, 0]
        record = record_of(book, t, found)
        weeks.add(float(book.account["week_start"][0]))
    account = simulator.book.account[0]
    assert account["wins"] > 3
    assert account["trades"] - account["wins"] > 3
    assert len(weeks) == 3  # the first, and two Mondays
    assert account["mean_return"] != 0.0


def test_money_paid_in_moves_what_losses_are_counted_from(tape):
    flat = BrokerBalance(10_000.0, (HeldPosition(),))
    record = record_of(bring_forward(None, flat, tape, [0]), 0, flat)
    paid = BrokerBalance(15_000.0, (HeldPosition(),), deposit=5_000.0)
    account = bring_forward(record, paid, tape, [1]).account[0]
    for name in ("equity", "peak", "day_start", "week_start", "start_equity"):
        assert account[name] == 15_000.0, name
    assert account["mean_return"] == 0.0


def test_an_old_record_counts_from_its_day(tape):
    record = AccountRecord(0, 9_900.0, 9_900.0, 10_500.0, 10_000.0, int(tape.day[0]), 0, ())
    account = bring_forward(record, BrokerBalance(9_900.0, ()), tape, [1]).account[0]
    assert (account["week_start"], account["start_equity"], account["trades"]) == (1e4, 1e4, 0)


def test_a_position_whose_deals_are_unknown_is_no_round_trip(tape):
    held = HeldPosition(10, 100.0, 0.0, 3, 77, -4.0)
    record = AccountRecord(0, 1e4, 1e4, 1e4, 1e4, int(tape.day[0]), 0, (held,))
    gone = BrokerBalance(1e4, (HeldPosition(),))
    assert bring_forward(record, gone, tape, [1]).account["trades"][0] == 0
    known = replace(gone, realised=((77, -1.0),))
    account = bring_forward(record, known, tape, [1]).account[0]
    assert (account["trades"], account["wins"], account["loss_sum"]) == (1, 0, 5.0)


def test_deals_add_up_one_by_one_and_trips_end_in_the_order_of_their_last_deals(toy_bars, toy_tape):
    """The bits of a sum, and whether a run of losses stands at the end, depend on the order."""
    rows = np.full((3, 4), 100.0)
    tape = toy_tape(toy_bars(rows), **RULES)
    held = (HeldPosition(10, 100.0, 0.0, 3, 7, 0.1),)
    record = AccountRecord(0, 1e4, 1e4, 1e4, 1e4, int(tape.day[0]), 0, held)
    deals = ((7, 0.2), (8, -2.0), (8, -3.0), (7, 0.3))
    flat = BrokerBalance(1e4, (HeldPosition(),), realised=deals)
    account = bring_forward(record, flat, tape, [1]).account[0]
    assert account["gain_sum"] == (0.1 + 0.2) + 0.3 != 0.1 + (0.2 + 0.3)
    assert (account["trades"], account["wins"], account["loss_sum"]) == (2, 1, 5.0)
    assert account["losing_run"] == 0, "the win came last"
