"""Layouts of market files, told apart by what stands in them.

A file becomes a ``Table``: its price columns as numbers, its times as stamps, and whatever the
layout itself says about the clock. File names are never consulted. Text may be UTF-8 or UTF-16,
with any line end, separated by tabs, commas or semicolons (a semicolon file may use the decimal
comma); one that is no market data is refused in one sentence.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from mtquant.errors import ConfigError, DataError
from mtquant.market.bars import PRICE_COLUMNS, Float
from mtquant.market.clock import Clock
from mtquant.market.raw import Origin
from mtquant.market.timestamps import Stamps, parse_stamps

_ALIASES = {
    "open": ("open", "o"),
    "high": ("high", "h"),
    "low": ("low", "l"),
    "close": ("close", "c", "close/last"),
    "volume": ("tickvol", "tick volume", "volume", "vol", "v"),
    "spread": ("spread",),
    "adj_close": ("adj close", "adjclose"),
    "symbol": ("symbol", "ticker", "tic"),
}
_TIMES = ("time", "datetime", "date time", "date", "timestamp", "local time", "open time", "")
_UTC_TIMES = ("unix", "unix timestamp", "gmt time", "utc time")
_EPOCH_TIMES = (*_UTC_TIMES, "timestamp", "open time")
_NULLS = ["", "nan", "NaN", "NAN", "null", "NULL", "None", "N/A", "n/a", "-"]
_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*|\s*[+-]?inf\s*", re.IGNORECASE)
_PREAMBLE_LINES = 5


@dataclass(frozen=True, eq=False)
class Table:
    """A market file taken apart.

    Attributes:
        layout: Whose layout it is, for the user.
        stamps: Its times.
        clock: The clock that the file itself states, None if it states none.
        columns: float64 ``[T]`` under ``open``, ``high``, ``low``, ``close`` and, where present,
            ``volume``, ``spread``, ``adj_close``.
        symbols: What a symbol column names, empty without one.
        origin: Where the rows stood.
    """

    layout: str
    stamps: Stamps
    clock: Clock | None
    columns: dict[str, Float]
    symbols: tuple[str, ...]
    origin: Origin


@dataclass(frozen=True)
class _Text:
    """A text file's shape: how to split it and where its data begin."""

    layout: str
    names: tuple[str, ...]
    delimiter: str
    decimal: str
    body: str
    first_line: int


def read_table(path: Path) -> Table:
    """Take a file apart, whatever its layout.

    Raises:
        DataError: It cannot be opened, is no market data, or holds a value that cannot be read.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from None
    if data[:4] == b"PAR1":
        return _read_parquet(path.name, data)
    shape = _shape(path.name, _decode(path.name, data))
    content = _split(path.name, shape)
    numbers = [i for i, line in enumerate(shape.body.split("\n"), shape.first_line) if line]
    return _table(shape.layout, content, Origin(path.name, "line", np.array(numbers, np.int64)))


def _decode(name: str, data: bytes) -> str:
    if not data.strip():
        raise DataError(f"{name} is empty; export the bars again")
    head = data[:400]
    encoding = "utf-8-sig"
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
    elif head.count(0) > len(head) // 3:
        encoding = "utf-16-le" if head[1::2].count(0) > head[::2].count(0) else "utf-16-be"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text[:4000]:
        raise DataError(f"{name} is a binary file, no market data; give a CSV or Parquet of bars")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if text.lstrip()[:100].casefold().startswith(("<!doctype", "<html", "<?xml", "{", "[")):
        raise DataError(f"{name} is a web page or document, no table of bars; save the data as CSV")
    return text


def _shape(name: str, text: str) -> _Text:
    """Find the separator, the header (or its absence) and the first line of data."""
    number, delimiter, line, preamble = _first_row(text)
    fields = [field.strip().strip('"') for field in line.split(delimiter)] if delimiter else []
    names = tuple(field.strip("<>").casefold().replace("_", " ") for field in fields)
    headless = bool(fields) and fields[0][:1].isdigit()
    if headless:
        layout, names = _headless(fields)
    else:
        layout = _layout(names, line, preamble)
    if not set(PRICE_COLUMNS) <= {_canonical(n) for n in names}:
        raise DataError(
            f"{name}, line {number}: no table of bars begins here ('{line.strip()[:40]}'); the "
            "file needs a header with time, open, high, low and close"
        )
    skipped = number - 1 if headless else number
    body = text.split("\n", skipped)[-1] if text.count("\n") >= skipped else ""
    if not body.strip():
        raise DataError(f"{name} has a header but no bars; export the bars again")
    decimal = "," if delimiter in ";\t" and re.search(r"\d,\d", body[:2000]) else "."
    return _Text(layout, names, delimiter, decimal, body, skipped + 1)


def _first_row(text: str) -> tuple[int, str, str, str]:
    """Line number, separator and text of the first row of a table, and what stood before it."""
    lines = text[:10_000].split("\n")[:_PREAMBLE_LINES]
    for row, line in enumerate(lines):
        delimiter = next((d for d in "\t;," if line.count(d) >= 4), "")
        if delimiter:
            return row + 1, delimiter, line, " ".join(lines[:row])
    return 1, "", lines[0], ""


def _headless(fields: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    if len(fields) == 12 and fields[0].isdigit():
        rest = ("close time", "quote", "trades", "taker base", "taker quote", "ignore")
        return "Binance", ("unix", *PRICE_COLUMNS, "volume", *rest)
    split = bool(re.fullmatch(r"\d{1,2}:\d{2}(:\d{2})?", fields[1]))
    names = ("date", "time") if split else ("time",)
    prices = (*PRICE_COLUMNS, "volume", "spread")[: len(fields) - len(names)]
    extra = tuple(f"column {i}" for i in range(len(names) + len(prices), len(fields)))
    return ("MetaTrader 4" if split else "CSV without header"), (*names, *prices, *extra)


def _layout(names: tuple[str, ...], line: str, preamble: str) -> str:
    if "cryptodatadownload" in preamble.casefold() or {"unix", "symbol"} <= set(names):
        return "CryptoDataDownload"
    if "<DATE>" in line.upper() and "<TICKVOL>" in line.upper():
        return "MetaTrader 5"
    if "adj close" in names:
        return "Yahoo"
    dukascopy = ("gmt time", "local time")
    plain = ("time", *PRICE_COLUMNS, "volume")
    return "Dukascopy" if names and (names[0] in dukascopy or names == plain) else "CSV"


def _canonical(name: str) -> str:
    return next((key for key, names in _ALIASES.items() if name in names), name)


def _split(name: str, shape: _Text) -> dict[str, pa.Array]:
    """Columns by their own (normalised) name: prices as numbers, the rest as text."""
    unique = [n if n not in shape.names[:i] else f"{n} #{i}" for i, n in enumerate(shape.names)]
    numeric = {*PRICE_COLUMNS, "volume", "spread", "adj_close"}
    kinds = {n: pa.float64() if _canonical(n) in numeric else pa.string() for n in unique}
    try:
        table = pacsv.read_csv(
            io.BytesIO(shape.body.encode()),
            read_options=pacsv.ReadOptions(column_names=unique, use_threads=False),
            parse_options=pacsv.ParseOptions(delimiter=shape.delimiter),
            convert_options=pacsv.ConvertOptions(
                column_types=kinds, null_values=_NULLS, decimal_point=shape.decimal
            ),
        )
    except pa.ArrowInvalid as error:
        raise _fault(name, shape, kinds, str(error)) from None
    return {n: table[n].combine_chunks() for n in unique}


def _fault(name: str, shape: _Text, kinds: dict[str, pa.DataType], why: str) -> DataError:
    """Name the line that could not be read; slow, for refusals only."""
    for number, line in enumerate(shape.body.split("\n"), shape.first_line):
        fields = next(csv.reader([line], delimiter=shape.delimiter), [])
        if fields and len(fields) != len(kinds):
            return DataError(
                f"{name}, line {number}: {len(fields)} fields where {len(kinds)} are expected; "
                "correct or remove the line"
            )
        for (column, kind), value in zip(kinds.items(), fields, strict=False):
            written = value.replace(shape.decimal, ".")
            if kind == pa.float64() and value not in _NULLS and not _NUMBER.fullmatch(written):
                return DataError(
                    f"{name}, line {number}: {column} is '{value}', not a number; "
                    "correct or remove the line"
                )
    return DataError(f"{name} cannot be read as a table: {why.splitlines()[0]}")


def _read_parquet(name: str, data: bytes) -> Table:
    try:
        table = pq.read_table(pa.BufferReader(data), use_threads=False)
    except (pa.ArrowException, OSError) as error:
        why = str(error).splitlines()[0]
        raise DataError(f"{name} is a damaged Parquet file ({why}); get it again") from None
    content = {
        n.strip().casefold().replace("_", " "): table[n].combine_chunks()
        for n in table.column_names
    }
    if "index level 0" in (folded := {n.strip(): n for n in content}):
        content[""] = content.pop(folded["index level 0"])
    if not table.num_rows:
        raise DataError(f"{name} holds no rows; export the bars again")
    numbers = np.arange(1, table.num_rows + 1, dtype=np.int64)
    return _table("Parquet", content, Origin(name, "row", numbers))


def _table(layout: str, content: dict[str, pa.Array], origin: Origin) -> Table:
    stamps, clock = _times(layout, content, origin)
    columns: dict[str, Float] = {}
    symbols: tuple[str, ...] = ()
    for key, names in _ALIASES.items():
        # CryptoDataDownload calls its volumes after the two currencies; the first is the asset.
        prefixed = [n for n in content if key == "volume" and n.startswith("volume ")]
        name = next((n for n in (*names, *prefixed) if n in content), None)
        if key == "symbol":
            named = content[name].cast(pa.string()).unique().to_pylist() if name else []
            symbols = tuple(sorted(filter(None, named)))
        elif name is not None:
            columns[key] = _floats(content[name], name, origin)
        elif key in PRICE_COLUMNS:
            raise DataError(
                f"{origin.name} has no column '{key}' (it has {', '.join(content)}); rename one"
            )
    for key in ("volume", "spread"):
        columns[key] = np.nan_to_num(columns.get(key, np.zeros(origin.number.size)), nan=0.0)
    return Table(layout, stamps, clock, columns, symbols, origin)


def _floats(column: pa.Array, name: str, origin: Origin) -> Float:
    try:
        numbers: Float = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise DataError(
            f"{origin.name}: column '{name}' holds {column.type}, not numbers; convert it"
        ) from None
    return numbers


def _times(
    layout: str, content: dict[str, pa.Array], origin: Origin
) -> tuple[Stamps, Clock | None]:
    """The times, and the clock if the file states it."""
    name = next((n for n in (*_UTC_TIMES, *_TIMES) if n in content), None)
    stated = next((n for n in content if re.fullmatch(r"(date|time|datetime) \(.+\)", n)), None)
    if name is None and stated is None:
        raise DataError(
            f"{origin.name} has no column of times (it has {', '.join(content)}); call it 'time'"
        )
    if name is None or (name not in _UTC_TIMES and stated is not None):
        assert stated is not None
        return parse_stamps(content[stated], origin), _clock_in(stated)
    column = content[name]
    if name in ("date", "time") and {"date", "time"} <= content.keys():
        date, time = (content[n].cast(pa.string()) for n in ("date", "time"))
        column = pa.compute.binary_join_element_wise(date, time, " ")
    stamps = parse_stamps(column, origin)
    # MetaTrader's Python module hands out the server's wall clock as if it were an epoch.
    server = {"tick volume", "real volume"} <= content.keys()
    if stamps.aware or name in _UTC_TIMES or layout == "CryptoDataDownload":
        return stamps, Clock.parse("utc")
    if stamps.epoch and name in _EPOCH_TIMES and not server:
        return stamps, Clock.parse("utc")
    return stamps, None


def _clock_in(name: str) -> Clock | None:
    try:
        return Clock.parse(name.partition("(")[2].rstrip(")"))
    except ConfigError:
        return None
