import numpy as np
import pyarrow as pa
import pytest

from mtquant.errors import DataError
from mtquant.market.raw import Origin
from mtquant.market.timestamps import Stamps, parse_stamps


def read(*values: object) -> Stamps:
    column = pa.array(list(values))
    return parse_stamps(column, Origin("f.csv", "line", np.arange(2, 2 + len(values))))


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-31 23:05",
        "2024-01-31T23:05:00",
        "2024.01.31 23:05:00.000",
        "2024/1/31 23:05",
        "31.01.2024 23:05:00.000",
        "20240131 230500",
        "202401312305",
        "2024-01-31 11:05 PM",
    ],
)
def test_naive_layouts(text: str) -> None:
    stamps = read(text, text)
    assert stamps.ns.tolist() == [1_706_742_300 * 10**9] * 2
    assert not stamps.aware and not stamps.epoch


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-31T23:05:00Z",
        "2024-02-01 01:05:00+02:00",
        "31.01.2024 18:05:00.000 GMT-0500",
        "2024-01-31 23:05:00 UTC",
    ],
)
def test_aware_layouts(text: str) -> None:
    stamps = read(text)
    assert stamps.ns.tolist() == [1_706_742_300 * 10**9]
    assert stamps.aware


@pytest.mark.parametrize(
    "value",
    [1706742300, "1706742300", 1706742300000, "1706742300000.0", 1706742300.0, 1706742300 * 10**9],
)
def test_epochs_in_any_unit(value: object) -> None:
    stamps = read(value)
    assert stamps.ns.tolist() == [1_706_742_300 * 10**9]
    assert stamps.epoch


def test_seconds_and_milliseconds_may_be_mixed() -> None:
    assert np.diff(read(1706742300, 1706745900000).ns).tolist() == [3600 * 10**9]


def test_fractions_are_kept() -> None:
    assert read("2024-01-31 23:05:00.25").ns.tolist() == [1_706_742_300_250_000_000]


def test_slashes_are_ordered_by_the_whole_column() -> None:
    assert read("01/02/2024", "13/02/2024").ns[0] == np.datetime64("2024-02-01", "ns").astype(int)
    assert read("01/02/2024", "01/13/2024").ns[0] == np.datetime64("2024-01-02", "ns").astype(int)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (("01/02/2024", "02/03/2024"), "line 2: no date of the file tells"),
        (("2024-02-29", "2023-02-29"), "line 3: '2023-02-29' is not in the calendar"),
        (("2024-01-01 23:00", "2024-01-01 24:00"), "line 3.*calendar"),
        (("2024-01-01", "yesterday"), "line 3: cannot read 'yesterday'"),
        (("2024-01-01 00:00Z", "2024-01-01 01:00"), "line 3: .* lacks the offset"),
        (("1706742300", "17x"), "line 3: '17x' is no epoch"),
        ((1706742300, -5), "line 3: -5 is no epoch"),
        (("2024-01-01", None), "line 3: the time is missing"),
        (("1824-01-01", "2024-01-01"), "line 2: .*outside 1900-2099"),
    ],
)
def test_what_is_no_time_is_refused_with_its_line(values: tuple[object, ...], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(*values)
