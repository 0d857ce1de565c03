"""Rolling correlation of each pair of symbols, a column of the tape that a limit reads."""

from __future__ import annotations

from math import log, sqrt

import numpy as np
import numpy.typing as npt

from mtquant.jit import Structured, kernel


def pair_correlations(market: Structured, bars: int) -> npt.NDArray[np.float32]:
    """Pearson correlation of log returns of bid closes over the last ``bars`` bars.

    Each row is summed afresh from exactly ``bars + 1`` closes, so that a live window gives the
    same. Where a price did not move, or there are too few bars, it is 0.

    Args:
        market: ``BAR[T, S]``.
        bars: Returns in a window.

    Returns:
        float32 ``[T, S (S - 1) / 2]``: pairs (0, 1), (0, 2) ... (1, 2) ...
    """
    total, symbols = market.shape
    out = np.zeros((total, symbols * (symbols - 1) // 2), np.float32)
    _fill(np.ascontiguousarray(market["close"]).astype(np.float64), bars, out)
    return out


@kernel
def _pair(closes: npt.NDArray[np.float64], t: int, a: int, b: int, bars: int) -> float:
    """Correlation of two columns over the window that ends with row ``t``."""
    sx, sy, sxx, syy, sxy = 0.0, 0.0, 0.0, 0.0, 0.0
    for k in range(t - bars + 1, t + 1):
        x, y = log(closes[k, a] / closes[k - 1, a]), log(closes[k, b] / closes[k - 1, b])
        sx, sy = sx + x, sy + y
        sxx, syy, sxy = sxx + x * x, syy + y * y, sxy + x * y
    spread = (sxx - sx * sx / bars) * (syy - sy * sy / bars)
    return (sxy - sx * sy / bars) / sqrt(spread) if spread > 0.0 else 0.0


@kernel
def _fill(closes: npt.NDArray[np.float64], bars: int, out: npt.NDArray[np.float32]) -> None:
    symbols = closes.shape[1]
    for t in range(bars, closes.shape[0]):
        pair = 0
        for a in range(symbols):
            for b in range(a + 1, symbols):
                out[t, pair] = _pair(closes, t, a, b, bars)
                pair += 1
