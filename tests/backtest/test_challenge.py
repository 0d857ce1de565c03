"""A challenge is judged as its rules read, and rules that cannot be meant are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtquant.backtest.challenge import Outcome, judge
from mtquant.config.challenge import RuleSet, load_rules
from mtquant.config.load import available
from mtquant.errors import ConfigError, DataError

WIDE = {"fraction": 0.5}


def rule_set(**rules: Any) -> RuleSet:
    return RuleSet.model_validate({"profit_target": 0.10, "max_drawdown": WIDE, **rules})


def outcome(
    days: list[list[float]], traded: Any = True, balance: Any = None, **rules: Any
) -> Outcome:
    """Judges closes by day; the account starts at 100, and each day from its balance."""
    path = np.array([100.0, *(close for day in days for close in day)])
    day = np.repeat(np.arange(len(days)) + 19_000, [len(closes) for closes in days])
    flags = np.broadcast_to(traded, day.shape)
    starts = [100.0, *(closes[-1] for closes in days[:-1])]
    return judge(path, day, flags, starts if balance is None else balance, rule_set(**rules))


def brief(found: Outcome) -> tuple[Any, ...]:
    return found.verdict, found.rule, found.row, found.days


DAILY = {"max_daily_loss": {"fraction": 0.05}}
OF_BALANCE = {"max_daily_loss": {"fraction": 0.05, "measured_from": "balance"}}
OF_HIGHER = {"max_daily_loss": {"fraction": 0.05, "measured_from": "higher"}}
OF_START = {"max_daily_loss": {"fraction": 0.05, "fraction_of": "start"}}
HALF = {"consistency": 0.5}


@pytest.mark.parametrize(
    ("days", "rules", "expected", "limit"),
    [
        # Target: 100 * 1.10, to the cent.
        ([[105.0, 109.99], [110.0]], {}, ("passed", None, 2, 2), 110.0),
        ([[105.0, 109.99]], {}, ("undecided", None, 1, 1), 110.0),
        # Daily loss of 5 %: the second day starts at 108, its floor is 102.6; 103 the day before
        # would have been no breach of 95.
        ([[103.0, 108.0], [103.0, 102.6]], DAILY, ("failed", "max_daily_loss", 3, 2), 102.6),
        ([[103.0, 108.0], [103.0, 102.61]], DAILY, ("undecided", None, 3, 2), 110.0),
        # The same as a share of the start: 108 - 5 = 103.
        ([[103.0, 108.0], [103.0, 102.6]], OF_START, ("failed", "max_daily_loss", 2, 2), 103.0),
        # Static drawdown of 8 %.
        (
            [[104.0], [98.0], [92.0, 111.0]],
            {"max_drawdown": {"fraction": 0.08}},
            ("failed", "max_drawdown", 2, 3),
            92.0,
        ),
        # Two floors in one bar: equity falls through the higher one first.
        (
            [[99.0], [60.0]],
            DAILY | {"max_drawdown": {"fraction": 0.08}},
            ("failed", "max_daily_loss", 1, 2),
            94.05,
        ),
        (
            [[96.0], [60.0]],
            DAILY | {"max_drawdown": {"fraction": 0.08}},
            ("failed", "max_drawdown", 1, 2),
            92.0,
        ),
        # Three trading days are needed; the target of the first day has to hold until the third.
        ([[111.0], [109.0], [110.5]], {"min_trading_days": 3}, ("passed", None, 2, 3), 110.0),
        ([[111.0], [112.0]], {"min_trading_days": 3}, ("undecided", None, 1, 2), 110.0),
        # Best day at most half: day 1 made 8 of 12, then 8 of 14, then 8 of 16.
        ([[108.0], [112.0], [114.0], [116.0]], HALF, ("passed", None, 3, 4), 110.0),
        # The current day counts: 4, then 9 of 13 so far, then 7 of 11, and 6 of 12 the day after.
        ([[104.0], [113.0, 111.0], [118.0]], HALF, ("passed", None, 3, 3), 110.0),
        # Days: two are not enough, and the end of the second decides.
        ([[104.0], [106.0, 109.0], [112.0]], {"max_days": 2}, ("failed", "max_days", 2, 2), 110.0),
        ([[104.0], [106.0, 110.0], [112.0]], {"max_days": 2}, ("passed", None, 2, 2), 110.0),
        # Ruin breaks every floor.
        (
            [[-5.0], [200.0]],
            {"max_drawdown": {"fraction": 1.0}},
            ("failed", "max_drawdown", 0, 1),
            0,
        ),
    ],
)
def test_golden_paths(days, rules, expected, limit):
    found = outcome(days, **rules)
    assert brief(found) == expected
    assert found.limit == pytest.approx(limit, abs=1e-9)
    closes = [close for day in days for close in day]
    assert found.equity == pytest.approx(closes[found.row])


PATH = [[104.0, 99.0], [97.5, 103.0], [96.9, 95.0]]
TRAILING = {"fraction": 0.06, "kind": "trailing"}


@pytest.mark.parametrize(
    ("drawdown", "row", "limit"),
    [
        ({"fraction": 0.06}, None, 110.0),  # 94 all the way
        (TRAILING, 2, 98.0),  # 104 - 6, from the first bar on
        (TRAILING | {"high_water": "day_end"}, 4, 97.0),  # 103 - 6: 104 was no day's end
        (TRAILING | {"fraction_of": "high_water"}, 2, 97.76),  # 104 * 0.94
        (TRAILING | {"fraction": 0.03, "locks_at_start": True}, 1, 100.0),  # not 101
        (TRAILING | {"fraction": 0.09}, 5, 95.0),  # 104 - 9, to touch is to break
    ],
)
def test_static_trailing_and_end_of_day_part_ways_on_one_path(drawdown, row, limit):
    found = outcome(PATH, max_drawdown=drawdown)
    assert found.limit == pytest.approx(limit)
    if row is None:
        assert brief(found) == ("undecided", None, 5, 3)
    else:
        assert brief(found) == ("failed", "max_drawdown", row, row // 2 + 1)


@pytest.mark.parametrize(
    ("rules", "row"),
    [
        # The second day begins with equity 100 and a balance of 106: an open loss of 6.
        (OF_BALANCE, 1),  # 106 - 5.30 = 100.70
        (OF_HIGHER, 1),
        (DAILY, 3),  # 100 - 5
    ],
)
def test_the_day_s_loss_is_measured_from_what_the_rule_names(rules, row):
    found = outcome([[100.0], [100.0, 95.5, 94.9]], balance=[100.0, 106.0], **rules)
    assert (found.rule, found.row) == ("max_daily_loss", row)


def test_higher_takes_the_equity_of_an_open_profit():
    days = [[106.0], [100.6, 94.0]]
    assert outcome(days, balance=[100.0, 100.0], **OF_HIGHER).row == 1  # 106 - 5.30 = 100.70
    assert outcome(days, balance=[100.0, 100.0], **OF_BALANCE).row == 2  # 100 - 5


def test_a_trading_day_is_a_day_with_a_fill_until_now():
    days = [[101.0, 102.0], [104.0, 106.0], [111.0, 112.0]]
    flags = [True, True, False, False, False, True]
    found = outcome(days, traded=flags, min_trading_days=2)
    assert brief(found) == ("passed", None, 5, 3) and found.trading_days == 2
    assert outcome(days, traded=flags, min_trading_days=3).verdict == "undecided"
    assert outcome(days, traded=False, min_trading_days=1).verdict == "undecided"


def test_the_best_day_is_told_as_a_share_of_the_profit():
    assert outcome([[104.0], [101.0], [103.0, 111.0]]).best_day_share == pytest.approx(10 / 11)
    assert outcome([[104.0], [99.0]]).best_day_share is None


paths = st.lists(
    st.lists(st.integers(-4, 4), min_size=1, max_size=4).map(lambda moves: [m / 2 for m in moves]),
    min_size=1,
    max_size=12,
)


@given(paths)
def test_what_the_walk_decides_is_what_the_rules_say_in_plain_arithmetic(moves):
    days, equity = [], 100.0
    for day in moves:
        days.append([equity := equity + move for move in day])
    rules = rule_set(
        profit_target=0.03,
        max_daily_loss={"fraction": 0.02, "fraction_of": "start"},
        max_drawdown={"fraction": 0.03, "kind": "trailing"},
        consistency=0.75,
        max_days=8,
    )
    found = outcome(days, **rules.model_dump(exclude_unset=True))
    assert brief(found) == plainly(days)


def plainly(days: list[list[float]]) -> tuple[Any, ...]:
    row, last, best = -1, 100.0, 0.0
    closes: list[float] = [100.0]
    for number, day in enumerate(days, 1):
        for close in day:
            row += 1
            total = max(closes) - 3.0
            if close <= max(total, last - 2.0):
                return (
                    "failed",
                    "max_drawdown" if total > last - 2.0 else "max_daily_loss",
                    row,
                    number,
                )
            best_now = max(best, close - last)
            if close >= 103.0 and best_now <= 0.75 * (close - 100.0):
                return "passed", None, row, number
            closes.append(close)
        best, last = max(best, day[-1] - last), day[-1]
        if number == 8:
            return "failed", "max_days", row, number
    return "undecided", None, row, len(days)


def test_columns_that_do_not_belong_together_are_refused():
    with pytest.raises(DataError, match="one for each of the 2 broker days"):
        judge(np.array([100.0, 101.0, 102.0]), [0, 1], [True, True], [100.0], rule_set())
    with pytest.raises(DataError, match="give T"):
        judge(np.array([100.0, 101.0]), [0, 1], [True, True], [100.0, 101.0], rule_set())


@pytest.mark.parametrize("name", available("configs/rules"))
def test_shipped_rules_can_be_read(name):
    rules, found = load_rules(name)
    assert 0.05 <= rules.profit_target <= 0.10 and found.path.stem == name


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("profit_target: 0.1", "the key 'max_drawdown' is missing"),
        ("profit_target: 0\nmax_drawdown: {fraction: 0.1}", "profit_target = 0"),
        ("profit_target: 0.1\nmax_drawdown: {fraction: 10}", "max_drawdown.fraction = 10"),
        ("profit_target: 0.1\nmax_drawdown: {fraction: 0.1, kid: static}", "did you mean 'kind'"),
        (
            "profit_target: 0.1\nmax_drawdown: {fraction: 0.1, locks_at_start: true}",
            "a static drawdown has no locks_at_start",
        ),
        (
            "profit_target: 0.1\nmax_drawdown: {fraction: 0.1}\nmin_trading_days: 4\nmax_days: 3",
            "max_days 3 leave no room for min_trading_days 4",
        ),
        (
            "profit_target: 0.1\nmax_drawdown: {fraction: 0.1}\nmax_days: 2000000000",
            "max_days = 2000000000",
        ),
    ],
)
def test_a_wrong_rule_is_one_sentence(tmp_path, text, told):
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as refused:
        load_rules(str(path))
    assert told in str(refused.value)


def test_rules_of_the_working_directory_win(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_rules("two_step_static")[1].origin == "package"
    folder = tmp_path / "configs" / "rules"
    folder.mkdir(parents=True)
    text = "profit_target: 0.5\nmax_drawdown: {fraction: 0.1}\n"
    (folder / "two_step_static.yaml").write_text(text, encoding="utf-8")
    rules, found = load_rules("two_step_static")
    assert rules.profit_target == 0.5 and found.origin == "working directory"
