from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtquant.risk.checks import LIMIT_FIELDS, REASONS, permitted

pytestmark = pytest.mark.nojit


def limits(max_exposure: float = 2.0) -> np.void:
    rules = np.zeros(1, np.dtype(LIMIT_FIELDS))
    rules["max_exposure"], rules["stop_out_level"] = max_exposure, 0.5
    return rules[0]


def verdict(
    held,
    target,
    *,
    tradable=True,
    others=0.0,
    equity=10_000.0,
    margin_share=0.01,
    step_notional=100.0,
    max_exposure=2.0,
) -> tuple[int, str]:
    steps, reason = permitted(
        limits(max_exposure), held, target, tradable, step_notional, others, equity, margin_share
    )
    return steps, REASONS[reason]


EXPOSURE, MARGIN = "reduced to the maximum exposure", "reduced to the free margin"


# A step is worth 100, equity is 10,000: twice the equity is 200 steps.
@pytest.mark.parametrize(
    ("held", "target", "state", "steps", "reason"),
    [
        (0, 200, {}, 200, "allowed"),
        (0, 201, {}, 200, EXPOSURE),
        (0, -201, {}, -200, EXPOSURE),
        (150, 500, {}, 200, EXPOSURE),
        (150, 150, {}, 150, "unchanged"),
        (0, 0, {"tradable": False}, 0, "unchanged"),
        # other symbols use the same limit
        (0, 200, {"others": 5_000.0}, 150, EXPOSURE),
        (0, 200, {"others": 20_000.0}, 0, EXPOSURE),
        (0, 200, {"others": 30_000.0}, 0, EXPOSURE),
        # above the limit: what is held stays, less is always allowed
        (300, 400, {}, 300, EXPOSURE),
        (300, 250, {}, 250, "allowed"),
        (-300, -400, {}, -300, EXPOSURE),
        (-300, -250, {"equity": -5.0}, -250, "allowed"),
        (300, 0, {"equity": 0.0}, 0, "allowed"),
        # a flip counts as an increase from zero; if it is denied the reduction stands
        (100, -250, {}, -200, EXPOSURE),
        (100, -150, {"others": 20_000.0}, 0, EXPOSURE),
        (-100, 50, {}, 50, "allowed"),
        # closed market: neither way
        (100, 0, {"tradable": False}, 100, "not tradable"),
        (100, 150, {"tradable": False}, 100, "not tradable"),
        # a ruined account opens nothing
        (0, 1, {"equity": 0.0}, 0, EXPOSURE),
        (0, -1, {"equity": -10.0}, 0, EXPOSURE),
        # no leverage: 10,000 buy 100 steps although twice the equity were allowed
        (0, 150, {"margin_share": 1.0}, 100, MARGIN),
        (0, -150, {"margin_share": 1.0}, -100, MARGIN),
        (0, 150, {"margin_share": 1.0, "others": 4_000.0}, 60, MARGIN),
        (0, 80, {"margin_share": 1.0}, 80, "allowed"),
        # margin for exactly what the exposure allows
        (0, 201, {"margin_share": 0.5}, 200, EXPOSURE),
        # a quotient of 200 - 1e-14 is 200
        (0, 200, {"equity": 9_999.999999999998}, 200, "allowed"),
    ],
)
def test_verdict(held, target, state, steps, reason):
    assert verdict(held, target, **state) == (steps, reason)


@given(
    st.integers(-400, 400),
    st.integers(-400, 400),
    st.floats(0, 30_000),
    st.floats(-1_000, 20_000),
    st.sampled_from([0.002, 0.01, 0.5, 1.0]),
)
def test_an_increase_fits_and_a_reduction_passes(held, target, others, equity, margin_share):
    steps, reason = verdict(held, target, others=others, equity=equity, margin_share=margin_share)
    kept = abs(held) if held * target > 0 else 0
    if abs(target) <= kept:
        assert steps == target
    assert steps * target >= 0
    assert abs(steps) <= max(abs(target), kept)
    if abs(steps) > kept:
        assert abs(steps) * 100.0 + others <= 2.0 * equity + 1e-4
        assert (abs(steps) * 100.0 + others) * margin_share <= equity + 1e-4
    if steps != target:
        assert reason in (EXPOSURE, MARGIN)


def test_every_reason_code_has_its_words():
    assert len(set(REASONS)) == len(REASONS) == 8
