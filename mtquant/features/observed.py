"""What an agent sees of the market: the columns it asks for, scaled or raw, over its window."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from mtquant.features.pipeline import FittedPipeline
from mtquant.features.scaler import Float32
from mtquant.market.panel import Panel


class Observer(Protocol):
    """The part of an agent that says what it wants to see."""

    @property
    def inputs(self) -> tuple[str, ...] | None:
        """Feature names it reads, in order; None reads every feature of the env."""

    @property
    def scaled(self) -> bool:
        """Whether it reads scaled features or raw ones."""

    @property
    def window(self) -> int:
        """Bars it sees at once, the newest last."""


def observed_rows(
    observer: Observer, pipeline: FittedPipeline, panel: Panel, last: int | None = None
) -> Float32:
    """What an agent sees of each single bar.

    Args:
        observer: Who will look.
        pipeline: Fitted on the training split.
        panel: Closed bars.
        last: With n, only the last n rows are computed.

    Returns:
        float32 ``[T, F]``.
    """
    values = (
        pipeline.transform(panel, last)
        if observer.scaled
        else pipeline.raw(panel, last).astype(np.float32)
    )
    if observer.inputs is not None:
        values = values[:, pipeline.positions(observer.inputs)]
    return np.ascontiguousarray(values)


def observed_features(
    observer: Observer, pipeline: FittedPipeline, panel: Panel, last: int | None = None
) -> Float32:
    """The market part of an agent's observations; arguments as for :func:`observed_rows`.

    Returns:
        float32 ``[T, window * F]``; with a window a view in which each row overlaps the last.
    """
    window = observer.window
    wanted = None if last is None else last + window - 1
    values = observed_rows(observer, pipeline, panel, wanted)
    if window == 1:
        return values
    if last is None:
        head = np.full((window - 1, values.shape[1]), np.nan, np.float32)
        values = np.concatenate([head, values])
    rows, width = values.shape
    return np.lib.stride_tricks.as_strided(
        values, (rows - window + 1, window * width), values.strides, writeable=False
    )
