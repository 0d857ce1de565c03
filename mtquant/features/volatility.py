"""How much the price moves: realised volatility close to close, and short against long."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from mtquant.features.base import PARAMETERS, Column, Params, SymbolFeature
from mtquant.features.returns import log_return
from mtquant.features.windows import ratio, root_mean_square
from mtquant.market.bars import Bars, Float

Period = Annotated[int, Field(ge=2, le=2000)]


@dataclass(frozen=True, config=PARAMETERS)
class RealisedVolatility(SymbolFeature):
    """Root mean square of one-bar log returns, per bar and not annualised.

    The mean is not removed: over a few dozen bars it is noise, and without it the ratio of two
    windows has a bound.

    Attributes:
        short: Bars of the short window.
        long: Bars of the long window.
    """

    key: ClassVar[str] = "realised_volatility"
    group: ClassVar[str] = "volatility"

    short: Period = 20
    long: Period = 100

    def __post_init__(self) -> None:
        if self.short >= self.long:
            raise ValueError(f"short {self.short} must be below long {self.long}")

    @property
    def columns(self) -> tuple[Column, ...]:
        """Both volatilities and ``volatility_ratio``."""
        return (
            Column(f"volatility_{self.short}", f"volatility of {self.short} returns", low=0.0),
            Column(f"volatility_{self.long}", f"volatility of {self.long} returns", low=0.0),
            Column("volatility_ratio", "short over long volatility", 0.0, self._bound),
        )

    @property
    def _bound(self) -> float:
        return math.sqrt(self.long / self.short)

    @property
    def lookback(self) -> int:
        """The long window and the close before it."""
        return self.long + 1

    def on_bars(self, bars: Bars, params: Params) -> Sequence[Float]:
        """``sqrt(mean(r ** 2))`` twice, and their quotient, 1 where nothing moved."""
        returns = log_return(bars.close, 1)
        short = root_mean_square(returns, self.short)
        long = root_mean_square(returns, self.long)
        return [short, long, np.minimum(ratio(short, long, empty=1.0), self._bound)]
