"""Spikes: prices that jump away for one bar and come back at once.

A bad tick has three marks. It reaches far beyond the bars around it, measured in the local range;
the market is back at once, so neither the bar before nor the bar after is near it; and its
neighbours are calm. A crash has the first mark only: its hours before and after are wild too.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from mtquant.market.bars import Float
from mtquant.market.clock import Mask
from mtquant.market.raw import RawBars

_WINDOW = 50  # bars on each side that tell the usual range
_NEIGHBOURS = 3  # bars on each side that must be calm
_RANGES = 8.0  # a spike reaches this many usual ranges
_OVER_NEIGHBOURS = 3.0  # and this many times the widest neighbour
_RETURNS = 3.0  # and this many times what remains of it when the next bar opens
_SPLITS = np.array([1.5, 2, 3, 4, 5, 6, 7, 8, 10, 15, 20, 25, 30, 50])
_SPLIT_TOLERANCE = 0.03  # of the ratio: the night's own move


def reverting_spikes(raw: RawBars) -> Mask:
    """Bars whose high or low is a bad tick, bool ``[T]``; the bars must be in order."""
    spikes = np.zeros(len(raw), np.bool_)
    if len(raw) < 2 * _NEIGHBOURS + 3:
        return spikes
    with np.errstate(divide="ignore", invalid="ignore"):
        o, h, low, c = (np.log(x) for x in (raw.open, raw.high, raw.low, raw.close))
    before, after = np.concatenate([[o[0]], c[:-1]]), np.concatenate([o[1:], [c[-1]]])
    true_range = np.fmax(h, before) - np.fmin(low, before)
    reach = np.fmax(h - np.fmax(before, after), np.fmin(before, after) - low)
    usual = _local_median(true_range)
    # A zero range (flat, illiquid stretches) must not make every tick a spike.
    floor = np.nanmedian(true_range)
    wild = reach > _RANGES * np.fmax(usual, floor / 4)
    wild &= reach > _RETURNS * np.abs(after - before)
    for row in np.flatnonzero(wild):
        near = np.r_[max(row - _NEIGHBOURS, 0) : row, row + 1 : row + 1 + _NEIGHBOURS]
        near = near[near < len(raw)]
        ranges = h[near] - low[near]
        spikes[row] = reach[row] > _OVER_NEIGHBOURS * np.nanmax(ranges)
    return spikes


def split_jumps(raw: RawBars) -> Mask:
    """Bars that open at a simple fraction or multiple of the close before, bool ``[T]``.

    The move must dwarf the ranges around it and stay: what a stock split does to unadjusted prices.
    """
    jumps = np.zeros(len(raw), np.bool_)
    if len(raw) < 2 * _NEIGHBOURS + 3:
        return jumps
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = raw.close[:-1] / raw.open[1:]
        folded = np.where(ratio < 1, 1 / ratio, ratio)
    nearest = _SPLITS[np.abs(folded[:, None] - _SPLITS).argmin(axis=1)]
    jumps[1:] = np.abs(folded / nearest - 1) < _SPLIT_TOLERANCE
    for row in np.flatnonzero(jumps):
        inside = np.log(raw.high[row] / raw.low[row])
        stays = np.log(raw.close[row] / raw.open[row])
        jumps[row] = max(inside, abs(stays)) < 0.5 * np.log(folded[row - 1])
    return jumps


def _local_median(values: Float) -> Float:
    window = min(2 * _WINDOW + 1, values.size)
    # Every tenth window is enough for a scale and keeps a million bars fast.
    views = sliding_window_view(values, window)[::10]
    centres = np.arange(views.shape[0]) * 10 + window // 2
    nearest = np.searchsorted(centres, np.arange(values.size)).clip(0, centres.size - 1)
    medians = np.asarray(np.nanmedian(views, axis=1), np.float64)
    scale: Float = medians[nearest]
    return scale
