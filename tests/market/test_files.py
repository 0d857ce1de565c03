from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mtquant.errors import DataError
from mtquant.market.clock import Clock
from mtquant.market.files import read_market_file
from mtquant.market.raw import RawBars, UnknownClock
from mtquant.market.symbols import SymbolSpec, SymbolTable
from mtquant.market.timeframe import Timeframe

MakeFile = Callable[..., Path]
UTC = Clock.parse("utc")
PRICES = (
    (2000.0, 2002.0, 1999.0, 2001.0),
    (2001.0, 2003.5, 2000.0, 2003.25),
    (2003.25, 2004, 2003, 2003.5),
)


def rows(times: tuple[str, ...], delimiter: str, tail: tuple[str, ...] = ()) -> str:
    lines = [
        delimiter.join([time, *(f"{p:.2f}" for p in prices), *tail])
        for time, prices in zip(times, PRICES, strict=True)
    ]
    return "\n".join(lines) + "\n"


DOTTED = ("2024.01.09 02:00", "2024.01.09 03:00", "2024.01.09 04:00")
DASHED = tuple(time.replace(".", "-") for time in DOTTED)
GERMAN = ("09.01.2024 02:00:00.000", "09.01.2024 03:00:00.000", "09.01.2024 04:00:00.000")
EPOCHS = ("1704765600", "1704769200", "1704772800")
MT5 = "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>\n" + rows(
    DOTTED, "\t", ("55", "0", "18")
).replace(" ", "\t")
CDD = "unix,date,symbol,open,high,low,close,Volume BTC,Volume USD\n" + "".join(
    reversed(rows(tuple(f"{e},x,XAU/USD" for e in EPOCHS), ",", ("7", "14000")).splitlines(True))
)

LAYOUTS = {
    "mt5": (MT5, "MetaTrader 5", True, 55.0, 18.0),
    "mt5 commas": (MT5.replace("\t", ","), "MetaTrader 5", True, 55.0, 18.0),
    "mt4": (rows(DOTTED, ",", ("55",)).replace(" ", ","), "MetaTrader 4", True, 55.0, 0.0),
    "histdata": (
        rows(("20240109 020000", "20240109 030000", "20240109 040000"), ";", ("0",)),
        "CSV without header",
        True,
        0.0,
        0.0,
    ),
    "dukascopy": (
        "Time,Open,High,Low,Close,Volume\n" + rows(GERMAN, ",", ("1.5",)),
        "Dukascopy",
        True,
        1.5,
        0.0,
    ),
    "dukascopy gmt": (
        "Gmt time,Open,High,Low,Close,Volume\n" + rows(GERMAN, ",", ("1.5",)),
        "Dukascopy",
        False,
        1.5,
        0.0,
    ),
    "dukascopy local": (
        "Local time,Open,High,Low,Close,Volume\n"
        + rows(tuple(t.replace(" 0", " 0") + " GMT+0000" for t in GERMAN), ",", ("1.5",)),
        "Dukascopy",
        False,
        1.5,
        0.0,
    ),
    "named zone": (
        "Time (EET),Open,High,Low,Close\n"
        + rows(("2024-01-09 04:00", "2024-01-09 05:00", "2024-01-09 06:00"), ","),
        "CSV",
        False,
        0.0,
        0.0,
    ),
    "cryptodatadownload": (
        "https://www.CryptoDataDownload.com\n" + CDD,
        "CryptoDataDownload",
        False,
        7.0,
        0.0,
    ),
    "binance": (
        rows(tuple(e + "000" for e in EPOCHS), ",", ("7", "1", "2", "3", "4", "5", "0")),
        "Binance",
        False,
        7.0,
        0.0,
    ),
    "plain": ("TIME;OPEN;HIGH;LOW;CLOSE\n" + rows(DASHED, ";"), "CSV", True, 0.0, 0.0),
    "decimal comma": (
        "time;open;high;low;close\n" + rows(DASHED, ";").replace(".", ","),
        "CSV",
        True,
        0.0,
        0.0,
    ),
    "aware": (
        "date,open,high,low,close\n" + rows(tuple(t + "+00:00" for t in DASHED), ","),
        "CSV",
        False,
        0.0,
        0.0,
    ),
    "timestamp": ("timestamp,open,high,low,close\n" + rows(EPOCHS, ","), "CSV", False, 0.0, 0.0),
    "epoch of unknown writer": (
        "time,open,high,low,close\n" + rows(EPOCHS, ","),
        "CSV",
        True,
        0.0,
        0.0,
    ),
    "MetaTrader's python dump": (
        "time,open,high,low,close,tick_volume,spread,real_volume\n"
        + rows(EPOCHS, ",", ("55", "18", "0")),
        "CSV",
        True,
        55.0,
        18.0,
    ),
}


def assert_the_three_bars(raw: RawBars) -> None:
    assert raw.time.tolist() == [int(epoch) * 10**9 for epoch in EPOCHS]
    for column, name in enumerate(("open", "high", "low", "close")):
        assert getattr(raw, name).tolist() == [prices[column] for prices in PRICES]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout_is_told_by_its_content(
    make_file: MakeFile, gold: SymbolSpec, layout: str
) -> None:
    content, name, asks, volume, spread = LAYOUTS[layout]
    path = make_file(content, "something.dat")
    if asks:
        with pytest.raises(UnknownClock, match=r"something.dat, line \d+: .*--clock"):
            read_market_file(path, gold)
    raw = read_market_file(path, gold, clock=UTC if asks else None)
    assert_the_three_bars(raw)
    assert raw.layout == name
    assert raw.timeframe is Timeframe.H1
    assert raw.volume.tolist() == [volume] * 3
    assert raw.spread.tolist() == [spread] * 3


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_encodings_and_line_ends(
    make_file: MakeFile, gold: SymbolSpec, encoding: str, line_end: str
) -> None:
    path = make_file(MT5.replace("\n", line_end), encoding=encoding)
    assert_the_three_bars(read_market_file(path, gold, clock=UTC))


def test_newest_first_is_turned_and_lines_still_point_into_the_file(
    make_file: MakeFile, gold: SymbolSpec
) -> None:
    raw = read_market_file(make_file("url\n" + CDD), gold)
    assert raw.origin.number.tolist() == [5, 4, 3]


def parquet(tmp_path: Path, time: pa.Array, **extra: pa.Array) -> Path:
    columns = np.array(PRICES).T
    names = ("Open", "High", "Low", "Close")
    table = {"time": time, **dict(zip(names, map(pa.array, columns), strict=True)), **extra}
    pq.write_table(pa.table(table), tmp_path / "bars.csv")
    return tmp_path / "bars.csv"


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin"])
def test_parquet_in_any_unit(tmp_path: Path, gold: SymbolSpec, unit: str, zone: str | None) -> None:
    instants = np.array([int(e) for e in EPOCHS], "datetime64[s]").astype(f"datetime64[{unit}]")
    path = parquet(tmp_path, pa.array(instants).cast(pa.timestamp(unit, tz=zone)))
    raw = read_market_file(path, gold, clock=None if zone else UTC)
    assert_the_three_bars(raw)
    assert raw.layout == "Parquet"
    assert raw.origin.at(0) == "bars.csv, row 1"


def test_a_damaged_parquet_is_refused(tmp_path: Path, gold: SymbolSpec) -> None:
    path = parquet(tmp_path, pa.array([int(e) for e in EPOCHS]))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"bars.csv is a damaged Parquet file"):
        read_market_file(path, gold)


def test_daily_bars_of_a_share_are_named_by_the_trading_date(
    make_file: MakeFile, symbols: SymbolTable
) -> None:
    yahoo = "Date,Open,High,Low,Close,Adj Close,Volume\n" + rows(
        ("2024-01-09", "2024-01-10", "2024-01-11"), ",", ("1.0", "9")
    )
    raw = read_market_file(make_file(yahoo), symbols["SPY"])
    assert raw.layout == "Yahoo" and raw.timeframe is Timeframe.D1
    assert raw.place(0).endswith("(2024-01-09 05:00:00Z)")
    assert [found.code for found in raw.noted] == ["adjusted_close"]
    with pytest.raises(UnknownClock):
        read_market_file(make_file(yahoo), symbols["XAUUSD"])


def test_mt5_daily_exports_have_no_time_column(make_file: MakeFile, gold: SymbolSpec) -> None:
    daily = "<DATE>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>\n" + rows(
        ("2024.01.09", "2024.01.10", "2024.01.11"), "\t", ("55", "0", "18")
    )
    raw = read_market_file(make_file(daily), gold, clock=Clock.parse("ny+7"))
    assert raw.timeframe is Timeframe.D1
    assert raw.place(0).endswith("(2024-01-08 22:00:00Z)")


def test_prices_go_to_the_tick_grid_and_are_counted(make_file: MakeFile, gold: SymbolSpec) -> None:
    content = MT5.replace("2003.25\t55", "2003.254\t55").replace("\t18\n", "\t-4\n", 1)
    raw = read_market_file(make_file(content), gold, clock=UTC)
    assert raw.close[1] == 2003.25
    assert raw.spread.tolist() == [0.0, 18.0, 18.0]
    found = {f.code: f for f in raw.noted}
    assert found["off_grid"].place == "prices.csv, line 3" and "2003.254" in found["off_grid"].value
    assert found["negative_spread"].place == "prices.csv, line 2"


def test_a_foreign_symbol_column_is_seen(make_file: MakeFile, gold: SymbolSpec) -> None:
    raw = read_market_file(make_file(CDD.replace("XAU/USD", "ETH/USD")), gold)
    assert [f.value for f in raw.noted if f.code == "symbol"] == ["ETH/USD"]
    assert not read_market_file(make_file(CDD), gold).noted
    with pytest.raises(DataError, match="several symbols"):
        read_market_file(make_file(CDD.replace("XAU/USD", "ETH/USD", 1)), gold)


def test_a_stated_clock_is_not_overruled(make_file: MakeFile, gold: SymbolSpec) -> None:
    with pytest.raises(DataError, match=r"states its own clock, utc, but ny[+]7 was given"):
        read_market_file(make_file(CDD), gold, clock=Clock.parse("ny+7"))


HEADER = "time,open,high,low,close\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(range(256)), "is a binary file"),
        (b"\xfa\xfb plain nonsense", "is a binary file"),
        (b"", "is empty"),
        (b"  \n\n", "is empty"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "is a web page"),
        (b'{"candles": []}', "is a web page or document"),
        (b"Dear Sir,\nplease find no data here.\n", "line 1: no table of bars begins here"),
        (b"a,b,c,d,e\n1,2,3,4,5\n", "line 1: no table of bars begins here"),
        (HEADER.encode(), "has a header but no bars"),
        ((HEADER + "2024-01-01 00:00,1,1,1\n").encode(), "line 2: 4 fields where 5 are expected"),
        (b"open,high,low,close,extra\n1,1,1,1,1\n", "has no column of times"),
    ],
)
def test_what_is_no_market_data_is_refused_in_one_sentence(
    make_file: MakeFile, gold: SymbolSpec, content: bytes, message: str
) -> None:
    with pytest.raises(DataError, match=message) as refusal:
        read_market_file(make_file(content), gold, clock=UTC)
    assert str(refusal.value).startswith("prices.csv")
    assert "\n" not in str(refusal.value)


def test_a_missing_file_is_named(tmp_path: Path, gold: SymbolSpec) -> None:
    with pytest.raises(DataError, match=r"cannot read .*nowhere.csv"):
        read_market_file(tmp_path / "nowhere.csv", gold)


def series(step_minutes: list[int]) -> str:
    time = np.datetime64("2024-01-09T00:00") + np.cumsum([0, *step_minutes]).astype("m8[m]")
    return "".join(f"{str(t).replace('T', ' ')},2000,2001,1999,2000\n" for t in time)


def test_a_letter_in_a_price_is_named_with_its_line(make_file: MakeFile, gold: SymbolSpec) -> None:
    lines = (HEADER + series([60] * 5000)).split("\n")
    lines[4710] = lines[4710].replace("1999", "19x9")
    with pytest.raises(DataError, match=r"line 4711: low is '19x9', not a number"):
        read_market_file(make_file("\n".join(lines)), gold, clock=UTC)


def test_blank_lines_do_not_shift_line_numbers(make_file: MakeFile, gold: SymbolSpec) -> None:
    lines = (HEADER + series([60] * 9)).split("\n")
    lines.insert(4, "")
    raw = read_market_file(make_file("\n".join(lines)), gold, clock=UTC)
    assert raw.origin.number.tolist() == [2, 3, 4, 6, 7, 8, 9, 10, 11, 12]


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([1440] * 40 + [60] * 200, r"line 2 to line 42: bars spaced D1 in a file of H1"),
        ([15] * 200 + [60] * 40, r"bars spaced H1 in a file of M15"),
        ([60] * 100 + [15] * 30, r"line 102 to line 132: bars spaced M15 in a file of H1"),
        ([60] * 100 + [15] + [60] * 5, r"line 103: this time is off the H1 grid"),
        ([7] * 30, r"mostly 7 minutes apart"),
    ],
)
def test_mixed_timeframes_are_refused_with_lines(
    make_file: MakeFile, gold: SymbolSpec, steps: list[int], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_market_file(make_file(HEADER + series(steps)), gold, clock=UTC)


@pytest.mark.parametrize(
    ("steps", "name"), [(1, "M1"), (5, "M5"), (240, "H4"), (1440, "D1"), (10080, "W1")]
)
def test_the_timeframe_is_told_from_the_spacing(
    make_file: MakeFile, gold: SymbolSpec, steps: int, name: str
) -> None:
    path = make_file(HEADER + series([steps] * 30 + [3 * steps] + [steps] * 5))
    assert read_market_file(path, gold, clock=UTC).timeframe.name == name
    other = Timeframe.M30
    with pytest.raises(DataError, match=f"spaced {name}, not M30 as stated"):
        read_market_file(path, gold, other, UTC)


def test_monthly_bars(make_file: MakeFile, gold: SymbolSpec) -> None:
    months = "".join(f"2023-{month:02d}-01 00:00,2000,2001,1999,2000\n" for month in range(1, 13))
    raw = read_market_file(make_file(HEADER + months), gold, clock=UTC)
    assert raw.timeframe is Timeframe.MN1


def test_one_bar_needs_a_stated_timeframe(make_file: MakeFile, gold: SymbolSpec) -> None:
    path = make_file(HEADER + series([]))
    with pytest.raises(DataError, match="too few bars to tell the timeframe"):
        read_market_file(path, gold, clock=UTC)
    assert len(read_market_file(path, gold, Timeframe.H1, UTC)) == 1


def test_hours_that_a_clock_never_had_or_had_twice(
    make_file: MakeFile, bitcoin: SymbolSpec
) -> None:
    clock = Clock.parse("America/New_York")
    spring = HEADER + "".join(f"2024-03-10 0{h}:00,2,2,2,2\n" for h in range(5))
    with pytest.raises(DataError, match="line 4: the time 2024-03-10 02:00:00 was skipped"):
        read_market_file(make_file(spring), bitcoin, clock=clock)
    autumn = HEADER + "".join(f"2024-11-03 0{h}:00,2,2,2,2\n" for h in range(5))
    with pytest.raises(DataError, match=r"line 3: .*01:00:00 occurred twice .*--drop-ambiguous"):
        read_market_file(make_file(autumn), bitcoin, clock=clock)
    raw = read_market_file(make_file(autumn), bitcoin, clock=clock, drop_ambiguous=True)
    assert len(raw) == 4 and raw.noted[-1].code == "ambiguous_time"
    both = autumn.replace("2024-11-03 01:00,2,2,2,2\n", "2024-11-03 01:00,2,2,2,2\n" * 2)
    assert (
        np.diff(read_market_file(make_file(both), bitcoin, clock=clock).time).tolist()
        == [3600 * 10**9] * 5
    )
