"""Kept columns are the computed ones, bit for bit, or they are not used."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from pydantic.dataclasses import dataclass

from mtquant.features import cache
from mtquant.features.base import PARAMETERS, Column, SymbolFeature
from mtquant.features.pipeline import FeaturePipeline
from mtquant.features.technical import Rsi
from mtquant.market.panel import Panel

ROOT = Path(__file__).parents[2]
SELECTION = [{"returns": {"horizons": [1, 5]}}, {"rsi": {"period": 3}}]


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A cache of its own that keeps whatever was computed."""
    monkeypatch.setenv("MTQUANT_CACHE_DIR", str(tmp_path))
    monkeypatch.delenv("MTQUANT_FEATURE_CACHE", raising=False)
    monkeypatch.setattr(cache, "WORTH_S", 0.0)
    return tmp_path / "features"


@pytest.fixture
def panel(walk) -> Panel:
    return Panel([walk(cache.MIN_BARS)])


@pytest.fixture
def counted(monkeypatch) -> list[int]:
    """One entry for each computation of an RSI."""
    periods, compute = [], Rsi.on_bars

    def count(self, bars, params):
        periods.append(self.period)
        return compute(self, bars, params)

    monkeypatch.setattr(Rsi, "on_bars", count)
    return periods


def rsi(panel: Panel, period: int = 3, params=None) -> np.ndarray:
    (columns,) = cache.computed(panel, [Rsi(period=period)], [params or {}])
    return columns


def without(panel: Panel, period: int = 3) -> np.ndarray:
    return Rsi(period=period).compute(panel, {})


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.exists() else []


def test_kept_columns_have_the_same_bits(folder, panel, counted):
    first, again = rsi(panel), rsi(panel)
    assert counted == [3] and len(files(folder)) == 1
    plain = without(panel)
    assert first.tobytes() == again.tobytes() == plain.tobytes()
    assert again.dtype == plain.dtype and again.shape == plain.shape
    assert again.flags.writeable
    assert folder.stat().st_mode & 0o077 == 0 or os.name != "posix"


def test_a_pipeline_uses_it_for_histories_and_not_for_live_rows(folder, panel, monkeypatch):
    fitted = FeaturePipeline(SELECTION, ["XAUUSD"]).fit(panel)
    assert len(files(folder)) == 2
    kept = files(folder)
    for path in kept:
        path.write_bytes(b"")
    fitted.raw(panel, last=1)
    fitted.latest(panel)
    assert [path.stat().st_size for path in kept] == [0, 0], "live rows touched the cache"
    whole = fitted.raw(panel)
    assert all(path.stat().st_size > 0 for path in kept)
    monkeypatch.setenv("MTQUANT_FEATURE_CACHE", "0")
    assert fitted.raw(panel).tobytes() == whole.tobytes()


def test_a_file_is_an_npy_file(folder, panel):
    values = rsi(panel)
    np.testing.assert_array_equal(np.load(files(folder)[0], allow_pickle=False), values)


def test_other_bars_parameters_fitted_values_or_context_are_other_files(folder, panel, walk):
    euro = walk(cache.MIN_BARS, symbol="EURUSD")
    one_changed = panel.bars[0].close.copy()
    one_changed[7] = np.nextafter(one_changed[7], np.inf)
    columns = dict(panel.bars[0].columns()) | {"close": one_changed}
    altered = Panel([type(euro)("XAUUSD", euro.timeframe, **columns)])
    seen = set()
    for made in (
        lambda: rsi(panel),
        lambda: rsi(panel, 4),
        lambda: rsi(panel, params={"XAUUSD": {"x": 1}}),
        lambda: rsi(altered),
        lambda: rsi(Panel(panel.bars, [euro])),
        lambda: rsi(Panel([euro])),
        lambda: rsi(Panel([*panel.bars, euro])),
        lambda: rsi(Panel([euro, *panel.bars])),
    ):
        made()
        added = set(files(folder)) - seen
        assert len(added) == 1
        seen |= added


def test_other_code_is_another_file(folder, panel, counted, monkeypatch):
    rsi(panel)
    monkeypatch.setattr(cache, "_SOURCES", "edited")
    rsi(panel)
    assert counted == [3, 3] and len(files(folder)) == 2


def test_the_code_hash_sees_features_market_and_kernels(tmp_path, monkeypatch):
    before = cache._sources_digest()
    for name in ("features/cache.py", "features/windows.py", "market/clock.py", "jit.py"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes((ROOT / "mtquant" / name).read_bytes())
    monkeypatch.setattr(cache, "__file__", str(tmp_path / "features" / "cache.py"))
    copied = cache._sources_digest()
    digests = {before, copied}
    for name in ("features/windows.py", "market/clock.py", "jit.py"):
        path = tmp_path / name
        path.write_bytes(path.read_bytes() + b"\n")
        digests.add(cache._sources_digest())
    assert len(digests) == 5


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:-1],
        lambda content: content[: len(content) // 2],
        lambda content: content[:5000] + bytes([content[5000] ^ 1]) + content[5001:],
        lambda content: content[:-1] + bytes([content[-1] ^ 1]),
        lambda content: content + b"\0",
        lambda content: b"\x80\x04K\x01." * 100,
    ],
    ids=["empty", "cut", "half", "a flipped bit", "another seal", "longer", "a pickle"],
)
def test_a_damaged_file_is_computed_again_and_replaced(folder, panel, counted, damage):
    good = rsi(panel)
    path = files(folder)[0]
    content = path.read_bytes()
    path.write_bytes(damage(content))
    assert rsi(panel).tobytes() == good.tobytes()
    assert counted == [3, 3]
    assert files(folder) == [path] and path.read_bytes() == content


def test_a_sealed_file_of_another_name_shape_or_type_is_not_believed(folder, panel, counted):
    good = rsi(panel)
    path = files(folder)[0]
    content = path.read_bytes()
    rsi(panel, 5)
    other = next(p for p in files(folder) if p != path)
    path.write_bytes(other.read_bytes())
    assert rsi(panel).tobytes() == good.tobytes()
    for wrong in (good[:-1], good.astype(np.float32), good[:, 0]):
        path.unlink()
        cache._write(path, wrong)
        assert rsi(panel).tobytes() == good.tobytes()
        assert path.read_bytes() == content
    assert len(counted) == 6


def test_what_cannot_be_attributed_to_code_is_not_kept(folder, panel):
    @dataclass(frozen=True, config=PARAMETERS)
    class Fake(SymbolFeature):
        """Calls itself RSI."""

        key: ClassVar[str] = "rsi"
        group: ClassVar[str] = "technical"

        @property
        def columns(self) -> tuple[Column, ...]:
            return (Column("rsi_14", "nothing"),)

        @property
        def lookback(self) -> int:
            return 1

        def on_bars(self, bars, params) -> Sequence[np.ndarray]:
            return [np.zeros(len(bars))]

    assert not next(iter(cache.computed(panel, [Fake()], [{}]))).any()
    assert not files(folder)


def test_a_picked_column_shares_the_file_of_its_feature(folder, panel):
    whole, picked = (
        FeaturePipeline(chosen, ["XAUUSD"]).fit(panel).raw(panel)
        for chosen in (["returns"], ["ret_20"])
    )
    assert picked[:, 0].tobytes() == whole[:, 2].tobytes()
    assert len(files(folder)) == 1


def test_nothing_is_kept_when_off_short_or_cheap(folder, panel, walk, monkeypatch):
    rsi(Panel([walk(cache.MIN_BARS - 1)]))
    monkeypatch.setattr(cache, "WORTH_S", 1.0)
    rsi(panel)
    monkeypatch.setattr(cache, "WORTH_S", 0.0)
    monkeypatch.setenv("MTQUANT_FEATURE_CACHE", "0")
    rsi(panel)
    assert files(folder) == []


def test_no_folder_is_no_error(tmp_path, panel, monkeypatch):
    monkeypatch.setattr(cache, "WORTH_S", 0.0)
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    monkeypatch.setenv("MTQUANT_CACHE_DIR", str(blocked))
    assert rsi(panel).tobytes() == without(panel).tobytes()
    monkeypatch.delenv("MTQUANT_CACHE_DIR")
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    assert rsi(panel).tobytes() == without(panel).tobytes()


@pytest.mark.skipif(os.name != "posix", reason="rights of POSIX")
def test_a_folder_that_others_may_write_to_is_not_used(folder, panel):
    folder.mkdir()
    folder.chmod(0o777)
    rsi(panel)
    assert files(folder) == []


def test_a_full_disk_leaves_nothing_behind(folder, panel, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache.os, "replace", full)
    assert rsi(panel).tobytes() == without(panel).tobytes()
    assert files(folder) == []


def test_the_files_used_longest_ago_make_room(folder, panel, monkeypatch):
    place = {}
    for period in (5, 3, 4):
        rsi(panel, period)
        place[period] = (set(files(folder)) - {*place.values()}).pop()
    for age, path in enumerate(place.values()):
        os.utime(path, ns=(10**9 * (age + 1),) * 2)
    size = place[3].stat().st_size
    cache.trim(folder, 3 * size)
    assert set(files(folder)) == {*place.values()}
    cache.trim(folder, 3 * size - 1)
    assert set(files(folder)) == {place[3], place[4]}
    monkeypatch.setattr(cache, "LIMIT_BYTES", 2 * size)
    rsi(panel, 5)
    assert set(files(folder)) == {place[5], place[4]}
    cache.trim(folder, 0)
    assert files(folder) == []


def test_reading_a_file_makes_it_young(folder, panel):
    rsi(panel)
    path = files(folder)[0]
    os.utime(path, ns=(1, 1))
    rsi(panel)
    assert path.stat().st_mtime_ns > 10**18


def test_two_processes_at_once(folder, panel, tmp_path):
    """Both write the same file, one of them over the other; both compute the same bits."""
    code = (
        "import hashlib, sys\n"
        "from mtquant.config.load import load_symbols\n"
        "from mtquant.features import cache\n"
        "from mtquant.features.pipeline import FeaturePipeline\n"
        "from mtquant.market.panel import Panel\n"
        "from mtquant.market.simulated import SimulatedMarket\n"
        "cache.WORTH_S = 0.0\n"
        "bars = SimulatedMarket('XAUUSD', 'H1', 6000, 1).bars(load_symbols()['XAUUSD'])\n"
        "fitted = FeaturePipeline(['technical'], ['XAUUSD']).fit(Panel([bars]))\n"
        "for _ in range(5):\n"
        "    print(hashlib.sha256(fitted.raw(Panel([bars])).tobytes()).hexdigest())\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(2)
    ]
    printed = [process.communicate(timeout=120)[0].split() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert len({*printed[0], *printed[1]}) == 1 and len(printed[0]) == 5
    assert all(path.suffix == ".npy" for path in files(folder))
    assert len(files(folder)) == 8
