"""What the study of planted markets plays: which market, who learns it, and what is asked of it.

Every row is one line of the table in ``docs/learning.md``. All learn with the configuration of
``configs/agents`` that they name, untouched.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from mtquant.errors import ConfigError, unknown
from mtquant.market.planted import PRESETS, BlurredAlpha
from mtquant.research.planted import PlantedMarket

# Enough for what is to be learned to stand out from luck: a bar's signal is a tenth of its noise.
LEARNED_BARS = 1_000_000
# What a martingale is looked at through: everything that could seem to mean something.
ORDINARY = ("returns", "volatility", "technical", "hour")


@dataclass(frozen=True)
class StudyRow:
    """One line of the study.

    Attributes:
        name: Of the row.
        market: What is learned on.
        agent: Name of the agent's configuration.
        least_share: Share of the optimum that the lower end of the interval is to reach; None
            where nothing can be earned, or nothing is asked.
        stays_flat: Whether the agent is to trade and hold next to nothing.
    """

    name: str
    market: PlantedMarket
    agent: str = "ppo"
    least_share: float | None = None
    stays_flat: bool = False


def _told(preset: str, *signals: str) -> PlantedMarket:
    return PlantedMarket(PRESETS[preset], signals=signals, bars=LEARNED_BARS)


def _seen(preset: str) -> PlantedMarket:
    return PlantedMarket(PRESETS[preset], features=ORDINARY)


LEARNABLE = {
    "lead_lag": _told("lead_lag", "leader"),
    "slow_alpha": _told("slow_alpha", "alpha"),
    "ou_price": _told("ou_price", "deviation"),
    "season": PlantedMarket(PRESETS["season"], features=("hour",), bars=LEARNED_BARS),
}
# 58 columns, of which four say something, in a history that noise can be learned from.
BLURRED = BlurredAlpha()
SHORT = PlantedMarket(
    BLURRED,
    signals=BLURRED.names,
    noise=54,
    bars=50_000,
    changes={"split": {"validation": 0.2, "test": 0.01, "embargo_bars": 24}},
)
REGIME = _told("hidden_regime", "belief")
BLIND_REGIME = PlantedMarket(PRESETS["hidden_regime"], features=({"returns": {"horizons": [1]}},))


def _rows() -> list[StudyRow]:
    learnable = LEARNABLE.items()
    easy = [(name, replace(market, law=PRESETS[f"{name}_easy"])) for name, market in learnable]
    martingales = ("iid", "student_t", "garch", "seasonal")
    return [
        *(StudyRow(name, market, least_share=0.90) for name, market in learnable),
        *(StudyRow(f"{name}_easy", market, least_share=0.95) for name, market in easy),
        *(StudyRow(f"{name}_sac", market, "sac", 0.80) for name, market in learnable),
        StudyRow("short_history", SHORT, "ppo_small", 0.70),
        StudyRow("hidden_regime", REGIME, least_share=0.90),
        StudyRow("hidden_regime_window", BLIND_REGIME, "ppo_window", 0.60),
        StudyRow("hidden_regime_recurrent", BLIND_REGIME, "ppo_recurrent", 0.60),
        StudyRow("leak", _told("leak", "next_return"), least_share=0.95),
        StudyRow("leak_blind", _seen("leak_blind"), stays_flat=True),
        *(StudyRow(name, _seen(name), stays_flat=True) for name in martingales),
        StudyRow("quadratic", _told("quadratic", "alpha")),
        StudyRow("slow_alpha_classic", LEARNABLE["slow_alpha"], "ppo_classic"),
    ]


ROWS: dict[str, StudyRow] = {row.name: row for row in _rows()}


def chosen_rows(names: list[str], agent: str | None) -> list[StudyRow]:
    """Rows by name, all of them without any.

    Args:
        names: Of rows.
        agent: Learns in place of each row's own.

    Raises:
        ConfigError: A name is unknown; says the nearest.
    """
    for name in names:
        if name not in ROWS:
            raise ConfigError(unknown("row of the study", name, ROWS))
    rows = [ROWS[name] for name in names or ROWS]
    return [replace(row, agent=agent) for row in rows] if agent else rows
