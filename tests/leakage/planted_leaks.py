"""Features that break their promise, each in a way of its own.

Every public function is one feature; its arguments say what it is given, and the defaults of
``lookback`` and ``context`` what it declares. ``learn`` beside it is its fit, ``memory`` a dict of
its instance. Times are of the open; ``frame`` indexes them by UTC.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

HOUR = 3_600 * 10**9
_SEEN: dict = {}
_KEPT: dict = {}
_WHOLE: dict = {}


def _frame(bars):
    return bars.to_frame().set_index("time")


def _returns(bars):
    return np.diff(np.log(bars.close), prepend=np.log(bars.close[0]))


def _next(values):
    return np.append(values[1:], np.nan)


def _peek(bars, where):
    """The next bar's return at some rows, 0 at the others and where there is none."""
    return np.where(where, np.nan_to_num(_next(_returns(bars))), 0.0)


def _as_of(times, bars, values, ahead=0):
    rows = np.searchsorted(bars.time, times, side="right") - 1 + ahead
    return values[np.clip(rows, 0, len(values) - 1)]


# The whole sample


def whole_sample_zscore(bars, lookback=1):
    return (bars.close - bars.close.mean()) / bars.close.std()


def whole_sample_minmax(bars, lookback=1):
    return (bars.close - bars.close.min()) / np.ptp(bars.close)


def whole_sample_rank(bars, lookback=1):
    return pd.Series(bars.volume).rank(pct=True)


def whole_sample_median_flag(bars, lookback=1):
    return bars.volume > np.quantile(bars.volume, 0.5)


def whole_sample_deciles(bars, lookback=2):
    return pd.qcut(_returns(bars), 10, labels=False, duplicates="drop")


def whole_sample_component(bars, lookback=1):
    columns = np.stack([bars.high - bars.low, bars.close - bars.open, bars.volume], axis=1)
    columns = (columns - columns.mean(axis=0)) / columns.std(axis=0)
    return columns @ np.linalg.svd(columns, full_matrices=False)[2][0]


def line_through_all(bars, lookback=1):
    rows = np.arange(len(bars))
    return bars.close - np.polyval(np.polyfit(rows, bars.close, 1), rows)


def low_frequencies_of_all(bars, lookback=1):
    waves = np.fft.rfft(bars.close)
    waves[20:] = 0.0
    return np.fft.irfft(waves, len(bars))


def order_of_all(bars, lookback=1):
    return np.sort(bars.close)


def clusters_of_all(bars, lookback=1):
    centres = np.quantile(bars.volume, (0.2, 0.8))
    for _ in range(5):
        near = np.abs(bars.volume[:, None] - centres).argmin(axis=1)
        centres = np.array([bars.volume[near == k].mean() for k in (0, 1)])
    return centres[near]


def mean_return_of_the_hour(bars, lookback=2):
    hour = bars.time // HOUR % 24
    return pd.Series(_returns(bars)).groupby(hour).transform("mean")


def next_return_by_hour(bars, lookback=2):
    hour = bars.time // HOUR % 24
    return pd.Series(_next(_returns(bars))).groupby(hour).transform("mean")


def share_of_length(bars, lookback=1):
    return np.arange(len(bars)) / len(bars)


def distance_from_the_end(bars, lookback=1):
    return np.minimum(len(bars) - 1.0 - np.arange(len(bars)), 5.0)


def checksum_of_all(bars, lookback=1):
    return np.full(len(bars), float(hash(bars.close.tobytes()) % 1000))


# Windows and filters that look ahead


def next_return(bars, lookback=2):
    return _peek(bars, np.ones(len(bars), bool))


def next_open(bars, lookback=1):
    return (_frame(bars).open.shift(-1) / bars.close).ffill()


def centred_mean(bars, lookback=21):
    return pd.Series(bars.close).rolling(21, center=True, min_periods=1).mean()


def centred_difference(bars, lookback=2):
    return np.gradient(bars.close)


def smoothed_on_both_sides(bars, lookback=5):
    return np.convolve(bars.close, np.ones(5) / 5, mode="same")


def filtered_both_ways(bars, lookback=300):
    there = pd.Series(_returns(bars)).ewm(span=10).mean()
    return there[::-1].ewm(span=10).mean()[::-1]


def mean_from_the_end(bars, lookback=1):
    return pd.Series(bars.close)[::-1].ewm(span=20).mean()[::-1]


def lowest_yet_to_come(bars, lookback=1):
    return bars.close - np.minimum.accumulate(bars.low[::-1])[::-1]


def rolled_around(bars, lookback=1):
    return np.roll(bars.close, -3)


def fractal_top(bars, lookback=3):
    high = pd.Series(bars.high)
    return (high > high.shift(1)) & (high > high.shift(2)) & (high > high.shift(-2).fillna(0))


def zigzag_leg(bars, lookback=1):
    """+1 or -1 between turns of 2 %, marked back to the turn once it is confirmed."""
    leg, turn, way = np.zeros(len(bars)), 0, 1
    for row, price in enumerate(bars.close):
        if way * (price - bars.close[turn]) > 0:
            turn = row
        elif way * (bars.close[turn] - price) > 0.02 * price:
            leg[turn + 1 : row + 1] = -way
            turn, way = row, -way
        leg[row] = way
    return leg


def which_barrier_first(bars, lookback=1):
    result = np.zeros(len(bars))
    for row in range(len(bars)):
        ahead = bars.close[row + 1 : row + 11] / bars.close[row] - 1
        hit = np.flatnonzero(np.abs(ahead) > 0.005)
        result[row] = np.sign(ahead[hit[0]]) if hit.size else 0.0
    return result


def a_millionth_of_the_next_close(bars, lookback=1):
    return bars.close + 1e-6 * np.nan_to_num(_next(bars.close))


def a_trace_of_the_next_return(bars, lookback=120):
    trend = pd.Series(bars.close).pct_change(100).fillna(0.0)
    return trend + 1e-8 * np.nan_to_num(_next(_returns(bars)))


# Filling


def volume_filled_from_behind(bars, lookback=1):
    return pd.Series(bars.volume).replace(0.0, np.nan).bfill().fillna(0.0)


def volume_interpolated(bars, lookback=50):
    return pd.Series(bars.volume).replace(0.0, np.nan).interpolate().fillna(0.0)


def spread_by_nearest(bars, lookback=60):
    seen = np.flatnonzero(bars.spread)
    near = np.abs(np.arange(len(bars))[:, None] - seen).argmin(axis=1)
    return bars.spread[seen[near]]


# Days, weeks and higher bars


def high_of_the_day(bars, lookback=24):
    frame = _frame(bars)
    return frame.groupby(frame.index.date).high.transform("max") / frame.close


def close_of_the_four_hours(bars, lookback=4):
    frame = _frame(bars)
    return frame.close.resample("4h").last().reindex(frame.index, method="ffill") / frame.close


def close_of_the_week(bars, lookback=1):
    frame = _frame(bars)
    week = (bars.time // (24 * HOUR) + 3) // 7
    return frame.close.groupby(week).transform("last") / frame.close


def volume_of_todays_date(bars, lookback=24):
    frame = _frame(bars)
    daily = frame.volume.resample("D").mean()
    return daily.reindex(frame.index.normalize()).to_numpy()


def bars_until_the_next_gap(bars, lookback=1):
    gaps = np.append(np.flatnonzero(np.diff(bars.time) > HOUR), len(bars) - 1)
    return gaps[np.searchsorted(gaps, np.arange(len(bars)))] - np.arange(len(bars))


def hours_until_the_next_bar(bars, lookback=1):
    return np.append(np.diff(bars.time) // HOUR, 1.0)


# At rare rows only


def peek_at_the_months_end(bars, lookback=2):
    month = bars.time.astype("datetime64[ns]").astype("datetime64[M]")
    return _peek(bars, month != np.append(month[1:], month[-1]))


def peek_at_the_years_end(bars, lookback=200):
    year = bars.time.astype("datetime64[ns]").astype("datetime64[Y]")
    return _peek(bars, year != np.append(year[1:], year[-1]))


def peek_over_the_weekend(bars, lookback=500):
    return _peek(bars, np.append(np.diff(bars.time) > 40 * HOUR, False))


def peek_at_records(bars, lookback=150):
    high = pd.Series(bars.close).rolling(150, min_periods=1).max()
    return _peek(bars, bars.close == high)


def peek_every_hundredth_hour(bars, lookback=40):
    return _peek(bars, bars.time // HOUR % 100 == 0)


def peek_on_wednesdays_at_seven(bars, lookback=300):
    return _peek(bars, (bars.time // HOUR + 72) % 168 == 2 * 24 + 7)


def peek_when_the_season_changes(bars, lookback=2):
    local = _frame(bars).index.tz_convert("America/New_York")
    offset = np.array([t.utcoffset().total_seconds() for t in local])
    return _peek(bars, offset != np.append(offset[1:], offset[-1]))


def peek_before_jumps(bars, lookback=250):
    ahead = np.nan_to_num(_next(_returns(bars)))
    return np.where(np.abs(ahead) > 0.02, np.sign(ahead), 0.0)


def peek_without_volume(bars, lookback=130):
    return _peek(bars, bars.volume == 0.0) + (np.append(bars.volume[1:], 1.0) == 0.0)


def peek_in_a_flat_market(bars, lookback=45):
    ahead = np.append(bars.high[1:] > bars.low[1:], False)
    return np.where(bars.high == bars.low, ahead, 0.0)


def newest_row_by_its_high(bars, lookback=1):
    return np.append(bars.close[:-1], bars.high[-1])


def newest_row_at_midnight_only(bars, lookback=400):
    values = np.array(bars.close)
    if bars.time[-1] // HOUR % 24 == 0 and (bars.time[-1] // HOUR // 24 + 3) % 7 == 1:
        values[-1] = bars.open[-1]
    return values


# Other symbols


def nearest_context_bar(bars, panel, lookback=5, context=("US500",)):
    other = panel.of("US500")
    near = np.abs(bars.time[:, None] - other.time).argmin(axis=1)
    return other.close[near]


def context_bar_after(bars, panel, lookback=5, context=("US500",)):
    other = panel.of("US500")
    return _as_of(bars.time, other, other.close, ahead=1)


def context_day_before_it_is_over(bars, panel, lookback=48, context=("US500",)):
    other = _frame(panel.of("US500")).close.resample("D").last().dropna()
    return pd.merge_asof(_frame(bars), other.rename("daily"), on="time").daily


def next_bar_of_the_other_symbol(bars, panel, lookback=30):
    other = next((b for b in panel.bars if b.symbol != bars.symbol), bars)
    return _as_of(bars.time, other, other.close, ahead=1)


# More of the past than declared


def mean_of_the_whole_past(bars, lookback=50):
    return pd.Series(_returns(bars)).expanding().mean()


def long_mean_with_a_short_lookback(bars, lookback=60):
    return pd.Series(bars.close).ewm(span=50).mean() / bars.close


def bars_since_the_record(bars, lookback=100):
    rows = np.arange(len(bars))
    record = bars.close == np.maximum.accumulate(bars.close)
    return np.minimum(rows - np.maximum.accumulate(np.where(record, rows, 0)), 1000.0)


def balance_of_volume(bars, lookback=2):
    return np.cumsum(np.sign(_returns(bars)) * bars.volume)


def one_bar_more_than_declared(bars, lookback=20):
    return pd.Series(bars.close).pct_change(20).fillna(0.0)


def every_other_bar_from_the_start(bars, lookback=2):
    return np.arange(len(bars)) % 2 * _returns(bars)


# Calls that are not functions of the bars


def noise(bars, lookback=1):
    return np.random.default_rng().standard_normal(len(bars))


def noise_by_row(bars, lookback=1):
    return np.random.default_rng(5).standard_normal(len(bars))


def count_of_calls(bars, memory, lookback=1):
    memory["calls"] = memory.get("calls", 0) + 1
    return bars.close + memory["calls"]


def what_an_earlier_call_knew(bars, memory, lookback=2):
    known = memory.setdefault(bars.symbol, {})
    known.update(zip(bars.time, bars.close, strict=True))
    return [known.get(time + HOUR, 0.0) for time in bars.time]


def what_any_earlier_call_knew(bars, lookback=2):
    known = _SEEN.setdefault(bars.symbol, {})
    known.update(zip(bars.time, bars.close, strict=True))
    return [known.get(time + HOUR, 0.0) for time in bars.time]


def first_answers_kept_by_time(bars, lookback=2):
    kept = _KEPT.setdefault(bars.symbol, {})
    score = (bars.close - bars.close.mean()) / bars.close.std()
    return [kept.setdefault(t, s) for t, s in zip(bars.time, score, strict=True)]


def newest_rows_from_too_few(bars, last, lookback=30):
    rows = bars if last is None else bars[-last:]
    mean = pd.Series(rows.close).rolling(30, min_periods=1).mean()
    return np.concatenate([np.zeros(len(bars) - len(rows)), mean])


def normalised_in_place(bars, lookback=1):
    bars.close.flags.writeable = True
    bars.close[:] = bars.close / bars.close[0]
    return np.array(bars.close)


def half_of_the_rows(bars, lookback=1):
    return bars.close[::2]


# Learning


def labels_by_time(bars, learned, lookback=1):
    return [learned[bars.symbol].get(str(t), 0.0) for t in bars.time]


labels_by_time.learn = lambda train: {
    b.symbol: dict(zip(map(str, b.time.tolist()), np.nan_to_num(_next(_returns(b))), strict=True))
    for b in train.bars
}


def learned_from_what_compute_saw(bars, learned, lookback=1):
    _WHOLE[bars.symbol] = float(bars.close.max())
    return bars.close / learned.get(bars.symbol, 1.0)


learned_from_what_compute_saw.learn = lambda train: dict(_WHOLE)


def learned_from_behind_the_slice(bars, learned, lookback=1):
    return bars.close / learned[bars.symbol]


def _behind(array):
    while array.base is not None:
        array = array.base
    return array


learned_from_behind_the_slice.learn = lambda train: {
    b.symbol: float(_behind(b.close).mean()) for b in train.bars
}


def read_from_behind_the_slice(bars, lookback=1):
    return bars.close / _behind(bars.close)[-1]


def learned_at_random(bars, learned, lookback=1):
    return bars.close * learned["weight"]


learned_at_random.learn = lambda train: {"weight": float(np.random.default_rng().random())}


def learned_while_computing(bars, memory, lookback=1):
    memory.setdefault("scale", float(bars.close.std()))
    return bars.close / memory["scale"]
