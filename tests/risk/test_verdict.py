from __future__ import annotations

from math import inf, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtquant.errors import ConfigError
from mtquant.risk.checks import CHECKS, LIMITS, permitted
from mtquant.risk.gates import GATES, Gates, Prohibition
from mtquant.risk.order import order_of
from mtquant.risk.reasons import (
    ALLOWED,
    CORRELATED,
    MAX_EXPOSURE,
    MAX_HOLDING,
    MAX_LOTS,
    MAX_SPREAD,
    ORDER_BUDGET,
    OUT_OF_HOURS,
    PROHIBITED,
)
from mtquant.risk.verdict import PreTradeChecker, Verdict

pytestmark = pytest.mark.nojit

# Every check on, and none near its limit for 20 steps of 100 on an account of 10,000.
WIDE: dict[str, float] = {
    "max_exposure": 2.0,
    "checks": 1,
    "max_position": 0.5,
    "max_lots": 0.4,
    "max_daily_volume_share": 0.05,
    "max_class_exposure": 0.4,
    "use_leverage": 1,
    "max_correlation": 0.7,
    "correlation_rejects": 1,
    "min_balance": 500.0,
    "max_positions": 3,
    "order_budget": 2_500.0,
    "day_budget": 5_000.0,
    "trades_per_day": 10,
    "max_day_trades": 3,
    "day_trade_equity": 25_000.0,
    "cooldown_bars": 4,
    "max_holding_bars": 24,
}
FACTS: dict[str, float] = {
    "step_notional": 100.0,
    "step_margin": 1.0,
    "step_lots": 0.01,
    "equity": 10_000.0,
    "balance": 9_000.0,
    "others_gross": 3_000.0,
    "others_class": 1_000.0,
    "others_margin": 30.0,
    "others_open": 2,
    "correlation": 0.25,
    "day_volume": 1_000.0,
    "orders_today": 4,
    "spent_today": 1_500.0,
    "day_trades": 1,
    "bars_since_loss": 8,
    "age": 6,
    "leverage": 1.0,
}
# Every gate on, and none near its limit at what ``READ`` has read.
EVERY_GATE = Gates(
    max_spread_fraction=0.02,
    max_spread_points=30.0,
    min_volume=5.0,
    min_day_value=1e6,
    min_price=5.0,
    price_band=0.1,
    hours={"mon-fri": "09:30-16:00"},
    prohibited=(Prohibition("*", 0, 1, "long ago"),),
)
READ: dict[str, float] = {
    "max_spread_points": 12.0,
    "max_spread_fraction": 0.001,
    "min_volume": 7.5,
    "min_day_value": 2e6,
    "min_price": 100.0,
    "hours": 0.0,
    "prohibited": 0.0,
    "price_band": nan,  # shows at the open
}


def read(**changes: float) -> np.ndarray:
    return np.array([{**READ, **changes}[gate.name] for gate in GATES])


def judged(held: int, target: int, rules: dict[str, float] | None = None, **facts: float):
    checker = PreTradeChecker({**WIDE, **(rules or {})}, EVERY_GATE)
    order = order_of(held=held, target=target, **{**FACTS, **facts})[0]
    return checker.check(order, read(hours=float(facts.get("barred") == OUT_OF_HOURS)))


def found(verdict: Verdict) -> dict[str, tuple[str, float, float]]:
    return {one.name: one[1:] for one in verdict.findings}


def test_every_check_with_its_number_and_its_limit():
    verdict = judged(5, 20)
    assert (verdict.allowed_steps, verdict.reason) == (20, ALLOWED)
    numbers = {
        "max_exposure": (0.5, 2.0),  # 3,000 and 20 steps of 100
        "margin": (0.005, 1.0),
        "max_position": (0.2, 0.5),
        "max_lots": (0.2, 0.4),
        "max_daily_volume_share": (0.02, 0.05),
        "max_class_exposure": (0.3, 0.4),
        "leverage": (0.2, 1.0),
        "max_correlation": (0.25, 0.7),
        "min_balance": (9_000.0, 500.0),
        "max_positions": (2.0, 3.0),
        "order_budget": (1_500.0, 2_500.0),  # 15 steps more than are held
        "day_budget": (3_000.0, 5_000.0),
        "trades_per_day": (4.0, 10.0),
        "max_day_trades": (1.0, 3.0),
        "cooldown_bars": (8.0, 4.0),
        "max_holding_bars": (6.0, 24.0),
        "max_spread_points": (12.0, 30.0),
        "max_spread_fraction": (0.001, 0.02),
        "min_volume": (7.5, 5.0),
        "min_day_value": (2e6, 1e6),
        "min_price": (100.0, 5.0),
        "hours": (0.0, 0.0),
        "prohibited": (0.0, 0.0),
        "price_band": (nan, 0.1),
    }
    assert [one.name for one in verdict.findings] == list(numbers)
    assert list(numbers) == [*(check.name for check in CHECKS), *(gate.name for gate in GATES)]
    for name, (outcome, number, limit) in found(verdict).items():
        assert outcome == "pass", name
        assert number == pytest.approx(numbers[name][0], nan_ok=True), name
        assert limit == numbers[name][1], name
    assert str(verdict) == "20 lot steps: allowed"


@pytest.mark.parametrize(
    ("rules", "held", "target", "facts", "steps", "reason", "told"),
    [
        # steps: 50 by position and volume, 40 by lots and class, 35 by the day, 25 by the order
        (
            {"max_class_exposure": 0.5},
            0,
            60,
            {},
            25,
            ORDER_BUDGET,
            {
                "max_position": ("reduce", 0.6, 0.5),
                "max_lots": ("reduce", 0.6, 0.4),
                "max_daily_volume_share": ("reduce", 0.06, 0.05),
                "max_class_exposure": ("reduce", 0.7, 0.5),
                "order_budget": ("reduce", 6_000.0, 2_500.0),
                "day_budget": ("reduce", 7_500.0, 5_000.0),
            },
        ),
        # the same bet: rejected, or only remarked on
        (
            {},
            10,
            20,
            {"correlation": 0.9},
            10,
            CORRELATED,
            {"max_correlation": ("deny", 0.9, 0.7)},
        ),
        (
            {"correlation_rejects": 0},
            10,
            20,
            {"correlation": 0.9},
            20,
            ALLOWED,
            {"max_correlation": ("warn", 0.9, 0.7)},
        ),
        # volume that nobody recorded
        (
            {},
            10,
            20,
            {"day_volume": 0.0},
            20,
            ALLOWED,
            {"max_daily_volume_share": ("warn", inf, 0.05)},
        ),
        # above the limit and coming down: nothing is stopped
        (
            {"max_class_exposure": 0.6},
            44,
            41,
            {},
            41,
            ALLOWED,
            {"max_lots": ("warn", 0.41, 0.4)},
        ),
        # no step more, and one step more
        ({"max_lots": 0.1}, 10, 20, {}, 10, MAX_LOTS, {"max_lots": ("deny", 0.2, 0.1)}),
        ({"max_lots": 0.11}, 10, 20, {}, 11, MAX_LOTS, {"max_lots": ("reduce", 0.2, 0.11)}),
        ({}, 10, 10, {"age": 24}, 0, MAX_HOLDING, {"max_holding_bars": ("deny", 24.0, 24.0)}),
        # a gate bars the increase of a flip, and no reduction
        (
            {},
            10,
            -20,
            {"barred": OUT_OF_HOURS},
            0,
            OUT_OF_HOURS,
            {"hours": ("deny", 1.0, 0.0)},
        ),
        ({}, 9, 5, {"barred": OUT_OF_HOURS}, 5, ALLOWED, {"hours": ("warn", 1.0, 0.0)}),
    ],
)
def test_what_stands_out(rules, held, target, facts, steps, reason, told):
    verdict = judged(held, target, rules, **facts)
    assert (verdict.allowed_steps, verdict.reason) == (steps, reason)
    for name, (outcome, number, limit) in found(verdict).items():
        expected = told.get(name, ("pass", number, limit))
        assert outcome == expected[0], name
        assert (number, limit) == pytest.approx(expected[1:], nan_ok=True), name


def test_a_ruined_account_holds_infinitely_much():
    verdict = judged(0, 20, equity=0.0)
    assert (verdict.allowed_steps, verdict.reason) == (0, MAX_EXPOSURE)
    assert found(verdict)["max_exposure"] == ("deny", inf, 2.0)


def test_what_is_off_says_so():
    checker = PreTradeChecker({"max_exposure": 2.0})
    verdict = checker.check(order_of(target=20, **FACTS))
    on = {"max_exposure", "margin"}
    for one in verdict.findings:
        if one.name in on:
            assert one.outcome == "pass"
        else:
            assert one[1:] == ("off", 0.0, 0.0), one.name
    unswitched = PreTradeChecker({**WIDE, "checks": 0}).check(order_of(target=20, **FACTS))
    assert {one.name for one in unswitched.findings if one.outcome != "off"} == on


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("max_spread_points", 30.1),
        ("max_spread_fraction", 0.021),
        ("min_volume", 4.9),
        ("min_day_value", 999_999.0),
        ("min_price", 4.99),
        ("hours", 1.0),
        ("prohibited", 2.0),
        ("price_band", nan),
    ],
)
def test_each_gate_alone_denies_by_its_name_and_number(name, wrong):
    """Of the price band the kernel alone knows, so there the order's code says it."""
    gate = next(gate for gate in GATES if gate.name == name)
    checker = PreTradeChecker(WIDE, EVERY_GATE)
    order = order_of(held=5, target=20, **{**FACTS, "barred": gate.code})
    verdict = checker.check(order, read(**{name: wrong}))
    assert (verdict.allowed_steps, verdict.reason) == (5, gate.code)
    limit = gate.limit(EVERY_GATE)
    for one in verdict.findings:
        assert one.outcome == ("deny" if one.name == name else "pass"), one.name
    assert found(verdict)[name] == pytest.approx(("deny", wrong, limit), nan_ok=True)
    assert f"; {name} {wrong:.6g} against {limit:.6g} (deny)" in str(verdict)
    less = PreTradeChecker(WIDE, EVERY_GATE).check(
        order_of(held=20, target=5, **{**FACTS, "barred": gate.code}), read(**{name: wrong})
    )
    assert less.reason == ALLOWED and found(less)[name][0] == "warn"


def test_what_was_not_read_is_no_number_and_the_code_names_the_gate():
    order = order_of(held=5, target=20, **{**FACTS, "barred": PROHIBITED})
    told = found(PreTradeChecker(WIDE, EVERY_GATE).check(order))
    for gate in GATES:
        outcome, number, _ = told[gate.name]
        assert np.isnan(number)
        assert outcome == ("deny" if gate.code == PROHIBITED else "pass"), gate.name


def test_gates_that_are_off_say_so():
    """Of the two limits on a spread the one that is set is named."""
    gates = Gates(max_spread_fraction=0.02)
    order = order_of(held=5, target=20, **{**FACTS, "barred": MAX_SPREAD})
    told = found(PreTradeChecker(WIDE, gates).check(order, read(max_spread_fraction=0.03)))
    assert told["max_spread_fraction"] == ("deny", 0.03, 0.02)
    for gate in GATES:
        if gate.name != "max_spread_fraction":
            assert told[gate.name] == ("off", 0.0, 0.0), gate.name


def test_it_reads_in_one_line():
    verdict = judged(0, 60, {"max_class_exposure": 9.0, "order_budget": 0.0, "day_budget": 0.0})
    assert str(verdict) == (
        "40 lot steps: maximum lots; max_position 0.6 against 0.5 (reduce), "
        "max_lots 0.6 against 0.4 (reduce), max_daily_volume_share 0.06 against 0.05 (reduce)"
    )


def test_limits_come_by_name_or_as_the_kernels_record():
    rules = np.zeros(1, [("capital", "f8"), *((n, LIMITS[n]) for n in LIMITS.names or ())])
    for name, value in {**WIDE, "capital": 1e6}.items():
        rules[name] = value
    asked = order_of(held=5, target=60, **FACTS)
    assert PreTradeChecker(rules[0]).check(asked) == PreTradeChecker(WIDE).check(asked[0])


def test_one_verdict_leaves_nothing_for_the_next():
    checker = PreTradeChecker(WIDE, EVERY_GATE)
    first = str(checker.check(order_of(target=20, **FACTS)))
    wrong = order_of(target=60, **{**FACTS, "barred": OUT_OF_HOURS, "day_volume": 0.0})
    checker.check(wrong, read(hours=1.0, min_price=1.0))
    assert str(checker.check(order_of(target=20, **FACTS))) == first


def test_what_is_no_order_and_what_are_no_limits():
    with pytest.raises(TypeError, match="a record of mtquant"):
        PreTradeChecker(WIDE).check(np.zeros(1, LIMITS))
    with pytest.raises(ConfigError, match="max_exposure"):
        PreTradeChecker({"max_lots": 1.0})


OPTIONS = st.sets(
    st.sampled_from([name for name in WIDE if name not in ("max_exposure", "checks")])
)
SOME = st.fixed_dictionaries(
    {
        "equity": st.sampled_from([-5.0, 0.0, 4_000.0, 10_000.0]),
        "step_margin": st.sampled_from([1.0, 100.0]),
        "others_gross": st.floats(0, 25_000),
        "others_class": st.floats(0, 5_000),
        "others_open": st.integers(0, 4),
        "correlation": st.sampled_from([0.0, 0.7, 0.9]),
        "day_volume": st.sampled_from([0.0, 500.0, 1_234.5]),
        "spent_today": st.floats(0, 6_000),
        "orders_today": st.integers(8, 11),
        "day_trades": st.integers(2, 4),
        "bars_since_loss": st.integers(0, 6),
        "age": st.integers(22, 25),
        "leverage": st.sampled_from([0.0, 0.25, 1.0]),
        "balance": st.sampled_from([499.0, 9_000.0]),
        "barred": st.sampled_from([0, 0, 0, OUT_OF_HOURS]),
    }
)
STEPS = st.integers(-80, 80)


@given(STEPS, STEPS, OPTIONS, SOME)
def test_it_decides_as_the_kernel_does(held, target, names, facts):
    on = {name: WIDE[name] for name in ("max_exposure", "checks", *names)}
    asked = order_of(held=held, target=target, **{**FACTS, **facts})
    rules = np.zeros(1, LIMITS)
    for name, value in on.items():
        rules[name] = value
    verdict = PreTradeChecker(on, EVERY_GATE).check(asked)
    steps, reason = permitted(rules[0], asked[0])
    assert verdict[:2] == (steps, reason)
    outcomes = {one.name: one.outcome for one in verdict.findings}
    stopped = {name for name, outcome in outcomes.items() if outcome in ("reduce", "deny")}
    kept = abs(held) if held * target > 0 else 0
    if reason == MAX_HOLDING:
        assert "max_holding_bars" in stopped
    elif steps == target:
        assert not stopped
    elif reason == OUT_OF_HOURS:
        assert outcomes["hours"] == "deny"
    else:
        decisive = next(check.name for check in CHECKS if check.reason == reason)
        assert outcomes[decisive] == ("reduce" if abs(steps) > kept else "deny")
        if abs(steps) > kept:
            assert "deny" not in outcomes.values()
