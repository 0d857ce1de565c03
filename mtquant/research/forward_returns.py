"""What a decision at a bar's close can earn: the moves from the next open on.

A column of row ``t`` is known when bar ``t`` closes, and the first price to trade at is the open of
``t + 1``. Moves are therefore counted from open to open; the close that was seen is no fill.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mtquant.errors import ConfigError, DataError
from mtquant.market.bars import Bars, Float


def check_horizons(horizons: Sequence[int]) -> tuple[int, ...]:
    """The horizons, refused unless they are distinct whole numbers of bars above 0.

    Raises:
        ConfigError: They are not.
    """
    chosen = tuple(horizons)
    if not chosen or len(set(chosen)) < len(chosen) or not all(_is_horizon(h) for h in chosen):
        raise ConfigError(
            f"horizons {list(chosen)} must be one or more distinct whole numbers of bars, 1 or more"
        )
    return chosen


def _is_horizon(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def forward_returns(bars: Bars, horizons: Sequence[int]) -> Float:
    """Log returns from the next open to the open ``h`` bars after it.

    Args:
        bars: ``T`` closed bars.
        horizons: Bars that each return spans.

    Returns:
        ``[T - 1 - max(horizons), H]``: the last rows have no such open yet.

    Raises:
        ConfigError: A horizon is no whole number above 0, or stands twice.
        DataError: There are no more bars than the longest horizon and one needs.
    """
    chosen = check_horizons(horizons)
    rows = len(bars) - 1 - max(chosen)
    if rows < 1:
        raise DataError(
            f"{bars.symbol}: returns over {max(chosen)} bars need at least {max(chosen) + 2} bars, "
            f"got {len(bars)}"
        )
    price = np.log(bars.open)
    return np.stack([price[1 + h : 1 + h + rows] - price[1 : 1 + rows] for h in chosen], axis=1)
