"""Normal variables that planted markets are made of: autoregressions, and moments of one side."""

from __future__ import annotations

import math
from itertools import accumulate

import numpy as np

from mtquant.errors import ConfigError
from mtquant.market.bars import Float

_NOISE_STREAM = 0x4E4F495345  # keeps noise apart from histories of the same seeds


def autoregression(rng: np.random.Generator, phi: float, length: int) -> Float:
    """AR(1) of unit variance from its stationary start: ``f' = phi f + sqrt(1 - phi^2) n``."""
    shocks = rng.standard_normal(length)
    if phi == 0.0:
        return shocks
    shocks[1:] *= (1.0 - phi * phi) ** 0.5
    return np.array(list(accumulate(shocks.tolist(), lambda f, shock: phi * f + shock)))


def noise_signals(n: int, n_bars: int, seed: int, phi: float = 0.9) -> dict[str, Float]:
    """Columns that look like signals and carry nothing.

    Args:
        n: How many columns, called ``noise_1``, ``noise_2``, ...
        n_bars: Values of each.
        seed: Of the columns; any seed, as they share no random number with a history.
        phi: Share of a value that stays for the next bar.

    Returns:
        Autoregressions of unit variance by name, float64 ``[n_bars]`` each.

    Raises:
        ConfigError: ``phi`` is not inside -1..1, or a count or the seed is negative.
    """
    if not abs(phi) < 1.0 or min(n, n_bars, seed) < 0:
        raise ConfigError(
            "noise needs phi inside -1..1 and no negative count or seed, "
            f"not phi {phi}, {n} columns, {n_bars} bars and seed {seed}"
        )
    streams = np.random.default_rng([seed, _NOISE_STREAM]).spawn(n)
    return {f"noise_{k}": autoregression(rng, phi, n_bars) for k, rng in enumerate(streams, 1)}


def normal_cdf(x: Float) -> Float:
    """Distribution function of the standard normal law, any shape."""
    below: Float = np.vectorize(math.erfc, otypes=[np.float64])(-x / math.sqrt(2.0))
    return 0.5 * below


def normal_semivariances(mean: Float, deviation: float) -> tuple[Float, Float]:
    """``E[min(z, 0)^2]`` and ``E[max(z, 0)^2]`` of normal moves, by their closed form.

    ::

        E[max(z, 0)^2] = (m^2 + s^2) Phi(m / s) + m s phi(m / s)

    Args:
        mean: ``m``, any shape.
        deviation: ``s``, 0 where the move is known.

    Returns:
        Of a fall and of a rise, the shape of ``mean``; they add up to ``m^2 + s^2``.
    """
    if deviation == 0.0:
        return np.minimum(mean, 0.0) ** 2, np.maximum(mean, 0.0) ** 2
    score, square = mean / deviation, mean**2 + deviation**2
    tail = mean * deviation * np.exp(-0.5 * score**2) / math.sqrt(2.0 * math.pi)
    return square * normal_cdf(-score) - tail, square * normal_cdf(score) + tail
