"""Times as files write them, to nanoseconds.

ISO dates, MetaTrader's ``2020.01.02``, Dukascopy's ``01.01.2017``, compact ``20200102``, slashes in
either order, offsets, and epochs in any unit. One regular expression reads all rows at once; a
row that is no time is named with its line. Whether the first number is the day or the month is
decided by the whole column, and where the column cannot tell, the reader refuses.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mtquant.errors import DataError
from mtquant.market.bars import Float, Int
from mtquant.market.clock import DAY_NS, HOUR_NS, SECOND_NS, Mask, readable
from mtquant.market.raw import Origin
from mtquant.market.timeframe import MINUTE_NS

_TIME = (
    r"(?:[T ]\s*(?P<h>\d{1,2}):?(?P<m>\d{2})(?::?(?P<s>\d{2})(?:[.,](?P<f>\d{1,9}))?)?"
    r"\s*(?P<half>[AaPp][Mm])?\s*(?P<zone>Z|UTC|GMT|(?:UTC|GMT)?[+-]\d{1,2}(?::?\d{2})?)?)?\s*$"
)
_SEPARATED = r"^\s*(?P<a>\d{1,4})(?P<sep>[-./])(?P<b>\d{1,2})[-./](?P<c>\d{1,4})" + _TIME
_COMPACT = r"^\s*(?P<a>\d{4})(?P<sep>)(?P<b>\d{2})(?P<c>\d{2})" + _TIME.replace("[T ]", "[T ]?", 1)
_EPOCH = re.compile(r"\d{9,10}|\d{13}|\d{16}|\d{19}")
_EARLIEST, _LATEST = (
    np.datetime64(f"{year}-01-01", "ns").astype(np.int64) for year in (1900, 2100)
)


@dataclass(frozen=True, eq=False)
class Stamps:
    """A column of times.

    Attributes:
        ns: int64 ``[T]``; UTC if ``aware`` or ``epoch``, else some wall clock's.
        aware: Each row carried its offset.
        epoch: The rows were plain numbers since 1970.
    """

    ns: Int
    aware: bool = False
    epoch: bool = False


def parse_stamps(column: pa.Array, origin: Origin) -> Stamps:
    """Read a column of times.

    Args:
        column: Strings, integers, floats, dates or timestamps, ``[T]``.
        origin: Names the row of a time that cannot be read.

    Raises:
        DataError: A row is empty or no time, the order of day and month cannot be known, some rows
            carry an offset and others do not, or a time lies outside 1900-2099.
    """
    if column.null_count:
        row = int(np.argmax(column.is_null().to_numpy(zero_copy_only=False)))
        raise DataError(f"{origin.at(row)}: the time is missing; remove the row")
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        aware = getattr(column.type, "tz", None) is not None
        wide = column.cast(pa.timestamp("ns", tz="UTC" if aware else None))
        stamps = Stamps(wide.cast(pa.int64()).to_numpy(), aware=aware)
    elif pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        # Nanoseconds exceed 53 bits, but every whole minute of them is exact as a float.
        stamps = _epochs(column.cast(pa.float64(), safe=False).to_numpy(), origin)
    elif _EPOCH.fullmatch(column[0].as_py().strip().split(".")[0]):
        stamps = _epochs(_numbers(column, origin), origin)
    else:
        stamps = _texts(column, origin)
    _refuse(
        (stamps.ns < _EARLIEST) | (stamps.ns >= _LATEST),
        origin,
        lambda row: f"the time {readable(stamps.ns[row])} is outside 1900-2099; correct the row",
    )
    return stamps


def _refuse(wrong: Mask, origin: Origin, why: Callable[[int], str]) -> None:
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(f"{origin.at(row)}: {why(row)}")


def _numbers(column: pa.Array, origin: Origin) -> Float:
    plain = pc.match_substring_regex(column, r"^\s*\d+(\.\d+)?\s*$").to_numpy(zero_copy_only=False)
    _refuse(~plain, origin, lambda row: f"'{column[row].as_py()}' is no epoch time as in row 1")
    numbers: Float = pc.utf8_trim_whitespace(column).cast(pa.float64()).to_numpy()
    return numbers


def _epochs(values: Float, origin: Origin) -> Stamps:
    """Epoch numbers, the unit of each told by its size (some vendors mix seconds and ms)."""
    _refuse(
        ~np.isfinite(values) | (values < 1e8) | (values > 5e18),
        origin,
        lambda row: f"{values[row]:g} is no epoch time; use seconds or milliseconds since 1970",
    )
    unit = np.select([values < 1e11, values < 1e14, values < 1e17], [10**9, 10**6, 10**3], 1)
    whole = np.floor(values)
    ns = whole.astype(np.int64) * unit + np.rint((values - whole) * unit).astype(np.int64)
    return Stamps(ns, epoch=True)


def _texts(column: pa.Array, origin: Origin) -> Stamps:
    first = column[0].as_py()
    pattern = _SEPARATED if re.match(r"\s*\d{1,4}[-./]", first) else _COMPACT
    parts = pc.extract_regex(column, pattern)
    _refuse(
        parts.is_null().to_numpy(zero_copy_only=False),
        origin,
        lambda row: f"cannot read '{column[row].as_py()}' as a time; write 2024-01-31 23:00",
    )
    year, month, day = _calendar(parts, origin)
    hour, minute, second = (_integers(parts, name) for name in "hms")
    hour = _half_days(parts, hour)
    months = ((year - 1970) * 12 + month - 1).astype("datetime64[M]")
    days = months.astype("datetime64[D]") + (day - 1)
    fits = (days.astype("datetime64[M]") == months) & (month >= 1) & (month <= 12) & (day >= 1)
    fits &= (hour < 24) & (minute < 60) & (second < 60)
    _refuse(
        ~fits, origin, lambda row: f"'{column[row].as_py()}' is not in the calendar; correct it"
    )
    digits = pc.utf8_rpad(parts.field("f"), 9, padding="0")
    fraction = pc.if_else(pc.equal(parts.field("f"), ""), "0", digits).cast(pa.int64()).to_numpy()
    ns = days.astype(np.int64) * DAY_NS + hour * HOUR_NS + minute * MINUTE_NS + second * SECOND_NS
    ns += fraction
    zones = parts.field("zone")
    named = pc.not_equal(zones, "").to_numpy(zero_copy_only=False)
    if not named.any():
        return Stamps(ns)
    _refuse(~named, origin, lambda row: f"'{column[row].as_py()}' lacks the offset of other rows")
    return Stamps(ns - _offsets(zones), aware=True)


def _calendar(parts: pa.StructArray, origin: Origin) -> tuple[Int, Int, Int]:
    """Year, month and day, each int64 ``[T]``, by the order that the whole column allows."""
    a, b, c = (_integers(parts, name) for name in "abc")
    if a.max() > 31:
        return a, b, c
    if parts.field("sep")[0].as_py() == "." or a.max() > 12:
        return c, b, a
    if b.max() > 12:
        return c, a, b
    raise DataError(
        f"{origin.at(0)}: no date of the file tells whether the day or the month comes first; "
        "write the dates as 2024-01-31"
    )


def _integers(parts: pa.StructArray, name: str) -> Int:
    text = parts.field(name)
    filled = pc.if_else(pc.equal(text, ""), "0", text)
    numbers: Int = filled.cast(pa.int64()).to_numpy()
    return numbers


def _half_days(parts: pa.StructArray, hour: Int) -> Int:
    half = pc.utf8_upper(parts.field("half"))
    evening = pc.equal(half, "PM").to_numpy(zero_copy_only=False)
    written = pc.not_equal(half, "").to_numpy(zero_copy_only=False)
    return np.where(written, hour % 12 + 12 * evening, hour)


def _offsets(zones: pa.Array) -> Int:
    coded = zones.dictionary_encode()
    offsets = []
    for zone in coded.dictionary.to_pylist():
        match = re.search(r"([+-])(\d{1,2}):?(\d{2})?$", zone)
        sign, hours, minutes = match.groups(default="0") if match else ("+", "0", "0")
        offsets.append((int(hours) * 60 + int(minutes)) * (-1 if sign == "-" else 1) * MINUTE_NS)
    spread_out: Int = np.array(offsets, np.int64)[coded.indices.to_numpy()]
    return spread_out
