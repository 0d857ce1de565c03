from __future__ import annotations

import re
from math import inf, nan
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtquant.errors import ConfigError
from mtquant.risk.checks import CHECKS, LIMIT_OPTIONS, LIMITS, permitted
from mtquant.risk.order import order_of
from mtquant.risk.reasons import (
    ALLOWED,
    COOLDOWN,
    CORRELATED,
    DAY_BUDGET,
    DAY_TRADES,
    MARGIN,
    MAX_CLASS_EXPOSURE,
    MAX_EXPOSURE,
    MAX_HOLDING,
    MAX_LEVERAGE,
    MAX_LOTS,
    MAX_POSITION,
    MAX_POSITIONS,
    MAX_SPREAD,
    MAX_VOLUME,
    MIN_BALANCE,
    ORDER_BUDGET,
    OUT_OF_HOURS,
    REASONS,
    TRADES_PER_DAY,
    UNCHANGED,
)

pytestmark = pytest.mark.nojit


def limits(**options: float) -> np.void:
    """Twice the equity; the options are looked at only where there are some."""
    rules = np.zeros(1, LIMITS)
    rules["max_exposure"], rules["stop_out_level"] = 2.0, 0.5
    rules["checks"] = any(name != "max_exposure" for name in options)
    for name, value in options.items():
        rules[name] = value
    return rules[0]


def order(held: int, target: int, **facts: float) -> np.void:
    """A step is worth 100 and takes 1 of margin; equity and balance are 10,000."""
    plain = {"step_notional": 100.0, "step_margin": 1.0, "step_lots": 0.01}
    money = {"equity": 10_000.0, "balance": 10_000.0}
    return order_of(held=held, target=target, **{**plain, **money, **facts})[0]


def asked(held: int, target: int, rules: dict[str, float], facts: dict[str, float]):
    return permitted(limits(**rules), order(held, target, **facts))


# Twice the equity of 10,000 is 200 steps of 100.
@pytest.mark.parametrize(
    ("held", "target", "facts", "steps", "reason"),
    [
        (0, 200, {}, 200, ALLOWED),
        (0, 201, {}, 200, MAX_EXPOSURE),
        (0, -201, {}, -200, MAX_EXPOSURE),
        (150, 500, {}, 200, MAX_EXPOSURE),
        (150, 150, {}, 150, UNCHANGED),
        (0, 0, {}, 0, UNCHANGED),
        # other symbols use the same limit
        (0, 200, {"others_gross": 5_000.0}, 150, MAX_EXPOSURE),
        (0, 200, {"others_gross": 20_000.0}, 0, MAX_EXPOSURE),
        (0, 200, {"others_gross": 30_000.0}, 0, MAX_EXPOSURE),
        # above the limit: what is held stays, less is always allowed
        (300, 400, {}, 300, MAX_EXPOSURE),
        (300, 250, {}, 250, ALLOWED),
        (-300, -400, {}, -300, MAX_EXPOSURE),
        (-300, -250, {"equity": -5.0}, -250, ALLOWED),
        (300, 0, {"equity": 0.0}, 0, ALLOWED),
        # a flip counts as an increase from zero; if it is denied the reduction stands
        (100, -250, {}, -200, MAX_EXPOSURE),
        (100, -150, {"others_gross": 20_000.0}, 0, MAX_EXPOSURE),
        (-100, 50, {}, 50, ALLOWED),
        # a ruined or unknown account opens nothing
        (0, 1, {"equity": 0.0}, 0, MAX_EXPOSURE),
        (0, -1, {"equity": -10.0}, 0, MAX_EXPOSURE),
        (0, 1, {"equity": nan}, 0, MAX_EXPOSURE),
        # no leverage: 10,000 buy 100 steps although twice the equity were allowed
        (0, 150, {"step_margin": 100.0}, 100, MARGIN),
        (0, -150, {"step_margin": 100.0}, -100, MARGIN),
        (0, 150, {"step_margin": 100.0, "others_margin": 4_000.0}, 60, MARGIN),
        (0, 80, {"step_margin": 100.0}, 80, ALLOWED),
        # others take margin of another rate than this symbol
        (0, 80, {"others_gross": 5_000.0, "others_margin": 9_950.0}, 50, MARGIN),
        (0, 80, {"others_gross": 5_000.0, "others_margin": 10_500.0}, 0, MARGIN),
        # margin for exactly what the exposure allows
        (0, 201, {"step_margin": 50.0}, 200, MAX_EXPOSURE),
        # the same at a fifth of it, where margin comes out 4e-13 steps below
        (
            0,
            5_500,
            {
                "step_notional": 15.15,
                "step_margin": 15.15 * 0.2,
                "equity": 16_879.54,
                "others_gross": 7_304.91,
                "others_margin": 7_304.91 * 0.2,
                "max_exposure": 5.0,
            },
            5_088,
            MAX_EXPOSURE,
        ),
        # a quotient of 200 - 1e-14 is 200
        (0, 200, {"equity": 9_999.999999999998}, 200, ALLOWED),
    ],
)
def test_exposure_and_margin(held, target, facts, steps, reason):
    rules = {name: facts[name] for name in facts if name == "max_exposure"}
    known = {name: facts[name] for name in facts if name != "max_exposure"}
    assert asked(held, target, rules, known) == (steps, reason)


# The position is worth 100 a step, the account 10,000; 0.01 lots a step.
@pytest.mark.parametrize(
    ("rules", "held", "target", "facts", "steps", "reason"),
    [
        # half of equity: 50 steps
        ({"max_position": 0.5}, 0, 50, {"others_gross": 9_000.0}, 50, ALLOWED),
        ({"max_position": 0.5}, 0, -60, {}, -50, MAX_POSITION),
        ({"max_position": 0.5}, 70, 80, {}, 70, MAX_POSITION),
        # 0.29 lots are 29 steps, though 0.29 / 0.01 = 28.999999999999996
        ({"max_lots": 0.29}, 0, 29, {}, 29, ALLOWED),
        ({"max_lots": 0.29}, 0, 30, {}, 29, MAX_LOTS),
        ({"max_lots": 0.29}, -29, -30, {}, -29, MAX_LOTS),
        # a twentieth of 1,010 steps a day: 50.5
        ({"max_daily_volume_share": 0.05}, 0, 50, {"day_volume": 1_010.0}, 50, ALLOWED),
        ({"max_daily_volume_share": 0.05}, 0, 90, {"day_volume": 1_010.0}, 50, MAX_VOLUME),
        ({"max_daily_volume_share": 0.05}, 0, 1, {"day_volume": 10.0}, 0, MAX_VOLUME),
        ({"max_daily_volume_share": 0.05}, 0, 90, {"day_volume": 0.0}, 90, ALLOWED),
        # 40 % of 10,000 and 3,000 of it are taken: 10 steps
        ({"max_class_exposure": 0.4}, 0, 10, {"others_class": 3_000.0}, 10, ALLOWED),
        ({"max_class_exposure": 0.4}, 0, -11, {"others_class": 3_000.0}, -10, MAX_CLASS_EXPOSURE),
        ({"max_class_exposure": 0.4}, 0, 1, {"others_class": 4_000.0}, 0, MAX_CLASS_EXPOSURE),
        # 1.5 times equity for this instrument: 150 steps
        ({"use_leverage": 1}, 0, 150, {"leverage": 1.5}, 150, ALLOWED),
        ({"use_leverage": 1}, 0, 151, {"leverage": 1.5}, 150, MAX_LEVERAGE),
        ({"use_leverage": 1}, 160, 170, {"leverage": 1.5}, 160, MAX_LEVERAGE),
        ({"use_leverage": 1}, 0, 170, {"leverage": 0.0}, 170, ALLOWED),
        ({"use_leverage": 0, "checks": 1}, 0, 170, {"leverage": 1.5}, 170, ALLOWED),
        # the same bet under another name; the other side of it is none
        *(
            ({"max_correlation": 0.7, "correlation_rejects": rejects}, 5, target, facts, *said)
            for rejects, target, facts, said in (
                (1, 10, {"correlation": 0.7}, (10, ALLOWED)),
                (1, 10, {"correlation": 0.71}, (5, CORRELATED)),
                (1, -10, {"correlation": 0.71}, (0, CORRELATED)),
                (1, 10, {"correlation": -0.9}, (10, ALLOWED)),
                (1, 10, {"correlation": nan}, (5, CORRELATED)),
                (0, 10, {"correlation": 0.9}, (10, ALLOWED)),
            )
        ),
        ({"min_balance": 500.0}, 0, 1, {"balance": 500.0}, 1, ALLOWED),
        ({"min_balance": 500.0}, 3, 4, {"balance": 499.99}, 3, MIN_BALANCE),
        ({"min_balance": 500.0}, 3, 2, {"balance": 499.99}, 2, ALLOWED),
        # three at once; adding to one of them makes no fourth, turning round makes none either
        ({"max_positions": 3}, 0, 9, {"others_open": 2}, 9, ALLOWED),
        ({"max_positions": 3}, 0, 9, {"others_open": 3}, 0, MAX_POSITIONS),
        ({"max_positions": 3}, 1, 9, {"others_open": 3}, 9, ALLOWED),
        ({"max_positions": 3}, 1, -9, {"others_open": 2}, -9, ALLOWED),
        ({"max_positions": 3}, 1, -9, {"others_open": 3}, 0, MAX_POSITIONS),
        # 750 an order are 7 steps more than what is kept
        ({"order_budget": 750.0}, 0, 7, {}, 7, ALLOWED),
        ({"order_budget": 750.0}, 20, 40, {}, 27, ORDER_BUDGET),
        ({"order_budget": 750.0}, 20, -40, {}, -7, ORDER_BUDGET),
        ({"order_budget": 75.0}, 20, 21, {}, 20, ORDER_BUDGET),
        # 1,000 a day and 400 of it spent: 6 steps more
        ({"day_budget": 1_000.0}, 0, 6, {"spent_today": 400.0}, 6, ALLOWED),
        ({"day_budget": 1_000.0}, 20, 40, {"spent_today": 400.0}, 26, DAY_BUDGET),
        ({"day_budget": 1_000.0}, 20, 40, {"spent_today": 1_200.0}, 20, DAY_BUDGET),
        ({"trades_per_day": 10}, 2, 3, {"orders_today": 9}, 3, ALLOWED),
        ({"trades_per_day": 10}, 2, 3, {"orders_today": 10}, 2, TRADES_PER_DAY),
        ({"trades_per_day": 10}, 2, 0, {"orders_today": 10}, 0, ALLOWED),
        # three in five days below 25,000: a fourth could follow from anything opened now
        *(
            ({"max_day_trades": 3, "day_trade_equity": below}, 0, 5, facts, *said)
            for below, facts, said in (
                (25_000.0, {"day_trades": 2}, (5, ALLOWED)),
                (25_000.0, {"day_trades": 3}, (0, DAY_TRADES)),
                (25_000.0, {"day_trades": 3, "equity": 25_000.0}, (5, ALLOWED)),
                (0.0, {"day_trades": 3, "equity": 90_000.0}, (0, DAY_TRADES)),
            )
        ),
        # the bar of the loss and the two after it
        ({"cooldown_bars": 3}, 0, 5, {"bars_since_loss": 1}, 0, COOLDOWN),
        ({"cooldown_bars": 3}, 0, 5, {"bars_since_loss": 3}, 0, COOLDOWN),
        ({"cooldown_bars": 3}, 0, 5, {"bars_since_loss": 4}, 5, ALLOWED),
        ({"cooldown_bars": 3}, 0, 5, {"bars_since_loss": 0}, 5, ALLOWED),
        # held for 24 bars: closed whatever is asked, but for a flip
        ({"max_holding_bars": 24}, 5, 5, {"age": 23}, 5, UNCHANGED),
        ({"max_holding_bars": 24}, 5, 5, {"age": 24}, 0, MAX_HOLDING),
        ({"max_holding_bars": 24}, -5, -9, {"age": 24}, 0, MAX_HOLDING),
        ({"max_holding_bars": 24}, 5, 3, {"age": 30}, 0, MAX_HOLDING),
        ({"max_holding_bars": 24}, 5, 0, {"age": 30}, 0, ALLOWED),
        ({"max_holding_bars": 24}, 5, -5, {"age": 30}, -5, ALLOWED),
        ({"max_holding_bars": 24}, 0, 5, {"age": 30}, 5, ALLOWED),
        ({"max_holding_bars": 24}, 5, 5, {"age": 24, "barred": MAX_SPREAD}, 0, MAX_HOLDING),
    ],
)
def test_each_check(rules, held, target, facts, steps, reason):
    assert asked(held, target, rules, facts) == (steps, reason)


@pytest.mark.parametrize(
    ("rules", "held", "target", "facts", "steps", "reason"),
    [
        # 50 steps by the position, 40 by the lots, 45 by the class
        (
            {"max_position": 0.5, "max_lots": 0.4, "max_class_exposure": 0.45},
            0,
            60,
            {},
            40,
            MAX_LOTS,
        ),
        # both 50: the first of the list
        ({"max_position": 0.5, "max_lots": 0.5}, 0, 60, {}, 50, MAX_POSITION),
        ({"max_lots": 0.5, "max_class_exposure": 0.5}, 0, 60, {}, 50, MAX_LOTS),
        # a no is tighter than any number
        ({"max_lots": 0.5, "min_balance": 1e6}, 0, 60, {}, 0, MIN_BALANCE),
        ({"cooldown_bars": 9, "min_balance": 1e6}, 0, 6, {"bars_since_loss": 1}, 0, MIN_BALANCE),
        # a budget that would allow more than the exposure decides nothing
        ({"max_exposure": 0.3, "order_budget": 2_500.0}, 20, 60, {}, 30, MAX_EXPOSURE),
    ],
)
def test_the_tightest_decides(rules, held, target, facts, steps, reason):
    assert asked(held, target, rules, facts) == (steps, reason)


@pytest.mark.parametrize(
    ("held", "target", "steps", "reason"),
    [
        (0, 5, 0, OUT_OF_HOURS),
        (5, 9, 5, OUT_OF_HOURS),
        (5, -9, 0, OUT_OF_HOURS),
        (5, 3, 3, ALLOWED),
        (5, 0, 0, ALLOWED),
        (5, 5, 5, UNCHANGED),
    ],
)
def test_a_gate_bars_increases_alone(held, target, steps, reason):
    assert asked(held, target, {}, {"barred": OUT_OF_HOURS}) == (steps, reason)


# Numbers that are sums of few powers of two, so that both sides of a comparison are exact.
EIGHTHS = st.integers(1, 24).map(lambda n: n / 8)
RULES = st.fixed_dictionaries(
    {"max_exposure": EIGHTHS},
    optional={
        "max_position": EIGHTHS,
        "max_lots": EIGHTHS,
        "max_daily_volume_share": st.sampled_from([0.125, 0.25]),
        "max_class_exposure": EIGHTHS,
        "use_leverage": st.just(1),
        "max_correlation": st.just(0.5),
        "correlation_rejects": st.integers(0, 1),
        "min_balance": st.integers(1, 1_500),
        "max_positions": st.integers(1, 3),
        "order_budget": st.integers(1, 4_096),
        "day_budget": st.integers(1, 4_096),
        "trades_per_day": st.integers(1, 3),
        "max_day_trades": st.integers(1, 3),
        "day_trade_equity": st.integers(0, 1_500),
        "cooldown_bars": st.integers(1, 3),
        "max_holding_bars": st.integers(5, 9),
    },
)
FACTS = st.fixed_dictionaries(
    {
        "step_notional": st.sampled_from([16.0, 32.0]),
        "step_margin": st.sampled_from([1.0, 16.0]),
        "step_lots": st.just(0.125),
        "equity": st.integers(-64, 1_536),
        "balance": st.integers(0, 1_536),
        "others_gross": st.integers(0, 2_048),
        "others_class": st.integers(0, 1_024),
        "others_margin": st.integers(0, 1_024),
        "others_open": st.integers(0, 4),
        "correlation": st.sampled_from([-0.75, 0.25, 0.5, 0.75]),
        "day_volume": st.integers(0, 256),
        "orders_today": st.integers(0, 4),
        "spent_today": st.integers(0, 2_048),
        "day_trades": st.integers(0, 4),
        "bars_since_loss": st.integers(0, 4),
        "age": st.integers(0, 6),
        "leverage": st.sampled_from([0.0, 0.5, 1.5]),
        "barred": st.sampled_from([0, 0, 0, MAX_SPREAD]),
    }
)
STEPS = st.integers(-90, 90)


def broken(rules: dict[str, float], facts: dict[str, float], kept: int, steps: int) -> set[int]:
    """Reasons against holding ``steps`` where ``kept`` of them need no leave, said anew."""
    r, f, n = {**dict.fromkeys(LIMITS.names, 0.0), **rules}, facts, abs(steps)
    value, more = n * f["step_notional"], (n - kept) * f["step_notional"]
    said = {
        MAX_EXPOSURE: f["others_gross"] + value > r["max_exposure"] * f["equity"],
        MARGIN: f["others_margin"] + n * f["step_margin"] > f["equity"],
        MAX_POSITION: 0 < r["max_position"] and value > r["max_position"] * f["equity"],
        MAX_LOTS: 0 < r["max_lots"] < n * f["step_lots"],
        MAX_VOLUME: 0 < r["max_daily_volume_share"] * f["day_volume"] < n,
        MAX_CLASS_EXPOSURE: 0 < r["max_class_exposure"]
        and f["others_class"] + value > r["max_class_exposure"] * f["equity"],
        MAX_LEVERAGE: r["use_leverage"]
        and 0 < f["leverage"]
        and value > f["leverage"] * f["equity"],
        CORRELATED: r["max_correlation"] and r["correlation_rejects"] and f["correlation"] > 0.5,
        MIN_BALANCE: f["balance"] < r["min_balance"],
        MAX_POSITIONS: 0 < r["max_positions"] <= f["others_open"] and kept == 0,
        ORDER_BUDGET: 0 < r["order_budget"] < more,
        DAY_BUDGET: 0 < r["day_budget"] < f["spent_today"] + more,
        TRADES_PER_DAY: 0 < r["trades_per_day"] <= f["orders_today"],
        DAY_TRADES: 0 < r["max_day_trades"] <= f["day_trades"]
        and (r["day_trade_equity"] == 0 or f["equity"] < r["day_trade_equity"]),
        COOLDOWN: 0 < f["bars_since_loss"] <= r["cooldown_bars"],
        MAX_SPREAD: f["barred"] == MAX_SPREAD,
    }
    return {reason for reason, true in said.items() if true}


@given(STEPS, STEPS, RULES, FACTS)
def test_as_much_as_the_limits_allow_and_not_a_step_more(held, target, rules, facts):
    steps, reason = asked(held, target, rules, facts)
    kept = abs(held) if held * target > 0 else 0
    overdue = 0 < rules.get("max_holding_bars", 0) <= facts["age"]
    if overdue and kept:
        assert (steps, reason) == (0, MAX_HOLDING)
    elif target == held:
        assert (steps, reason) == (held, UNCHANGED)
    elif abs(target) <= kept:
        assert (steps, reason) == (target, ALLOWED)
    else:
        assert kept <= abs(steps) <= abs(target) and steps * target >= 0
        if abs(steps) > kept:
            assert not broken(rules, facts, kept, steps)
        if steps == target:
            assert reason == ALLOWED
        else:
            assert reason in broken(rules, facts, kept, abs(steps) + 1)


@given(STEPS, RULES, FACTS, st.data())
def test_reducing_is_always_allowed(held, rules, facts, data):
    target = data.draw(st.integers(min(held, 0), max(held, 0)))
    steps, _ = asked(held, target, {**rules, "max_holding_bars": 0}, facts)
    assert steps == target


def test_the_table_holds_every_check_and_permitted_asks_each():
    """The cap of each alone decides, with its own reason."""
    binding = {
        "max_exposure": ({"max_exposure": 0.1}, {}),
        "margin": ({}, {"step_margin": 1_000.0}),
        "max_position": ({"max_position": 0.1}, {}),
        "max_lots": ({"max_lots": 0.1}, {}),
        "max_daily_volume_share": ({"max_daily_volume_share": 0.1}, {"day_volume": 100.0}),
        "max_class_exposure": ({"max_class_exposure": 0.1}, {}),
        "leverage": ({"use_leverage": 1}, {"leverage": 0.1}),
        "max_correlation": ({"max_correlation": 0.5, "correlation_rejects": 1}, {"correlation": 1}),
        "min_balance": ({"min_balance": 1e6}, {}),
        "max_positions": ({"max_positions": 1}, {"others_open": 1}),
        "order_budget": ({"order_budget": 1_000.0}, {}),
        "day_budget": ({"day_budget": 1_000.0}, {}),
        "trades_per_day": ({"trades_per_day": 1}, {"orders_today": 1}),
        "max_day_trades": ({"max_day_trades": 1}, {"day_trades": 1}),
        "cooldown_bars": ({"cooldown_bars": 1}, {"bars_since_loss": 1}),
        "max_holding_bars": ({"max_holding_bars": 1}, {"age": 1}),
    }
    assert [check.name for check in CHECKS] == list(binding)
    for check in CHECKS:
        rules, facts = binding[check.name]
        held = 1 if check.name == "max_holding_bars" else 0
        cap = check.function(limits(**rules), order(held, 20, **facts))
        assert 0.0 <= cap < 20.0, check.name
        assert permitted(limits(**rules), order(held, 20, **facts)) == (int(cap), check.reason)
        free = limits(checks=1) if check.name != "margin" else limits(**rules)
        passed = check.function(free, order(held, 20))
        assert passed == inf, check.name
    ruled = {name for rules, _ in binding.values() for name in rules} | {"day_trade_equity"}
    assert {name for name, _ in LIMIT_OPTIONS} == (ruled | {"checks"}) - {"max_exposure"}
    assert len({check.reason for check in CHECKS}) == len(CHECKS)


def test_the_page_on_risk_has_a_row_for_every_check():
    page = (Path(__file__).parents[2] / "docs" / "risk.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    for check in CHECKS:
        name = check.field.removeprefix("limits.")
        told = [row for row in rows if re.search(f"`{name}[:`]", row.split("|")[1])]
        assert [row.split("|")[3].strip() for row in told] == [REASONS[check.reason]], name


def test_a_fact_that_does_not_exist():
    with pytest.raises(
        ConfigError, match="unknown fact of an order 'equty'; did you mean 'equity'"
    ):
        order_of(equty=1.0)


def test_every_reason_code_has_its_words():
    assert len(set(REASONS)) == len(REASONS) == 37
