"""Does the newest stretch of market compress? Two takes on it: a quantum autoencoder, and zlib.

Both call what compresses well a clean market. Both gates of the original documents are kept as
presets, and neither of them ever moves; :func:`gate_finding` says so of any gate on any bars.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from mtquant.features.base import PARAMETERS, Column, Params, SymbolFeature
from mtquant.features.circuit import FLOOR, fidelities
from mtquant.features.returns import log_return
from mtquant.market.bars import Bars, Float

Share = Annotated[float, Field(gt=0.0, lt=1.0)]
Threshold = Annotated[float, Field(ge=0.5, le=1.0)]

#: Highest confidence that a signal may have.
MOST_CONFIDENT = 0.95

#: A gate that is open or shut on more than this share of bars counts as one that never moves.
STUCK = 0.99


@dataclass(frozen=True, config=PARAMETERS)
class CompressionRegime(SymbolFeature):
    """CLEAN, VOLATILE or CHOPPY, by how well one window fits a small quantum circuit.

    One layer of rotations has a closed form and measures how far the even amplitudes are a multiple
    of the odd ones. Two layers, each angle searched, fit almost any window: that is preset `seed`,
    with the path of the price as amplitudes, the unsquared fidelity (the root of the probability)
    and fixed thresholds. The default fits its thresholds to the training split's quantiles; with
    nothing learnt, one layer on returns takes those of white noise, anything else the preset's. A
    window without motion has the lowest fidelity and is CHOPPY.

    Formula:
        psi = x / |x|, x the window; a, b, c = |even|^2, |odd|^2, even . odd
        compression_fidelity = (1 + sqrt((a - b)^2 + 4 c^2)) / 2 with one layer, its root if not
            squared; CLEAN from `clean` on, CHOPPY below `volatile`, VOLATILE between
        trade_allowed = CLEAN; compression_confidence = 0.95 (fidelity - clean) / (1 - clean)
    Source:
        Romero, Olson, Aspuru-Guzik (2017), Quantum autoencoders; closed form by mtquant.
    Weakness:
        One window hardly tells a market from noise (AUC 0.50 to 0.55 on 16 returns); `ensemble` is
        the sound version. A single jump in a flat window fits perfectly. Under `seed` the gate
        never closes: random walks have a median fidelity of 0.993, and 99.7 % of bars are CLEAN.
        Raw prices would be worse: 1.0000 with any circuit, as they are nearly equal.

    Attributes:
        window: Numbers in a window, the amplitudes of log2(window) qubits.
        numbers: Log returns, or the path: the log price against the close before the window.
        layers: 1 (closed form) or 2 (searched), with a ring of CNOTs between the two.
        squared: Whether the fidelity is the probability of the empty trash qubit, or its root.
        clean: Least fidelity that is CLEAN; fitted if none.
        volatile: Least fidelity that is VOLATILE; fitted if none.
        clean_share: Share of training bars that fitted thresholds make CLEAN.
        choppy_share: Share of training bars that fitted thresholds make CHOPPY.
    """

    key: ClassVar[str] = "compression"
    group: ClassVar[str] = "regime"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "seed": {
            "window": 16,
            "numbers": "path",
            "layers": 2,
            "squared": False,
            "clean": 0.95,
            "volatile": 0.85,
        }
    }

    window: Literal[4, 8, 16, 32, 64] = 16
    numbers: Literal["returns", "path"] = "returns"
    layers: Literal[1, 2] = 1
    squared: bool = True
    clean: Threshold | None = None
    volatile: Threshold | None = None
    clean_share: Share = 1 / 3
    choppy_share: Share = 1 / 3

    def __post_init__(self) -> None:
        if (self.clean is None) != (self.volatile is None):
            raise ValueError("give both of the thresholds clean and volatile, or neither")
        if self.clean is not None and self.volatile is not None and self.clean < self.volatile:
            raise ValueError(f"clean {self.clean} must not be below volatile {self.volatile}")
        if self.clean_share + self.choppy_share > 1.0:
            raise ValueError(
                f"clean_share {self.clean_share} and choppy_share {self.choppy_share} exceed 1"
            )

    @property
    def columns(self) -> tuple[Column, ...]:
        """The fidelity, a flag for each label, whether to trade, and how sure of it."""
        low = self._convention(FLOOR)
        return (
            Column(
                "compression_fidelity", "how well the window compresses", low, 1.0, fitted=False
            ),
            Column("regime_clean", "1 if it compresses well", 0.0, 1.0, fitted=False),
            Column("regime_volatile", "1 if neither clean nor choppy", 0.0, 1.0, fitted=False),
            Column("regime_choppy", "1 if it does not compress", 0.0, 1.0, fitted=False),
            Column("trade_allowed", "1 if the regime is clean", 0.0, 1.0, fitted=False),
            Column("compression_confidence", "how far inside clean", 0.0, MOST_CONFIDENT, False),
        )

    @property
    def labels(self) -> tuple[str, ...]:
        """The flags among the columns, the gate last."""
        return ("regime_clean", "regime_volatile", "regime_choppy", "trade_allowed")

    @property
    def lookback(self) -> int:
        """The window and the close before it."""
        return self.window + 1

    def learn(self, bars: Bars) -> Params:
        """The thresholds that give each label its share, of windows in which the price moved."""
        if self.clean is not None:
            return {}
        fidelity = self._fidelity(bars)
        moving = fidelity[fidelity > self._convention(FLOOR)]
        if not moving.size:
            return {}
        shares = [1.0 - self.clean_share, self.choppy_share]
        clean, volatile = np.quantile(moving, shares)
        return {"clean": float(clean), "volatile": float(volatile)}

    def on_bars(self, bars: Bars, params: Params) -> Sequence[Float]:
        """Fidelity, labels, gate and confidence of every window."""
        clean_from, volatile_from = self._thresholds(params)
        fidelity = self._fidelity(bars)
        moving = fidelity > self._convention(FLOOR)
        clean = (moving & (fidelity >= clean_from)).astype(np.float64)
        choppy = (~moving | (fidelity < volatile_from)).astype(np.float64)
        inside = (fidelity - clean_from) / (1.0 - clean_from) if clean_from < 1.0 else 1.0
        confidence = MOST_CONFIDENT * clean * np.clip(inside, 0.0, 1.0)
        return [fidelity, clean, 1.0 - clean - choppy, choppy, clean, confidence]

    def _fidelity(self, bars: Bars) -> Float:
        qubits = self.window.bit_length() - 1
        returns = log_return(bars.close, 1)[1:]
        found = fidelities(returns, qubits, self.layers, path=self.numbers == "path")
        fidelity: Float = np.append(np.nan, found)
        return fidelity if self.squared else np.sqrt(fidelity)

    def _thresholds(self, params: Params) -> tuple[float, float]:
        """Least fidelities that are CLEAN and VOLATILE: given, learnt, or assumed."""
        if self.clean is not None and self.volatile is not None:
            return self.clean, self.volatile
        if params:
            return params["clean"], params["volatile"]
        if self.layers == 2 or self.numbers == "path":
            seed = self.presets["seed"]
            power = 2 if self.squared else 1
            return seed["clean"] ** power, seed["volatile"] ** power
        clean, choppy = self.clean_share, self.choppy_share
        return (
            self._convention(noise_fidelity(self.window, clean)),
            self._convention(noise_fidelity(self.window, 1.0 - choppy)),
        )

    def _convention(self, fidelity: float) -> float:
        return fidelity if self.squared else math.sqrt(fidelity)


@dataclass(frozen=True, config=PARAMETERS)
class ZlibRatio(SymbolFeature):
    """How many times smaller zlib makes a window of numbers; kept for compatibility.

    Preset `seed` adds a gate that opens from a ratio of 3.5 on. It is never reached while the price
    moves: 64 prices of a random walk with 0.01 % a bar come to 1.25, of a wilder one to less.

    Formula:
        compression_ratio = bytes of the window as float32 / bytes that zlib makes of them
        zlib_allowed = 1 if compression_ratio >= needed (a column only where `needed` is given)
    Source:
        The original documents; DEFLATE is RFC 1951.
    Weakness:
        It measures the range, not the order: of prices it sees how many leading bits they share,
        so it falls as volatility rises and moves with the price level; of returns it is a
        constant, 0.96. A flat market alone compresses. Slow, about 20 us a bar.

    Attributes:
        window: Numbers in a window.
        numbers: Of what: closes, or log returns.
        needed: Ratio from which on trading is allowed; no gate if none.
    """

    key: ClassVar[str] = "zlib_ratio"
    group: ClassVar[str] = "regime"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"seed": {"needed": 3.5}}

    window: Annotated[int, Field(ge=8, le=4096)] = 64
    numbers: Literal["prices", "returns"] = "prices"
    needed: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] | None = None

    @property
    def columns(self) -> tuple[Column, ...]:
        """``compression_ratio``, and ``zlib_allowed`` if there is a gate."""
        # A zlib stream has at least 8 bytes, a number 4.
        ratio = Column("compression_ratio", "bytes before over after zlib", 0.0, self.window / 2)
        gate = Column("zlib_allowed", "1 if zlib compresses enough", 0.0, 1.0, fitted=False)
        return (ratio,) if self.needed is None else (ratio, gate)

    @property
    def labels(self) -> tuple[str, ...]:
        """The gate, if there is one."""
        return () if self.needed is None else ("zlib_allowed",)

    @property
    def lookback(self) -> int:
        """The window, and the close before the first return."""
        return self.window + (self.numbers == "returns")

    def on_bars(self, bars: Bars, params: Params) -> Sequence[Float]:
        """Bytes before over bytes after, for every window."""
        numbers = bars.close if self.numbers == "prices" else log_return(bars.close, 1)
        with np.errstate(over="ignore"):  # a price beyond float32 is one more constant to zlib
            short = np.ascontiguousarray(numbers, np.float32)
        ratio = np.full(short.size, np.nan)
        for row in range(self.lookback - 1, short.size):
            content = short[row - self.window + 1 : row + 1].tobytes()
            ratio[row] = len(content) / len(zlib.compress(content))
        return (
            [ratio] if self.needed is None else [ratio, (ratio >= self.needed).astype(np.float64)]
        )


def noise_fidelity(window: int, share: float) -> float:
    """One-layer fidelity that a share of white noise's windows exceeds.

    Even and odd returns make a 2 x 2 Wishart matrix of ``m = window / 2`` degrees of freedom, and
    ``w = 2 sqrt(det) / trace`` of such a matrix lies below x with probability ``x ** (m - 1)``
    (Mauchly 1940); the fidelity is ``(1 + sqrt(1 - w^2)) / 2``.
    """
    w = share ** (1.0 / (window / 2 - 1))
    return (1.0 + math.sqrt(1.0 - w * w)) / 2.0


def label_shares(
    feature: CompressionRegime | ZlibRatio, bars: Bars, params: Params
) -> dict[str, float]:
    """Share of warm bars on which each label of a feature is 1, by column; empty without any."""
    columns = dict(zip(feature.names, feature.on_bars(bars, params), strict=True))
    warm = feature.lookback - 1
    if len(bars) <= warm:
        return {}
    return {label: float(np.mean(columns[label][warm:])) for label in feature.labels}


def gate_finding(feature: CompressionRegime | ZlibRatio, bars: Bars, params: Params) -> str | None:
    """One sentence about a gate that stands still on these bars; none if it opens and closes."""
    shares = label_shares(feature, bars, params)
    if not shares:
        return None
    gate, share = list(shares.items())[-1]
    if 1.0 - STUCK < share < STUCK:
        return None
    verdict = "hardly ever opens" if share < 0.5 else "hardly ever closes"
    return (
        f"the gate '{gate}' of '{feature.key}' {verdict}: open on {share:.1%} of "
        f"{len(bars) - feature.lookback + 1} bars; fit its thresholds or leave it out"
    )
