"""What crossing the market costs now, against what it usually costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from mtquant.features.base import PARAMETERS, Column, Params, SymbolFeature
from mtquant.features.windows import median
from mtquant.market.bars import Bars, Float


@dataclass(frozen=True, config=PARAMETERS)
class SpreadRatio(SymbolFeature):
    """Log of the spread over the median of the recorded ones in a trailing window.

    The quotient has no unit, so a broker with another point size gives the same column. A spread of
    0 (or below, where bid and ask were not taken together) is *not recorded*: it counts as the
    usual one and never enters the median.

    Formula:
        ln(spread / median of the recorded spreads among the last ``period``),  0 if not recorded
    Source:
        mtquant.
    Weakness:
        A bar has one spread: what the broker wrote down, often that of its open or the least, so a
        spike inside it is not seen. Where most bars repeat one spread it is 0 nearly always.

    Attributes:
        period: Bars of the window, the newest included.
    """

    key: ClassVar[str] = "spread_ratio"
    group: ClassVar[str] = "spread"

    period: Annotated[int, Field(ge=2, le=2000)] = 120

    @property
    def columns(self) -> tuple[Column, ...]:
        """``spread_ratio``."""
        return (Column("spread_ratio", f"log spread over the median of {self.period} bars"),)

    @property
    def lookback(self) -> int:
        """The window."""
        return self.period

    def on_bars(self, bars: Bars, params: Params) -> Sequence[Float]:
        """``ln(spread / median)``, 0 where the spread was not recorded."""
        recorded = np.where(bars.spread > 0.0, bars.spread, np.nan)
        usual = median(recorded, self.period)
        return [np.nan_to_num(np.log(recorded / usual), nan=0.0)]
