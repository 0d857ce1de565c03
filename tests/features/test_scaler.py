from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtquant.errors import ConfigError, DataError
from mtquant.features.base import Column
from mtquant.features.scaler import CLIP, Scaler

FREE = Column("free", "any")
FIXED = Column("fixed", "bounded", 0.0, 100.0, fitted=False)


def test_a_normal_column_gets_unit_width():
    values = np.random.default_rng(0).normal(7.0, 3.0, (20_000, 1))
    scaled = Scaler.fit(values, [FREE]).transform(values)
    assert scaled.dtype == np.float32
    assert scaled.mean() == pytest.approx(0.0, abs=0.03)
    assert scaled.std() == pytest.approx(1.0, abs=0.03)


def test_a_few_monstrous_values_change_little_and_are_cut():
    clean = np.random.default_rng(0).standard_normal((5000, 1))
    dirty = clean.copy()
    dirty[::500] = 1e9
    a, b = Scaler.fit(clean, [FREE]), Scaler.fit(dirty, [FREE])
    assert b.width[0] == pytest.approx(a.width[0], rel=0.02)
    assert b.transform(dirty).max() == CLIP
    assert b.transform(-dirty).min() == -CLIP


def test_a_bounded_column_is_mapped_by_its_bounds_alone():
    scaler = Scaler.fit(np.array([[40.0], [41.0]]), [FIXED])
    np.testing.assert_array_equal(
        scaler.transform(np.array([[0.0], [50.0], [100.0]])).ravel(), [-1.0, 0.0, 1.0]
    )


def test_a_constant_column_becomes_zero_and_rounding_is_not_blown_up():
    values = np.full((100, 2), 3.0)
    values[::2, 1] += 4e-16
    scaled = Scaler.fit(values, [FREE, Column("noise", "any")]).transform(values)
    assert np.abs(scaled).max() < 1e-12


def test_a_mostly_constant_column_falls_back_to_its_deviation():
    values = np.zeros((100, 1))
    values[:3] = 10.0
    scaler = Scaler.fit(values, [FREE])
    assert (scaler.centre[0], scaler.width[0]) == (values.mean(), values.std())


def test_warm_up_rows_stay_nan():
    scaler = Scaler.fit(np.array([[0.0], [1.0]]), [FREE])
    assert np.isnan(scaler.transform(np.array([[np.nan]])))[0, 0]


@given(
    st.lists(
        st.floats(-1e12, 1e12, allow_nan=False).map(lambda x: [x]), min_size=2, max_size=40
    ).map(np.array)
)
def test_a_round_trip_through_json_keeps_every_bit(values):
    scaler = Scaler.fit(values, [FREE])
    again = Scaler.from_dict(json.loads(json.dumps(scaler.to_dict())))
    assert again.names == scaler.names
    np.testing.assert_array_equal(again.centre, scaler.centre)
    np.testing.assert_array_equal(again.width, scaler.width)
    assert np.abs(scaler.transform(values)).max() <= CLIP


def test_bad_training_rows_are_refused_by_name():
    with pytest.raises(DataError, match="column 'free' is not finite"):
        Scaler.fit(np.array([[0.0], [np.inf]]), [FREE])
    with pytest.raises(DataError, match="no rows"):
        Scaler.fit(np.empty((0, 1)), [FREE])


@pytest.mark.parametrize(
    "change",
    [
        {"width": [0.0]},
        {"width": [1.0, 1.0]},
        {"centre": [float("nan")]},
        {"centre": ["much"]},
        {"names": None},
    ],
)
def test_a_damaged_record_is_refused(change):
    good = Scaler.fit(np.array([[0.0], [1.0]]), [FREE]).to_dict()
    with pytest.raises(DataError, match="stored scaler"):
        Scaler.from_dict(good | change)


def test_a_column_that_is_not_fitted_needs_bounds():
    with pytest.raises(ConfigError, match="needs finite bounds"):
        Column("open_end", "bounded below only", low=0.0, fitted=False)
