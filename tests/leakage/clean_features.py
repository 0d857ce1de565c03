"""Honest features next to the planted leaks, declared in the same way."""

from __future__ import annotations

import numpy as np
import pandas as pd

HOUR = 3_600 * 10**9


def _frame(bars):
    return bars.to_frame().set_index("time")


def _returns(bars):
    return np.diff(np.log(bars.close), prepend=np.log(bars.close[0]))


def _windows(values, bars):
    padded = np.concatenate([np.full(bars - 1, values[0]), values])
    return np.lib.stride_tricks.sliding_window_view(padded, bars)


# Trailing windows


def last_return(bars, lookback=2):
    return _returns(bars)


def past_return(bars, lookback=11):
    return pd.Series(bars.close).pct_change(10)


def trailing_mean(bars, lookback=21):
    return bars.close / pd.Series(bars.close).rolling(21).mean()


def trailing_zscore(bars, lookback=50):
    close = pd.Series(bars.close)
    return ((close - close.rolling(50).mean()) / close.rolling(50).std()).replace(np.inf, 0.0)


def trailing_minmax(bars, lookback=30):
    low, high = (pd.Series(c).rolling(30) for c in (bars.low, bars.high))
    return (bars.close - low.min()) / (high.max() - low.min() + 1e-9)


def trailing_rank(bars, lookback=40):
    return pd.Series(bars.volume).rolling(40).rank(pct=True)


def trailing_quantile(bars, lookback=60):
    return bars.volume > pd.Series(bars.volume).rolling(60).quantile(0.8)


def trailing_median_absolute(bars, lookback=31):
    return np.median(np.abs(_windows(_returns(bars), 30)), axis=1)


def trailing_variance_of_returns(bars, lookback=101):
    return pd.Series(_returns(bars)).rolling(100).var()


def trailing_skewness(bars, lookback=61):
    return pd.Series(np.diff(bars.close, prepend=bars.close[0])).rolling(60).skew()


def trailing_correlation(bars, lookback=81):
    change = pd.Series(_returns(bars))
    return change.rolling(80).corr(pd.Series(bars.volume)).fillna(0.0)


def trailing_line(bars, lookback=20):
    rows = np.arange(20) - 9.5
    return _windows(bars.close, 20) @ (rows / (rows**2).sum())


def trailing_component(bars, lookback=64):
    moves = np.stack([_returns(bars), (bars.high - bars.low) / bars.close])
    parts = np.stack([_windows(series, 63) for series in moves], axis=1)
    parts = parts - parts.mean(axis=2, keepdims=True)
    spread = [(parts[:, i] * parts[:, j]).sum(axis=1) for i, j in ((0, 0), (0, 1), (1, 1))]
    half, product = (spread[0] + spread[2]) / 2, spread[0] * spread[2] - spread[1] ** 2
    return half + np.sqrt(np.maximum(half**2 - product, 0.0))


def trailing_convolution(bars, lookback=5):
    return np.convolve(bars.close, np.ones(5) / 5)[: len(bars)]


def trailing_spectrum(bars, lookback=32):
    return np.abs(np.fft.rfft(_windows(bars.close, 32), axis=1))[:, 3]


def trailing_sum_by_difference(bars, lookback=25):
    total = np.concatenate([[0.0], np.cumsum(bars.volume)])
    return total[np.arange(1, len(bars) + 1)] - total[np.maximum(np.arange(len(bars)) - 24, 0)]


def trailing_autocorrelation(bars, lookback=42):
    moves = _windows(_returns(bars), 41)
    return (moves[:, 1:] * moves[:, :-1]).mean(axis=1)


def rank_of_the_window(bars, lookback=15):
    windows = _windows(bars.close, 15)
    return (windows <= windows[:, -1:]).mean(axis=1)


def bars_since_the_high_of_the_window(bars, lookback=50):
    return np.argmax(_windows(bars.high, 50)[:, ::-1], axis=1)


def high_confirmed_three_bars_later(bars, lookback=7):
    windows = _windows(bars.high, 7)
    return windows.argmax(axis=1) == 3


def share_of_rises(bars, lookback=31):
    return pd.Series(_returns(bars) > 0).rolling(30).mean()


# Recursions with an honest lookback


def exponential_mean(bars, lookback=400):
    return pd.Series(bars.close).ewm(span=20, adjust=False).mean() / bars.close


def adjusted_exponential_deviation(bars, lookback=600):
    return pd.Series(_returns(bars)).ewm(span=20).std()


def windowed_recursion(bars, lookback=31):
    level = np.zeros(len(bars))
    moves = _windows(_returns(bars), 30)
    for k in range(30):
        level = 0.9 * level + moves[:, k]
    return level


def long_recursion(bars, lookback=1400):
    return pd.Series(bars.close).ewm(span=100, adjust=False).mean() - bars.close


def kalman_level(bars, lookback=300):
    level, variance, result = bars.close[0], 1.0, np.empty(len(bars))
    for row, price in enumerate(bars.close):
        gain = (variance + 0.05) / (variance + 1.05)
        level, variance = level + gain * (price - level), gain
        result[row] = level
    return result / bars.close


# Filling, ties, precision


def volume_filled_from_before(bars, lookback=90):
    held = pd.Series(bars.volume).replace(0.0, np.nan)
    return held.ffill(limit=89).fillna(0.0)


def mean_of_the_recorded_spreads(bars, lookback=24):
    seen = pd.Series(bars.spread).replace(0.0, np.nan)
    return seen.rolling(24, min_periods=1).mean().fillna(-1.0)


def nothing_where_nothing_moves(bars, lookback=20):
    spread = pd.Series(bars.high).rolling(20).max() - pd.Series(bars.low).rolling(20).min()
    return np.divide(1.0, spread, out=np.zeros(len(bars)), where=np.asarray(spread) > 0)


def undefined_without_movement(bars, lookback=1):
    return (bars.close - bars.low) / (bars.high - bars.low)


def side_of_the_mean(bars, lookback=20):
    return np.sign(bars.close - pd.Series(bars.close).rolling(20).mean())


def same_close_as_before(bars, lookback=2):
    return bars.close == np.append(np.nan, bars.close[:-1])


def run_of_rises(bars, lookback=12):
    return np.cumprod(_windows(_returns(bars), 11)[:, ::-1] > 0, axis=1).sum(axis=1)


def single_precision(bars, lookback=30):
    close = bars.close.astype(np.float32)
    return pd.Series(close).rolling(30).mean().astype(np.float32) / close


def single_precision_deviation(bars, lookback=30):
    return pd.Series(_returns(bars)).rolling(29).std().astype(np.float32)


def rounded_to_cents(bars, lookback=10):
    return pd.Series(bars.close).rolling(10).mean().round(2)


# Times, days and higher bars


def hour_and_weekday(bars, lookback=1):
    hours = bars.time // HOUR
    return np.sin(2 * np.pi * (hours % 24) / 24) + (hours // 24 + 3) % 7


def local_hour(bars, lookback=1):
    return _frame(bars).index.tz_convert("America/New_York").hour


def last_days_of_the_month(bars, lookback=1):
    return _frame(bars).index.days_in_month - _frame(bars).index.day


def hours_since_the_bar_before(bars, lookback=2):
    return np.diff(bars.time, prepend=bars.time[0]) // HOUR


def hours_until_friday_night(bars, lookback=1):
    return (4 * 24 + 22 - (bars.time // HOUR + 72) % 168) % 168


def high_of_the_day_so_far(bars, lookback=24):
    frame = _frame(bars)
    return frame.groupby(frame.index.date).high.cummax() / frame.close


def close_of_the_four_hours_before(bars, lookback=8):
    frame = _frame(bars)
    closed = frame.close.resample("4h").last().dropna()
    closed.index += pd.Timedelta("4h")
    held = pd.merge_asof(frame[["close"]], closed.rename("higher"), left_index=True,
                         right_index=True)  # fmt: skip
    return held.close / held.higher


def mean_of_a_day_by_time(bars, lookback=24):
    return _frame(bars).close.rolling("24h").mean().to_numpy() / bars.close


def vwap_of_the_day_so_far(bars, lookback=24):
    frame = _frame(bars)
    day = frame.index.date
    money = (frame.close * frame.volume).groupby(day).cumsum()
    return (money / frame.volume.groupby(day).cumsum()).fillna(frame.close) / frame.close


def week_to_date(bars, lookback=120):
    week = (bars.time // (24 * HOUR) + 3) // 7
    return pd.Series(_returns(bars)).groupby(week).cumsum()


# Other symbols


def context_as_of_its_newest_bar(bars, panel, lookback=5, context=("US500",)):
    other = _frame(panel.of("US500"))[["close"]].rename(columns={"close": "index"})
    return pd.merge_asof(_frame(bars), other, left_index=True, right_index=True)["index"]


def context_mean(bars, panel, lookback=50, context=("USOIL",)):
    other = panel.of("USOIL")
    mean = pd.Series(other.close).rolling(50).mean().to_numpy()
    rows = np.searchsorted(other.time, bars.time, side="right") - 1
    return mean[rows] / bars.close


def context_of_the_same_time_only(bars, panel, lookback=2, context=("US500",)):
    return np.isin(bars.time, panel.of("US500").time)


def other_symbol_as_of(bars, panel, lookback=10):
    other = next((b for b in panel.bars if b.symbol != bars.symbol), bars)
    rows = np.searchsorted(other.time, bars.time, side="right") - 1
    return np.where(rows >= 0, other.close[np.maximum(rows, 0)], np.nan) / bars.close


# Learning and remembering


def quantile_gate(bars, learned, lookback=1):
    return bars.volume > learned[bars.symbol]


quantile_gate.learn = lambda train: {
    b.symbol: float(np.quantile(b.volume, 0.7)) for b in train.bars
}


def mean_move_by_hour(bars, learned, lookback=1):
    return np.array([learned[str(h)] for h in bars.time // HOUR % 24])


def _learn_hours(train):
    bars = train.bars[0]
    ahead, hour = np.append(_returns(bars)[1:], 0.0), bars.time // HOUR % 24
    return {str(h): float(ahead[hour == h].sum()) for h in range(24)}


mean_move_by_hour.learn = _learn_hours


def learned_component(bars, learned, lookback=2):
    return np.abs(_returns(bars)) * learned["weights"][0] + bars.volume * learned["weights"][1]


def _learn_component(train):
    columns = np.stack([np.abs(_returns(train.bars[0])), train.bars[0].volume], axis=1)
    return {"weights": np.linalg.svd(columns, full_matrices=False)[2][0].tolist()}


learned_component.learn = _learn_component


def answers_kept_by_content(bars, memory, lookback=20):
    key = bars.fingerprint()
    if key not in memory:
        memory[key] = pd.Series(bars.close).rolling(20).mean().to_numpy()
    return memory[key]


def seeded_projection(bars, lookback=16):
    weights = np.random.default_rng(3).standard_normal(16)
    return (_windows(bars.close, 16) * weights).sum(axis=1)


def newest_rows_alone(bars, last, lookback=30):
    start = 0 if last is None else max(len(bars) - last - 35, 0)
    mean = pd.Series(bars.close[start:]).rolling(30, min_periods=1).mean()
    return np.concatenate([np.zeros(start), mean])
