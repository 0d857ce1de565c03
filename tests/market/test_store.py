import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mtquant.errors import DataError
from mtquant.market.bars import Bars
from mtquant.market.store import Source, Store
from mtquant.market.timeframe import Timeframe

Hourly = Callable[..., Bars]
SOURCE = Source("f.csv", "ny+7", 20, "first", "last", ("sort",))


def changed(bars: Bars, row: int, name: str = "close") -> Bars:
    columns = {key: np.array(column) for key, column in bars.columns()}
    columns[name][row] += 0.01
    return Bars(bars.symbol, bars.timeframe, **columns)


def test_what_goes_in_comes_out(tmp_path: Path, hourly: Hourly) -> None:
    store, bars = Store(tmp_path / "new"), hourly()
    added = store.add(bars, SOURCE)
    stored = store.read("XAUUSD", Timeframe.H1)
    assert stored.bars.fingerprint() == added.fingerprint == bars.fingerprint()
    assert (added.added, added.total, stored.sources) == (20, 20, (SOURCE,))
    assert store.list() == [("XAUUSD", Timeframe.H1)]
    assert [p.name for p in store.root.iterdir()] == ["XAUUSD_H1.parquet"]
    meta = pq.read_schema(added.path).metadata
    assert meta[b"mtquant.fingerprint"].decode() == added.fingerprint


def test_later_and_earlier_exports_extend(tmp_path: Path, hourly: Hourly) -> None:
    store, bars = Store(tmp_path), hourly(30)
    store.add(bars[10:20], SOURCE)
    assert store.add(bars[15:30], SOURCE).added == 10
    assert store.add(bars[0:12], SOURCE).added == 10
    assert store.get("XAUUSD", Timeframe.H1).fingerprint() == bars.fingerprint()
    again = store.add(bars[5:25], SOURCE)
    assert (again.added, again.total) == (0, 30)
    assert len(store.read("XAUUSD", Timeframe.H1).sources) == 3


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 39), st.integers(1, 40)), min_size=1, max_size=6))
def test_cut_in_any_way_the_store_holds_the_same_bars(
    tmp_path_factory: pytest.TempPathFactory, hourly: Hourly, cuts: list[tuple[int, int]]
) -> None:
    store, bars = Store(tmp_path_factory.mktemp("store")), hourly(40)
    low, high = 40, 0
    for start, length in cuts:
        end = min(start + length, 40)
        if low < high and (end < low or start > high):
            start, end = min(start, high), max(end, low)  # keep one connected stretch
        store.add(bars[start:end], SOURCE)
        low, high = min(low, start), max(high, end)
    assert store.get("XAUUSD", Timeframe.H1).fingerprint() == bars[low:high].fingerprint()


@pytest.mark.parametrize("column", ["open", "close", "volume", "spread"])
def test_history_is_never_rewritten_silently(tmp_path: Path, hourly: Hourly, column: str) -> None:
    store, bars = Store(tmp_path), hourly(30)
    store.add(bars[:20], SOURCE)
    other = changed(bars, 15, column)
    with pytest.raises(DataError, match=r"bar of 2024-01-08 21:00:00Z differs .*--replace"):
        store.add(other[10:], SOURCE)
    assert store.get("XAUUSD", Timeframe.H1).fingerprint() == bars[:20].fingerprint()
    added = store.add(other[10:], SOURCE, replace=True)
    assert (added.added, added.replaced, added.total) == (10, 10, 30)
    assert store.get("XAUUSD", Timeframe.H1).fingerprint() == other.fingerprint()


def test_a_bar_missing_on_either_side_is_a_difference(tmp_path: Path, hourly: Hourly) -> None:
    store, bars = Store(tmp_path), hourly(20)
    holed = Bars("XAUUSD", Timeframe.H1, **{name: np.delete(c, 7) for name, c in bars.columns()})
    store.add(holed, SOURCE)
    with pytest.raises(DataError, match="13:00:00Z is not stored"):
        store.add(bars, SOURCE)
    store.add(bars, SOURCE, replace=True)
    with pytest.raises(DataError, match="13:00:00Z is stored but not in the file"):
        store.add(holed, SOURCE)


def test_any_changed_value_or_record_is_noticed(tmp_path: Path, hourly: Hourly) -> None:
    store = Store(tmp_path)
    path = store.add(hourly(), SOURCE).path
    table = pq.read_table(path)
    close = table["close"].to_numpy().copy()
    close[3] += 0.01
    pq.write_table(table.set_column(4, "close", [close]), path)
    with pytest.raises(DataError, match="altered or damaged"):
        store.get("XAUUSD", Timeframe.H1)
    meta = dict(table.schema.metadata)
    sources = json.loads(meta[b"mtquant.sources"])
    sources[0]["clock"] = "utc"
    meta[b"mtquant.sources"] = json.dumps(sources).encode()
    pq.write_table(table.replace_schema_metadata(meta), path)
    with pytest.raises(DataError, match="altered or damaged"):
        store.get("XAUUSD", Timeframe.H1)


def test_no_flipped_byte_changes_bars_unnoticed(tmp_path: Path, hourly: Hourly) -> None:
    store, bars = Store(tmp_path), hourly()
    path = store.add(bars, SOURCE).path
    whole = path.read_bytes()
    refused = 0
    for position in np.linspace(0, len(whole) - 1, 150).astype(int):
        data = bytearray(whole)
        data[position] ^= 0x41
        path.write_bytes(bytes(data))
        try:
            assert store.get("XAUUSD", Timeframe.H1).fingerprint() == bars.fingerprint()
        except DataError:
            refused += 1
    assert refused > 50


def test_a_renamed_file_is_another_series(tmp_path: Path, hourly: Hourly) -> None:
    store = Store(tmp_path)
    path = store.add(hourly(), SOURCE).path
    path.rename(tmp_path / "XAUUSD_H4.parquet")
    with pytest.raises(DataError, match="altered or damaged"):
        store.get("XAUUSD", Timeframe.H4)


def test_a_foreign_file_is_refused_and_foreign_names_passed_over(tmp_path: Path) -> None:
    (tmp_path / "notes_x.parquet").write_bytes(b"PAR1")
    (tmp_path / "EURUSD_H1.parquet").write_bytes(b"PAR1 something")
    store = Store(tmp_path)
    assert store.list() == [("EURUSD", Timeframe.H1)]
    with pytest.raises(DataError, match="altered or damaged"):
        store.get("EURUSD", Timeframe.H1)


def test_what_is_not_stored_is_named_with_the_nearest(tmp_path: Path, hourly: Hourly) -> None:
    store = Store(tmp_path)
    store.add(hourly(), SOURCE)
    with pytest.raises(DataError, match="unknown bars 'XAUUSD H4'; did you mean 'XAUUSD H1'"):
        store.get("XAUUSD", Timeframe.H4)


@pytest.mark.parametrize("name", ["../x", "a/b", "CON", "COM1", "", "x" * 40, "XAU USD", "XAU\0"])
def test_names_that_are_no_file_names(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="cannot name a file"):
        Store(tmp_path).path(name, Timeframe.H1)


def test_a_failed_write_leaves_nothing(
    tmp_path: Path, hourly: Hourly, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, bars = Store(tmp_path), hourly(30)
    store.add(bars[:20], SOURCE)

    def broken(table: object, where: Path, **_: object) -> None:
        where.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(pq, "write_table", broken)
    with pytest.raises(OSError, match="disk full"):
        store.add(bars, SOURCE)
    assert [p.name for p in tmp_path.iterdir()] == ["XAUUSD_H1.parquet"]
    assert len(store.get("XAUUSD", Timeframe.H1)) == 20
