"""FinRL's frames to and from bars; FinRL itself is not needed.

    date   ``2024-01-02``, or ``2024-01-02 15:30:00`` where a bar does not open at midnight
    tic    symbol
    open, high, low, close, volume
    day    weekday, Monday is 0

Rows are sorted by (date, tic), the index counts the dates, and every tic stands on every date. A
column ``spread`` follows where a bar records one. Whatever else a frame holds is an indicator.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from mtquant.errors import DataError
from mtquant.market.bars import PRICE_COLUMNS, Bars, Float, Int
from mtquant.market.clock import DAY_NS, SECOND_NS, Clock
from mtquant.market.panel import Panel
from mtquant.market.raw import Origin
from mtquant.market.spacing import infer_timeframe
from mtquant.market.timeframe import Timeframe

NUMBERS = (*PRICE_COLUMNS, "volume")
COLUMNS = ("date", "tic", *NUMBERS)
MOST_NAMED = 5  # tics in one sentence
THURSDAY = 3  # 1970-01-01


def to_finrl(
    data: Panel | Bars | Sequence[Bars], *, clock: str = "utc", drop_incomplete: bool = False
) -> pd.DataFrame:
    """A frame as FinRL's environments and preprocessors want it.

    Args:
        data: Bars of one or several symbols; nothing is filled.
        clock: On which dates are written; ``ny+7`` turns a broker's daily bars into days.
        drop_incomplete: Leave out the dates on which a tic has no bar.

    Returns:
        Columns as above, symbols in alphabetical order.

    Raises:
        DataError: A tic has no bar on some date, or the clock shows two bars at one time.
    """
    if not isinstance(data, Panel):
        data = Panel([data] if isinstance(data, Bars) else data)
    bars = sorted(data.bars, key=lambda one: one.symbol)
    panel = Panel(bars)
    whole = panel.tradable.all(axis=1)
    if not whole.all() and not drop_incomplete:
        raise DataError(f"{_incomplete(panel)}; drop_incomplete=True leaves those dates out")
    if not whole.any():
        raise DataError(f"there is no date on which all of {', '.join(panel.symbols)} have a bar")
    wall = Clock.parse(clock).from_utc(panel.time[whole])
    rows, size = panel.row[whole], len(bars)
    frame = pd.DataFrame(
        {"date": np.repeat(_written(wall, clock), size), "tic": list(panel.symbols) * len(wall)},
        index=np.repeat(np.arange(len(wall)), size),
    )
    recorded = ("spread",) if any(one.spread.any() for one in bars) else ()
    for name in (*NUMBERS, *recorded):
        columns = [getattr(one, name)[rows[:, s]] for s, one in enumerate(bars)]
        frame[name] = np.stack(columns, axis=1).ravel()
    frame.insert(len(COLUMNS), "day", np.repeat((wall // DAY_NS + THURSDAY) % 7, size))
    return frame


def from_finrl(
    frame: pd.DataFrame, *, timeframe: str | None = None, clock: str = "utc"
) -> list[Bars]:
    """Bars of each tic, in alphabetical order.

    Args:
        frame: With the columns above; ``day`` is not read, indicators neither.
        timeframe: Such as ``D1``; told from the dates if None.
        clock: Of the dates, where they name no zone.

    Raises:
        DataError: A column is missing, rows are unsorted or double, a date cannot be read, or a
            price is missing, not positive, or outside of its bar.
    """
    missing = [name for name in COLUMNS if name not in frame.columns]
    if missing or frame.empty:
        lacks = f"the columns {', '.join(missing)}" if missing else "rows"
        raise DataError(f"the FinRL frame lacks {lacks}; it needs {', '.join(COLUMNS)}")
    tics = frame["tic"].astype(str).to_numpy()
    wall, aware = _dates(frame)
    dates, date = np.unique(wall, return_inverse=True)
    symbols, tic = np.unique(tics, return_inverse=True)
    _refuse_disorder(frame, date * len(symbols) + tic)
    numbers = _numbers(frame)
    opens = dates if aware else Clock.parse(clock).to_utc(dates)
    origin = Origin("the FinRL frame", "date", np.arange(1, len(dates) + 1))
    stated = None if timeframe is None else Timeframe.parse(timeframe)
    length = infer_timeframe(dates, origin, stated)
    own = [np.flatnonzero(tic == s) for s in range(len(symbols))]
    return [
        Bars(str(symbol), length, opens[date[rows]], **{k: v[rows] for k, v in numbers.items()})
        for symbol, rows in zip(symbols, own, strict=True)
    ]


def finrl_panel(frame: pd.DataFrame, *, timeframe: str | None = None, clock: str = "utc") -> Panel:
    """A frame's bars, where every tic stands on every date; arguments as for :func:`from_finrl`.

    Raises:
        DataError: As there, or a tic is missing on some date.
    """
    panel = Panel(from_finrl(frame, timeframe=timeframe, clock=clock))
    if not panel.tradable.all():
        raise DataError(_incomplete(panel))
    return panel


def indicator_columns(frame: pd.DataFrame, names: Sequence[str]) -> Float:
    """Values of a whole frame's further columns, float64 ``[T, k, S]``.

    Raises:
        DataError: A column is missing or holds no finite number somewhere.
    """
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise DataError(f"the FinRL frame lacks the indicators {', '.join(missing)}")
    size = frame["tic"].nunique()
    values = np.empty((len(frame) // size, len(names), size))
    for k, name in enumerate(names):
        column = frame[name].to_numpy(np.float64)
        _refuse(frame, ~np.isfinite(column), name, "is no number; cut the warm-up or drop it")
        values[:, k] = column.reshape(-1, size)
    return values


def _written(wall: Int, clock: str) -> npt.NDArray[np.str_]:
    """Dates as FinRL writes them."""
    if (np.diff(wall) <= 0).any():
        raise DataError(f"clock {clock} shows two bars at one time when it goes back; use utc")
    if (wall % SECOND_NS).any():
        raise DataError("a FinRL frame writes no fractions of a second, and some bars open on one")
    unit = "datetime64[s]" if (wall % DAY_NS).any() else "datetime64[D]"
    text = wall.astype("datetime64[ns]").astype(unit).astype(np.str_)
    return np.strings.replace(text, "T", " ")


def _incomplete(panel: Panel) -> str:
    """Which tic is missing where."""
    gaps = []
    for s in np.flatnonzero(~panel.tradable.all(axis=0)):
        absent = np.flatnonzero(~panel.tradable[:, s])
        first = str(panel.time[absent[0]].astype("datetime64[ns]").astype("datetime64[s]"))
        gaps.append(f"{panel.symbols[s]} lacks {absent.size} of {len(panel)} (first {first}Z)")
    more = f" and {len(gaps) - MOST_NAMED} more" if len(gaps) > MOST_NAMED else ""
    return f"a FinRL frame needs every tic on every date, and {', '.join(gaps[:MOST_NAMED])}{more}"


def _dates(frame: pd.DataFrame) -> tuple[Int, bool]:
    """Dates as int64 ns ``[rows]``, and whether they are UTC because they name a zone."""
    try:
        given = frame["date"]
        dates = pd.DatetimeIndex(pd.to_datetime(given, format="ISO8601" if _text(given) else None))
    except (ValueError, TypeError) as error:
        raise DataError(f"the FinRL frame has a date that cannot be read: {error}") from None
    if dates.hasnans:
        raise DataError(f"the FinRL frame has no date in row {int(np.argmax(dates.isna())) + 1}")
    aware = dates.tz is not None
    if aware:
        dates = dates.tz_convert("UTC").tz_localize(None)
    return dates.as_unit("ns").to_numpy().astype(np.int64), aware


def _text(column: pd.Series[str]) -> bool:
    return isinstance(column.iloc[0], str)


def _refuse_disorder(frame: pd.DataFrame, key: Int) -> None:
    """``key`` must rise from row to row."""
    steps = np.diff(key, prepend=key[0] - 1)
    _refuse(frame, steps < 0, "row", "is not sorted; use frame.sort_values(['date', 'tic'])")
    _refuse(frame, steps == 0, "row", "stands twice; drop the double ones")


def _numbers(frame: pd.DataFrame) -> dict[str, Float]:
    """Prices, volume and spread, checked."""
    numbers = {name: frame[name].to_numpy(np.float64) for name in NUMBERS}
    spread = frame["spread"] if "spread" in frame.columns else np.zeros(len(frame))
    numbers["spread"] = np.asarray(spread, np.float64)
    for name, column in numbers.items():
        _refuse(frame, ~np.isfinite(column), name, "is no number; fill it or drop the date")
        wrong = column <= 0.0 if name in PRICE_COLUMNS else column < 0.0
        _refuse(frame, wrong, name, "cannot be; repair the row or drop the date")
    for name in ("open", "close"):
        outside = (numbers[name] > numbers["high"]) | (numbers[name] < numbers["low"])
        cure = "lies outside low to high; FinRL's YahooDownloader puts an adjusted close beside raw"
        _refuse(frame, outside, name, f"{cure} prices: adjust open, high and low by the same ratio")
    return numbers


def _refuse(frame: pd.DataFrame, wrong: npt.NDArray[np.bool_], name: str, why: str) -> None:
    """Raise where a row is wrong; names the first."""
    if wrong.any():
        row = frame.iloc[int(np.argmax(wrong))]
        value = "" if name == "row" else f" {row[name]}"
        raise DataError(f"the FinRL frame, {row['date']} {row['tic']}: {name}{value} {why}")
