from collections.abc import Callable
from pathlib import Path

import pytest

from mtquant.errors import DataError
from mtquant.market.clock import Clock
from mtquant.market.importing import examine_file, import_file, load_file
from mtquant.market.raw import Severity
from mtquant.market.repairs import Repairs
from mtquant.market.store import Store
from mtquant.market.symbols import SymbolSpec, SymbolTable
from mtquant.market.timeframe import Timeframe

MakeFile = Callable[..., Path]
HEADER = "time,open,high,low,close,spread\n"
SERVER = Clock.parse("ny+7")


def line(hour: int, close: float = 2000.0) -> str:
    day, hour = divmod(hour, 20)
    return f"2024-01-{8 + day:02d} {hour + 2:02d}:00,2000,2003,1997,{close},18\n"


def test_a_file_goes_into_the_store(tmp_path: Path, make_file: MakeFile, gold: SymbolSpec) -> None:
    path, store = make_file(HEADER + "".join(map(line, range(10)))), Store(tmp_path / "data")
    result = import_file(path, gold, store, clock=SERVER)
    assert (result.added.added, result.timeframe, result.clock) == (10, Timeframe.H1, SERVER)
    assert result.findings[0].code == "zero_volume"
    assert store.get("XAUUSD", Timeframe.H1).fingerprint() == result.added.fingerprint
    assert load_file(path, gold, clock=SERVER).fingerprint() == result.added.fingerprint
    source = store.read("XAUUSD", Timeframe.H1).sources[0]
    assert (source.name, source.clock, source.bars) == ("prices.csv", "ny+7", 10)
    assert source.first == "2024-01-08T00:00:00Z"


def test_a_later_export_extends_it(tmp_path: Path, make_file: MakeFile, gold: SymbolSpec) -> None:
    store = Store(tmp_path / "data")
    for hours in (range(10), range(5, 18)):
        path = make_file(HEADER + "".join(map(line, hours)))
        result = import_file(path, gold, store, clock=SERVER)
    assert (result.added.added, result.added.total) == (8, 18)


def test_refused_files_leave_no_store(
    tmp_path: Path, make_file: MakeFile, gold: SymbolSpec
) -> None:
    store = Store(tmp_path / "data")
    path = make_file(HEADER + line(0) + line(1) + line(1) + line(2, 1996.5) + line(3))
    with pytest.raises(DataError, match=r"prices.csv, line 5 .*\[and 1 more"):
        import_file(path, gold, store, clock=SERVER)
    assert not store.root.exists()
    with pytest.raises(DataError, match=r"--drop-duplicates"):
        import_file(path, gold, store, clock=SERVER, repairs=Repairs(drop_bad=True))
    both = Repairs(drop_bad=True, drop_duplicates=True)
    result = import_file(path, gold, store, clock=SERVER, repairs=both)
    assert result.added.total == 3
    assert store.read("XAUUSD", Timeframe.H1).sources[0].repairs == both.chosen


def test_the_bar_still_forming_is_kept_out(
    tmp_path: Path, make_file: MakeFile, gold: SymbolSpec
) -> None:
    path, store = make_file(HEADER + "".join(map(line, range(6)))), Store(tmp_path / "data")
    now = int(load_file(path, gold, clock=SERVER).time[-1]) + 1
    with pytest.raises(DataError, match=r"not closed yet.*--drop-unfinished"):
        import_file(path, gold, store, clock=SERVER, now_ns=now)
    told = Repairs(drop_unfinished=True)
    assert import_file(path, gold, store, clock=SERVER, now_ns=now, repairs=told).added.total == 5


SHARED = Path(__file__).parents[2].parent / "shared" / "data"
REAL = [
    ("XAUUSD_H1_2006_2019_oanda.parquet", "XAUUSD", "H1", None, 76_499),
    ("XAUUSD_H1_2012_2022_mt5.parquet", "XAUUSD", "H1", "eet", 57_600),
    ("XAUUSD_H1_2021_2024_mt5.parquet", "XAUUSD", "H1", "ny+7", 17_172),
    ("EURUSD_H1_2007_2018_oanda.parquet", "EURUSD", "H1", None, 74_439),
    ("EURUSD_H1_2021_2024_mt5.parquet", "EURUSD", "H1", "ny+7", 18_092),
    ("BTCUSD_H1_2018_2022_bitstamp.parquet", "BTCUSD", "H1", None, 33_259),
    ("BTCUSDT_M5_2024_binance.parquet", "BTCUSD", "M5", None, 17_281),
    ("GBPUSD_M1_2012_fxcm.parquet", "GBPUSD", "M1", None, 30_117),
    ("NAS100_H1_2013_2023.parquet", "NAS100", "H1", None, 53_527),
    ("SPY_D1_1998_2021.parquet", "SPY", "D1", None, 5_849),
    ("AAPL_D1_1998_2021.parquet", "AAPL", "D1", None, 5_849),
    ("raw/XAUUSD_H1_202109070200_202407312300.csv", "XAUUSD", "H1", "ny+7", 17_172),
    ("raw/EURUSD_H1_2017_ask_dukascopy.csv", "EURUSD", "H1", "utc", 6_225),
    ("raw/GOOGL_D1_2009_2018_yahoo.csv", "GOOGL", "D1", None, 2_335),
]
needs_real_bars = pytest.mark.skipif(not SHARED.is_dir(), reason="no real bars beside the checkout")


@pytest.mark.shared_data
@needs_real_bars
@pytest.mark.parametrize(("name", "symbol", "timeframe", "clock", "count"), REAL)
def test_every_real_file_imports(
    tmp_path: Path,
    symbols: SymbolTable,
    name: str,
    symbol: str,
    timeframe: str,
    clock: str | None,
    count: int,
) -> None:
    spec = symbols[symbol]
    known = None if clock is None else Clock.parse(clock)
    if clock is not None:
        with pytest.raises(DataError, match="--clock"):
            load_file(SHARED / name, spec)
    result = import_file(SHARED / name, spec, Store(tmp_path), clock=known)
    assert (result.timeframe.name, len(result.bars), result.added.total) == (
        timeframe,
        count,
        count,
    )
    assert all(found.severity is not Severity.ERROR for found in result.findings)
    assert Store(tmp_path).get(symbol, result.timeframe).fingerprint() == result.added.fingerprint


@pytest.mark.shared_data
@needs_real_bars
def test_the_export_and_the_parquet_file_of_the_same_bars_agree(gold: SymbolSpec) -> None:
    names = ("XAUUSD_H1_2021_2024_mt5.parquet", "raw/XAUUSD_H1_202109070200_202407312300.csv")
    one, other = (load_file(SHARED / name, gold, clock=SERVER) for name in names)
    assert one.fingerprint() == other.fingerprint()
    assert one.when(0) == "2021-09-06T23:00:00Z"


@pytest.mark.shared_data
@needs_real_bars
def test_known_defects_of_real_files_are_found(symbols: SymbolTable) -> None:
    def places(name: str, symbol: str, code: str) -> tuple[int, str]:
        findings = examine_file(SHARED / name, symbols[symbol]).findings
        return next(((f.count, f.place) for f in findings if f.code == code), (0, ""))

    def dropped(name: str, symbol: str) -> set[str]:
        kept = load_file(SHARED / name, symbols[symbol], repairs=Repairs(drop_spikes=True))
        bars = load_file(SHARED / name, symbols[symbol])
        return {bars.when(row)[:13] for row in range(len(bars)) if bars.time[row] not in kept.time}

    assert "2002-04-02T05" in dropped("SPY_D1_1998_2021.parquet", "SPY")
    bad_lows = {"2009-09-21T04", "2010-08-31T04", "2011-01-03T05"}
    assert dropped("AAPL_D1_1998_2021.parquet", "AAPL") == bad_lows
    assert "2020-03-13T02" not in dropped("BTCUSD_H1_2018_2022_bitstamp.parquet", "BTCUSD")
    assert places("AAPL_D1_1998_2021.parquet", "AAPL", "split")[0] == 4
    assert places("GBPUSD_M1_2012_fxcm.parquet", "GBPUSD", "negative_spread")[0] == 347
    assert places("GBPUSD_M1_2012_fxcm.parquet", "GBPUSD", "zero_spread")[0] == 653
    assert places("BTCUSD_H1_2018_2022_bitstamp.parquet", "BTCUSD", "gap")[0] == 0
    assert places("BTCUSD_H1_2018_2022_bitstamp.parquet", "BTCUSD", "flat")[0] == 5
    gap = places("EURUSD_H1_2007_2018_oanda.parquet", "EURUSD", "gap")
    assert "2016-12-16 05:00" in gap[1]
