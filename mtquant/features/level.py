"""The level of other instruments, for those whose level itself means something.

A volatility index, a yield, a spread between two contracts, or a signal of one's own that is kept
as bars: what counts there is where it stands now, not how far it has moved.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from mtquant.errors import ConfigError
from mtquant.features.base import PARAMETERS, BaseFeature, Column, Params, in_stretches
from mtquant.market.bars import Bars, Float, Int
from mtquant.market.panel import Panel

Name = Annotated[str, Field(min_length=1)]


@dataclass(frozen=True, config=PARAMETERS)
class Level(BaseFeature):
    """The newest close of each named instrument that was known when the bar had closed.

    Formula:
        close of the instrument's last bar that opened no later than this bar
    Source:
        mtquant.
    Weakness:
        A level that wanders, such as a share's price, leaves the range that the scaler has seen in
        training; name instruments that come back. One that rests shows its last close.

    Attributes:
        of: The instruments; at least one, traded in the panel or its context.
    """

    key: ClassVar[str] = "level"
    group: ClassVar[str] = "level"

    of: tuple[Name, ...] = ()

    def __post_init__(self) -> None:
        if len(set(self.of)) < len(self.of):
            raise ValueError(f"of {list(self.of)} names an instrument twice; name it once")

    @property
    def columns(self) -> tuple[Column, ...]:
        """``level_NAME`` each."""
        return tuple(Column(f"level_{name}", f"newest close of {name}") for name in self.of)

    @property
    def lookback(self) -> int:
        """The bar itself."""
        return 1

    @property
    def context(self) -> tuple[str, ...]:
        """The instruments.

        Raises:
            ConfigError: There are none.
        """
        if not self.of:
            raise ConfigError("level has no instruments; say level: {of: [VIX, US10Y]}")
        return self.of

    @in_stretches
    def compute(self, panel: Panel, params: Params, last: int | None = None) -> Float:
        """The columns on the panel's clock, see :meth:`mtquant.features.base.Feature.compute`.

        Rows before an instrument's first bar are NaN.

        Raises:
            ConfigError: There are no instruments.
            DataError: The panel lacks one.
        """
        others = [panel.of(name) for name in self.context]
        rows = panel.row if last is None else panel.row[-last:]
        own = []
        for bars, row in zip(panel.bars, rows[0], strict=True):
            time = bars.time[max(int(row), 0) :]
            own.append(np.stack([_newest_close(other, time) for other in others], axis=1))
        return panel.place(own, last)


def _newest_close(bars: Bars, time: Int) -> Float:
    """Close of the last bar that opened at each time or before; NaN before the first."""
    newest = np.searchsorted(bars.time, time, side="right") - 1
    if not len(bars):
        return np.full(time.size, np.nan)
    return np.where(newest >= 0, bars.close[np.maximum(newest, 0)], np.nan)
