"""The scaler: from raw columns to numbers a network can read, by what the training split taught.

Prices have fat tails and files have bad ticks, so centre and width come from quantiles: a handful
of monstrous bars moves neither, while tails that come every day still widen the scale. A column
with natural bounds is not fitted at all but mapped from them to [-1, 1], the same in every bundle.
Whatever is left outside ``CLIP`` is cut there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mtquant.errors import DataError
from mtquant.features.base import STRETCH, Column
from mtquant.market.bars import Float

Float32 = npt.NDArray[np.float32]

#: Scaled values stay within this many widths of the centre.
CLIP = 5.0

#: Columns have no unit; a spread of values below this is rounding, such as a flat market's.
NEGLIGIBLE = 1e-12

#: Distance of the 5 % and the 95 % quantile of a normal distribution with unit deviation.
NORMAL_RANGE = 3.2897072539029457


@dataclass(frozen=True, eq=False)
class Scaler:
    """One affine map per column, then a cut at ``CLIP``.

    Attributes:
        names: Columns, in order.
        centre: Becomes 0, float64 ``[k]``.
        width: Becomes 1, float64 ``[k]``, above 0.
    """

    names: tuple[str, ...]
    centre: Float
    width: Float

    @classmethod
    def fit(cls, values: Float, columns: Sequence[Column]) -> Scaler:
        """Centre and width of each column.

        Fitted columns take the median, and the distance of the 5 % and 95 % quantiles over that of
        a normal; where these are equal, the mean and the standard deviation; where all rows are,
        a width of 1, so that the column is 0 on what it was fitted to.

        Args:
            values: Finite rows of the training split, ``[N, k]``.
            columns: What each of the ``k`` columns is.

        Raises:
            DataError: No rows, or a value that is not finite (names its column).
        """
        if not len(values):
            raise DataError("the scaler has no rows to learn from; the training split is too short")
        for k, column in enumerate(columns):
            if not np.isfinite(values[:, k]).all():
                raise DataError(
                    f"column '{column.name}' is not finite in the training split; "
                    "leave the warm-up rows out and check the bars"
                )
        fitted = [_learned(values[:, k]) if c.fitted else _given(c) for k, c in enumerate(columns)]
        centre, width = np.array(fitted, dtype=np.float64).reshape(-1, 2).T
        return cls(tuple(c.name for c in columns), centre.copy(), width.copy())

    def transform(self, values: Float) -> Float32:
        """Scaled values.

        Args:
            values: float64 ``[T, k]``; NaN rows (warm-up) stay NaN.

        Returns:
            float32 ``[T, k]`` within ``CLIP`` of 0.
        """
        result = np.empty(values.shape, np.float32)
        scale(values, self.centre, self.width, result)
        return result

    def to_dict(self) -> dict[str, Any]:
        """JSON values that :meth:`from_dict` turns into the same bits."""
        return {
            "names": list(self.names),
            "centre": self.centre.tolist(),
            "width": self.width.tolist(),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Scaler:
        """The scaler that :meth:`to_dict` described.

        Raises:
            DataError: A field is missing, of another length, or no usable number.
        """
        try:
            names = tuple(str(name) for name in data["names"])
            centre = np.array(data["centre"], dtype=np.float64)
            width = np.array(data["width"], dtype=np.float64)
        except (KeyError, TypeError, ValueError) as problem:
            raise DataError(f"a stored scaler cannot be read: {problem!r}") from None
        usable = np.isfinite(centre).all() and np.isfinite(width).all() and (width > 0.0).all()
        if not (centre.shape == width.shape == (len(names),) and usable):
            raise DataError("a stored scaler needs one finite centre and one width above 0 a name")
        return cls(names, centre, width)


def scale(values: Float, centre: Float, width: Float, out: Float32) -> None:
    """Write ``(values - centre) / width`` to ``out``, cut at ``CLIP``; a stretch of rows a time."""
    for start in range(0, len(values), STRETCH):
        rows = slice(start, start + STRETCH)
        scaled = values[rows] - centre
        scaled /= width
        out[rows] = np.clip(scaled, -CLIP, CLIP, out=scaled)


def _given(column: Column) -> tuple[float, float]:
    return (column.low + column.high) / 2.0, (column.high - column.low) / 2.0


def _learned(values: Float) -> tuple[float, float]:
    lower, centre, upper = (float(q) for q in np.quantile(values, (0.05, 0.5, 0.95)))
    if values.max() - values.min() <= NEGLIGIBLE:
        return centre, 1.0
    if upper - lower > NEGLIGIBLE:
        return centre, (upper - lower) / NORMAL_RANGE
    return float(values.mean()), float(values.std())
