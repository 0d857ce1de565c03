from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtquant.errors import ConfigError
from mtquant.features.audit import audit, audit_columns, rank_correlation, stability_index
from mtquant.features.base import Column
from mtquant.features.pipeline import FeaturePipeline
from mtquant.market.panel import Panel

ROWS = 1000


def noise(seed=0, rows=ROWS):
    return np.random.default_rng(seed).standard_normal(rows)


def findings(*columns, train=500, symbols=1):
    """Kind and column of what is found; a column is a series with its bounds."""
    named = [
        Column(f"c{k}", "test", low, high, fitted=not np.isfinite(low))
        for k, (_, low, high) in enumerate(columns)
    ]
    values = np.stack([series for series, _, _ in columns], axis=1)
    return audit_columns(values, named, train, symbols)


def free(series):
    return series, -np.inf, np.inf


def kinds(*columns, **settings):
    return [(f.kind, f.column) for f in findings(*columns, **settings)]


def test_sound_columns_give_nothing():
    assert kinds(free(noise(1)), free(noise(2)), (np.sin(noise(3)), -1.0, 1.0)) == []


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_counted_and_placed(bad):
    series = noise()
    series[[7, 9]] = bad
    (found,) = findings(free(series), free(noise(1)))
    assert (found.kind, found.column, found.grave) == ("not finite", "c0", True)
    assert found.value == pytest.approx(0.002)
    assert "row 7" in found.sentence and "0.2%" in found.sentence


@pytest.mark.parametrize("value", [-1.01, 1.01])
def test_a_value_outside_its_declared_range_is_found_on_either_side(value):
    series = np.sin(noise())
    series[40] = value
    (found,) = findings((series, -1.0, 1.0))
    assert (found.kind, found.value) == ("range", value)


def test_the_bounds_themselves_are_inside():
    assert kinds((np.resize([-1.0, 0.3, 1.0], ROWS), -1.0, 1.0)) == []


def test_a_constant_column_is_found_up_to_rounding():
    assert kinds(free(np.full(ROWS, 5.0))) == [("constant", "c0")]
    assert kinds(free(5.0 + 1e-13 * np.sign(noise()))) == [("constant", "c0")]
    assert kinds(free(5.0 + 1e-9 * noise())) == []


@pytest.mark.parametrize(("value", "says"), [(0.0, "never opens"), (1.0, "never closes")])
def test_a_gate_that_never_moves_is_named_so(value, says):
    (found,) = findings((np.full(ROWS, value), 0.0, 1.0))
    assert (found.kind, found.value) == ("gate", value)
    assert says in found.sentence


def test_a_gate_that_opens_once_is_no_finding():
    gate = np.zeros(ROWS)
    gate[3] = 1.0
    assert kinds((gate, 0.0, 1.0)) == []


def test_a_column_that_says_the_same_is_found_with_its_twin():
    one = noise()
    found = findings(free(one), free(noise(1)), free(-np.exp(one)), free(one.copy()))
    assert [(f.kind, f.column, f.grave) for f in found] == [
        ("duplicate", "c2", False),
        ("duplicate", "c3", True),
        ("duplicate", "c3", False),
    ]
    assert [round(f.value, 9) for f in found] == [-1.0, 1.0, -1.0]
    assert "'c0', row for row" in found[1].sentence


def test_related_columns_are_not_the_same():
    one = noise()
    assert kinds(free(one), free(one + 0.3 * noise(1))) == []  # rank correlation near 0.955


def test_columns_of_two_symbols_are_not_compared():
    one = noise()
    assert kinds(free(one), free(one.copy()), symbols=2) == []


def test_rank_correlation_by_hand_with_ties():
    """Ranks 1, 2.5, 2.5, 4 and 2, 1, 3, 4: 3 / sqrt(4.5 * 5)."""
    values = np.array([[1.0, 20.0], [2.0, 10.0], [2.0, 30.0], [9.0, 40.0]])
    assert rank_correlation(values)[0, 1] == pytest.approx(3.0 / np.sqrt(4.5 * 5.0), rel=1e-12)


def test_stability_index_by_hand():
    """A flag that is up in 20 of 100 rows, then in 50: 0.3 ln(0.5/0.2) - 0.3 ln(0.5/0.8)."""
    train, test = np.arange(100) < 20, np.arange(100) < 50
    index = stability_index(train.astype(float), test.astype(float))
    assert index == pytest.approx(0.3 * np.log(2.5) + 0.3 * np.log(1.6), rel=1e-12)


def test_stability_index_over_deciles():
    """All rows in the top decile: nine bins lose 0.1 each, the last gains 0.9."""
    train, test = np.arange(1000.0), np.full(50, 990.0)
    lost = 9 * (1e-4 - 0.1) * np.log(1e-4 / 0.1)
    assert stability_index(train, test) == pytest.approx(lost + 0.9 * np.log(10.0), rel=1e-9)


@given(st.lists(st.sampled_from([0.0, 1.0, 2.5, -3.0]), min_size=1, max_size=60))
def test_a_sample_does_not_drift_from_itself(values):
    sample = np.array(values)
    assert stability_index(sample, np.tile(sample, 2)) == pytest.approx(0.0, abs=1e-12)


def test_drift_is_graded():
    moved = noise()
    moved[500:] += 1.5
    assert kinds(free(moved)) == [("drift", "c0")]
    slightly = noise()
    slightly[500:] += 0.4  # a PSI of about 0.16
    (found,) = findings(free(slightly))
    assert (found.kind, found.grave) == ("shift", False)
    assert 0.10 <= found.value <= 0.25


def test_a_constant_that_changes_has_drifted():
    assert ("drift", "c0") in kinds(free(np.where(np.arange(ROWS) < 500, 1.0, 2.0)))


def test_too_short_a_test_is_not_judged():
    moved = noise()
    moved[-99:] += 3.0
    assert kinds(free(moved), train=ROWS - 99) == []
    moved[-100] += 3.0
    assert kinds(free(moved), train=ROWS - 100) == [("drift", "c0")]


def test_a_pipeline_is_fitted_on_its_training_rows_and_audited(walk):
    bars = walk(1200)
    pipeline = FeaturePipeline([{"rsi": {"period": 14}}, "returns", "hour"], ["XAUUSD"])
    found = audit(pipeline, Panel([bars]), 800)
    assert {f.column for f in found} <= set(pipeline.names)
    assert not [f for f in found if f.kind in {"not finite", "range", "constant", "gate"}]
    with pytest.raises(ConfigError, match="train_rows is 1201"):
        audit(pipeline, Panel([bars]), 1201)


def test_two_periods_that_say_the_same_are_found(walk):
    pipeline = FeaturePipeline(
        [{"rsi": {"period": 14}}, {"rsi": {"period": 15}}, "ibs"], ["XAUUSD"]
    )
    found = [f for f in audit(pipeline, Panel([walk(1500)]), 1000) if f.kind == "duplicate"]
    assert [f.row()[:2] for f in found] == [("duplicate", "rsi_15")]
    assert "'rsi_14'" in found[0].sentence


def test_rare_columns_are_not_the_same_for_being_rare_together():
    """Nine rows of ten are 0 in both; where they are not, they say different things."""
    rng = np.random.default_rng(0)
    event = rng.random(4000) < 0.1
    period, phase = event * rng.uniform(5, 20, 4000), event * rng.uniform(0, 1, 4000)
    columns = tuple(Column(name, name) for name in ("period", "phase", "double"))
    values = np.stack([period, phase, 2.0 * period], axis=1)
    found = [f for f in audit_columns(values, columns, 2000) if f.kind == "duplicate"]
    assert [f.column for f in found] == ["double"]
