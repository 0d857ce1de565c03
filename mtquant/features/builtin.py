"""The features that come with mtquant, in the order in which they are listed."""

from __future__ import annotations

from collections.abc import Mapping

from mtquant.features.bars3d import Bars3D
from mtquant.features.base import BaseFeature
from mtquant.features.calendar import Hour, Session, TimeWindow, Weekday
from mtquant.features.channels import BollingerWidth, ChannelDistance
from mtquant.features.compression import CompressionRegime, ZlibRatio
from mtquant.features.ensemble import EnsembleCompression
from mtquant.features.fusion import Fusion
from mtquant.features.fusion_inputs import FusionInputs
from mtquant.features.higher import HigherChannel, HigherTrend
from mtquant.features.level import Level
from mtquant.features.market_state import MarketState
from mtquant.features.oscillators import Adx, InternalBarStrength, Rsi, StochasticK
from mtquant.features.phase import PhaseEstimation
from mtquant.features.quantum import QuantumState
from mtquant.features.ranges import GarmanKlass, Parkinson, RangeToAtr, YangZhang
from mtquant.features.reference import MarketFilter
from mtquant.features.returns import EmaDistance, Returns
from mtquant.features.spread import SpreadRatio
from mtquant.features.statistics import RegimeStatistics
from mtquant.features.strength import CurrencyStrength
from mtquant.features.technical import Atr, BollingerPosition, EmaGap, Macd, MacdHistogram
from mtquant.features.trading_week import Rollover, Weekend, WeekPhase, WeekRemaining
from mtquant.features.volatility import AtrRegime, RealisedVolatility, VolatilityAnalyser
from mtquant.features.volume import VolumeScore

_KINDS: tuple[type[BaseFeature], ...] = (
    Returns,
    Rsi,
    MacdHistogram,
    BollingerPosition,
    Atr,
    EmaGap,
    Adx,
    StochasticK,
    InternalBarStrength,
    EmaDistance,
    Macd,
    HigherTrend,
    ChannelDistance,
    HigherChannel,
    RealisedVolatility,
    Parkinson,
    GarmanKlass,
    YangZhang,
    RangeToAtr,
    BollingerWidth,
    VolumeScore,
    SpreadRatio,
    Hour,
    Weekday,
    Session,
    TimeWindow,
    Weekend,
    WeekPhase,
    WeekRemaining,
    Rollover,
    MarketState,
    AtrRegime,
    RegimeStatistics,
    CompressionRegime,
    ZlibRatio,
    EnsembleCompression,
    MarketFilter,
    CurrencyStrength,
    Level,
    VolatilityAnalyser,
    QuantumState,
    PhaseEstimation,
    Bars3D,
    FusionInputs,
    Fusion,
)

#: Every feature by its name, in the order in which a group lists them.
FEATURES: Mapping[str, type[BaseFeature]] = {kind.key: kind for kind in _KINDS}
