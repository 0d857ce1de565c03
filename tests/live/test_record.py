"""What a runner remembers is what the kernel remembers, brought forward bar by bar."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mtquant.live.forward import bring_forward
from mtquant.live.found import BrokerBalance, Fill, FoundPosition, Ticket
from mtquant.live.journal_rows import ACCOUNT, account_row, record_of_row
from mtquant.live.levels import close_passed
from mtquant.live.record import COUNTS, MONEY, SUMS, AccountRecord, HeldPosition, record_of
from mtquant.market.bars import Bars
from mtquant.risk.reasons import STOP
from mtquant.sim.account import Book, Tape, price_of
from mtquant.sim.decisions import decide_all
from mtquant.sim.simulator import Simulator

OF_THE_ACCOUNT = ("equity", "peak", "day_start", "level", *COUNTS, *MONEY, *SUMS)
OF_A_SYMBOL = ("barred_side", "barred_bars")
OF_A_POSITION = ("steps", "entry", "swap", "age", "result", "stop", "take", "cap", "born")
HOUR = 3600 * 10**9
CHALLENGE = {
    "challenge": 1,
    "profit_target": 9.0,
    "max_daily_loss": 0.9,
    "max_drawdown": 0.9,
    "trails": 1,
}
RULES = {
    **CHALLENGE,
    "brakes": 1,
    "weekly_loss": 0.5,
    "drawdown": 0.9,
    "start_loss": 0.9,
    "losing_run": 3,
    "losing_run_level": 2,
    "shed": 0.5,
    "adaptation": 0.05,
    "reward_kind": 4,
    "deviation_floor": 0.1,
    "reward_clip": 10.0,
}
STOPS = {
    "stop_atr": 2.0,
    "take_atr": 4.0,
    "trail_atr": 1.5,
    "break_even_atr": 1.0,
    "partial_at": 0.3,
    "partial_share": 0.5,
    "reentry_bars": 3,
}


@pytest.fixture(scope="module")
def days(toy_bars) -> Bars:
    """Ten days of wild hours from a Friday on."""
    rng = np.random.default_rng(6)
    close = np.round(100.0 * np.exp(np.cumsum(0.004 * rng.standard_normal(240))), 2)
    opened = np.round(np.append(close[:1], close[:-1]) + rng.choice([0.0, 0.0, -0.4, 0.4], 240), 2)
    high, low = np.maximum(opened, close) + 0.05, np.minimum(opened, close) - 0.05
    return toy_bars(np.stack([opened, high, low, close], axis=1), start="2024-01-05T12:00")


@pytest.fixture(scope="module")
def tape(days, toy_tape) -> Tape:
    return toy_tape(days, **RULES)


def hours(tape: Tape) -> np.ndarray:
    return HOUR * np.arange(len(tape.market))


def shown(book: Book, tape: Tape, t: int) -> BrokerBalance:
    """What a broker knows of a kernel's lane: balance, tickets and deals, not what they mean."""
    position, account = book.positions[0, 0], book.account[0]
    fills = tuple(
        Fill(
            0,
            t * HOUR,
            int(deal["steps"]),
            float(deal["price"]),
            float(deal["profit"] + deal["swap"] - deal["commission"]),
            not deal["closing"],
            bool(deal["reason"] == STOP),
        )
        for deal in book.deals[0, : account["n_deals"]]
    )
    levels = int(position["stop"]), int(position["take"])
    rows = book.tickets[0, : position["tickets"]] if book.tickets.size else [position]
    tickets = tuple(
        Ticket(
            k,
            k,
            int(row["steps"]),
            float(price_of(tape.contracts[0], row["entry"])),
            float(row["swap"]),
            *levels,
        )
        for k, row in enumerate(rows)
        if row["steps"] != 0
    )
    return BrokerBalance(float(account["balance"]), (FoundPosition(tickets, *levels),), fills=fills)


class Runner:
    """The memory of a live runner beside a kernel's lane, through a journal at every bar."""

    def __init__(self, tape: Tape) -> None:
        self.tape, self.simulator = tape, Simulator(tape)
        self.simulator.place(0, 0, len(tape.market) - 1, 10_000.0)
        self.record: AccountRecord | None = None
        self.rows, self.fills = [0], ()

    @property
    def lane(self) -> Book:
        return self.simulator.book

    def wake(self) -> Book:
        """The book as it is brought forward after the bars that have closed."""
        found = shown(self.lane, self.tape, self.rows[-1])
        self.found = replace(found, fills=self.fills)
        args = (self.record, self.found, self.tape, self.rows, hours(self.tape))
        return bring_forward(*args)

    def decide(self, book: Book, action: float) -> None:
        """Decide, hold stops against the next open, and remember."""
        t = self.rows[-1]
        decide_all(book, self.tape, 0, t, np.array([[action]], np.float32))
        bar = self.tape.market[t + 1, 0]
        quoted = int(bar["open"]), int(bar["open"] + bar["spread"])
        close_passed(book, self.found, [None], [quoted])
        row = account_row(record_of(book, t * HOUR, self.found), 0.0, 0)
        self.record = record_of_row(row[: len(ACCOUNT.split()) - 1])
        self.rows, self.fills = [], ()

    def trade(self, t: int, action: float) -> None:
        """The kernel's lane lives bar ``t``."""
        self.simulator.step_lane(0, np.array([action], np.float32))
        self.rows.append(t)
        self.fills += shown(self.lane, self.tape, t).fills


def compare(told: Book, lane: Book, names: tuple[str, ...], where: Any) -> None:
    for name in names:
        assert told.account[name][0] == lane.account[name][0], (where, name)
    position = lane.positions[0, 0]
    for name in (*OF_A_SYMBOL, *(OF_A_POSITION if position["steps"] else ())):
        assert told.positions[name][0, 0] == position[name], (where, name)


@pytest.mark.parametrize("hedging", [0, 1])
@pytest.mark.parametrize("stops", [{}, STOPS], ids=["free", "stops"])
def test_what_is_remembered_is_what_the_kernel_remembers(days, toy_tape, hedging, stops):
    runner = Runner(toy_tape(days, hedging=hedging, **RULES, **stops))
    rng, seen, weeks = np.random.default_rng(2), Counter[str](), set()
    for t in range(1, len(days)):
        action = rng.choice([0.0, 1.0, 0.7, 0.4, -1.0, -0.5, np.nan, np.nan])
        book = runner.wake()
        compare(book, runner.lane, OF_THE_ACCOUNT, t)
        weeks.add(float(book.account["week_start"][0]))
        seen.update(name for name in ("barred_side", "cap") if book.positions[name][0, 0])
        seen["tickets"] = max(seen["tickets"], len(runner.found.positions[0].tickets))
        runner.decide(book, action)
        runner.trade(t, action)
    account = runner.lane.account[0]
    assert account["wins"] > 3 and account["trades"] - account["wins"] > 3
    assert len(weeks) == 3  # the first, and two Mondays
    assert account["mean_return"] != 0.0 and account["day_trades"] > 255
    assert bool(seen["barred_side"]) == bool(seen["cap"]) == bool(stops)
    assert (seen["tickets"] > 1) == bool(hedging)


def test_an_outage_counts_every_deal_in_its_own_bar(days, toy_tape):
    """Stops act while nobody looks: what they bar, and how long ago they lost, is known later."""
    runner, closed = Runner(toy_tape(days, **CHALLENGE, stop_atr=1.0)), 0
    rng = np.random.default_rng(4)
    for t in range(1, len(days)):
        asleep = t % 7 > 1
        action = np.nan if asleep else rng.choice([0.0, 1.0, -1.0])
        if not asleep:
            book, dealt = runner.wake(), runner.fills
            compare(book, runner.lane, (*COUNTS, "day_balance"), t)
            closed += sum(fill.stopped and fill.time_ns < (t - 1) * HOUR for fill in dealt)
            runner.decide(book, action)
        runner.trade(t, action)
    assert closed > 5


def flat(balance: float = 1e4, *fills: Fill, deposit: float = 0.0) -> BrokerBalance:
    return BrokerBalance(balance, (FoundPosition(),), deposit, fills=fills)


def test_money_paid_in_moves_what_losses_are_counted_from(tape):
    record = record_of(bring_forward(None, flat(), tape, [0], hours(tape)), 0, flat())
    paid = flat(15_000.0, deposit=5_000.0)
    account = bring_forward(record, paid, tape, [1], hours(tape)).account[0]
    for name in ("equity", "peak", "day_start", *MONEY):
        assert account[name] == 15_000.0, name
    assert account["mean_return"] == 0.0


def record_with(tape: Tape, *positions: HeldPosition) -> AccountRecord:
    return AccountRecord(0, 1e4, 1e4, 1e4, 1e4, int(tape.day[0]), 0, positions)


def test_an_old_record_counts_from_its_day(tape):
    record = replace(record_with(tape, HeldPosition()), peak=10_500.0, equity=9_900.0)
    account = bring_forward(record, flat(9_900.0), tape, [1], hours(tape)).account[0]
    assert (account["week_start"], account["start_equity"], account["trades"]) == (1e4, 1e4, 0)
    assert (account["day_balance"], account["challenge_high"]) == (1e4, 10_500.0)


def fill(steps: int, money: float, symbol: int = 0, **more: Any) -> Fill:
    return Fill(symbol, HOUR, steps, 100.0, money, opens=more.pop("opens", False), **more)


def test_a_position_whose_deals_are_unknown_is_no_round_trip(tape):
    record = record_with(tape, HeldPosition(10, 100.0, 0.0, 3, (77,), -4.0, cap=5))
    book = bring_forward(record, flat(), tape, [1], hours(tape))
    assert book.account["trades"][0] == 0
    assert [book.positions[name][0, 0] for name in ("age", "result", "cap")] == [0, 0, 0]
    book = bring_forward(record, flat(1e4, fill(-4, -1.0)), tape, [1], hours(tape))
    assert (book.account["trades"][0], book.positions["result"][0, 0]) == (0, 0.0)
    book = bring_forward(record, flat(1e4, fill(-10, -1.0)), tape, [1], hours(tape))
    account = book.account[0]
    assert (account["trades"], account["wins"], account["loss_sum"]) == (1, 0, 5.0)
    assert account["since_loss"] == 1


def test_a_position_that_a_person_has_turned_round_is_a_new_one(tape):
    record = record_with(tape, HeldPosition(10, 100.0, 0.0, 3, (77,), -4.0, cap=5))
    found = FoundPosition((Ticket(78, 78, -5, 100.0),))
    turned = fill(-15, 1.0, opens=True)
    book = bring_forward(
        record, BrokerBalance(1e4, (found,), fills=(turned,)), tape, [1], hours(tape)
    )
    row, account = book.positions[0, 0], book.account[0]
    assert (account["trades"], account["loss_sum"], account["orders_today"]) == (1, 3.0, 1)
    assert [row[name] for name in ("age", "result", "cap", "born")] == [1, 0, 0, tape.day[1]]


def test_deals_add_up_one_by_one_and_trips_end_in_the_order_of_their_last_deals(toy_bars, toy_tape):
    """The bits of a sum, and whether a run of losses stands at the end, depend on the order."""
    rows = np.full((3, 4), 100.0)
    tape = toy_tape([toy_bars(rows, "TOY"), toy_bars(rows, "TOZ")], **RULES)
    record = record_with(tape, HeldPosition(10, 100.0, 0.0, 3, (7,), 0.1), HeldPosition())
    fills = (
        fill(-4, 0.2),
        fill(5, -2.0, 1, opens=True),
        fill(-5, -3.0, 1, stopped=True),
        fill(-6, 0.3),
    )
    found = BrokerBalance(1e4, (FoundPosition(), FoundPosition()), fills=fills)
    book = bring_forward(record, found, tape, [1], hours(tape))
    account = book.account[0]
    assert account["gain_sum"] == (0.1 + 0.2) + 0.3 != 0.1 + (0.2 + 0.3)
    assert (account["trades"], account["wins"], account["loss_sum"]) == (2, 1, 5.0)
    assert account["losing_run"] == 0, "the win came last"
    assert account["day_trades"] == 1, "only the second was opened on this day"
    assert account["spent_today"] == 5 * 100.0
    assert book.positions["barred_side"][0].tolist() == [0, 1]


def test_more_tickets_than_the_kernel_keeps_are_still_counted(days, toy_tape):
    tape = toy_tape(days, hedging=1)
    tickets = tuple(Ticket(k, k, 1, 100.0 + k) for k in range(10))
    found = BrokerBalance(1e4, (FoundPosition(tickets),))
    row = bring_forward(None, found, tape, [0], hours(tape)).positions[0, 0]
    assert (row["steps"], row["tickets"], row["entry"]) == (10, 8, 10450.0)
