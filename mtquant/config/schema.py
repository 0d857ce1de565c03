"""What a YAML file may say: frozen models that refuse unknown keys.

    EnvConfig     one trading environment, ``envs/*.yaml``
    AgentConfig   one agent, ``configs/agents/*.yaml``

Defaults stand here and in ``rules``, ``limits`` and ``protection`` beside it alone.
``config_id`` hashes the resolved values, so two files that mean the same have the same id.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import (
    AliasChoices,
    BaseModel,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from mtquant.config.limits import LimitsConfig, Symbol
from mtquant.config.protection import ExecutionConfig, StopsConfig
from mtquant.config.rules import (
    AccountConfig,
    BreakerConfig,
    CostsConfig,
    RewardConfig,
    SizingConfig,
)
from mtquant.errors import ConfigError, unknown
from mtquant.market.model import Fraction, Frozen, Name, Plain, Positive
from mtquant.market.timeframe import Timeframe

FeatureChoice = str | dict[str, dict[str, Plain]]


class EpisodeConfig(Frozen):
    """Training episodes: ``bars`` each (0: the whole split), starts randomised or not.

    A randomised start has a capital within ``capital_spread`` of the account's, a drawdown behind
    it and perhaps a position. Prices k times as high are an account with 1/k of the capital, so
    this is the randomised price scale, too. With ``other_symbols`` each episode is played on the
    env's own symbol or on one of these, all equally likely, and nothing but training sees them.
    """

    bars: Annotated[int, Field(ge=0)] = 2000
    randomise: bool = True
    capital_spread: Annotated[float, Field(ge=0, le=0.9)] = 0.3
    other_symbols: tuple[Symbol, ...] = ()


class SplitConfig(Frozen):
    """Chronological shares of the history and the bars left out between them."""

    validation: Fraction = 0.16
    test: Fraction = 0.20
    embargo_bars: Annotated[int, Field(ge=0)] = 24

    @model_validator(mode="after")
    def _leaves_training(self) -> SplitConfig:
        if self.validation + self.test >= 0.9:
            raise ValueError(
                f"validation {self.validation} and test {self.test} leave less than a tenth "
                "of the history for training"
            )
        return self


class UnitsConfig(Frozen):
    """What the account's columns are measured in; None takes ``breaker``.

    Attributes:
        day_loss: Loss of a day that is shown as -1.
    """

    day_loss: Fraction | None = None


class EnvConfig(Frozen):
    """One trading environment."""

    name: Name
    symbols: Annotated[tuple[str, ...], Field(min_length=1)]
    timeframe: str = "H1"
    features: Annotated[tuple[FeatureChoice, ...], Field(min_length=1)] = ("default",)
    account: AccountConfig = AccountConfig()
    sizing: SizingConfig = SizingConfig()
    stops: StopsConfig = StopsConfig()
    costs: CostsConfig = CostsConfig()
    execution: ExecutionConfig = ExecutionConfig()
    limits: LimitsConfig = LimitsConfig()
    breaker: BreakerConfig = BreakerConfig()
    units: UnitsConfig = UnitsConfig()
    reward: RewardConfig = RewardConfig()
    episode: EpisodeConfig = EpisodeConfig()
    split: SplitConfig = SplitConfig()

    @field_validator("timeframe")
    @classmethod
    def _known_timeframe(cls, name: str) -> str:
        try:
            return Timeframe.parse(name).name
        except ConfigError as error:
            raise ValueError(str(error)) from None

    @field_validator("symbols")
    @classmethod
    def _distinct(cls, symbols: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(symbols)) < len(symbols):
            raise ValueError(f"a symbol stands twice in {list(symbols)}")
        return symbols

    @field_validator("limits")
    @classmethod
    def _of_what_is_traded(cls, limits: LimitsConfig, info: ValidationInfo) -> LimitsConfig:
        traded = info.data.get("symbols", limits.named_symbols)
        for symbol in sorted(limits.named_symbols.difference(traded)):
            raise ValueError(unknown("symbol of the env", symbol, traded))
        return limits

    @field_validator("episode")
    @classmethod
    def _others_beside_one(cls, episode: EpisodeConfig, info: ValidationInfo) -> EpisodeConfig:
        traded, others = info.data.get("symbols", ()), episode.other_symbols
        if others and len(traded) > 1:
            raise ValueError(
                f"other_symbols are for an env of one symbol, and this one trades "
                f"{', '.join(traded)}; leave other_symbols out"
            )
        for name in others:
            if (*traded, *others).count(name) > 1:
                raise ValueError(
                    f"other_symbols {list(others)} name {name} again, which episodes have anyway; "
                    "name each symbol once, and the env's own not at all"
                )
        return episode

    @property
    def config_id(self) -> str:
        """Hash of the resolved configuration."""
        return config_id(self)

    def on(self, symbol: str) -> EnvConfig:
        """The env as training episodes have it that are played on another symbol."""
        episode = self.episode.model_copy(update={"other_symbols": ()})
        name = f"{self.name} on {symbol}"
        changes = {"name": name, "symbols": (symbol,), "episode": episode}
        return self.model_copy(update=changes)

    def rules(
        self,
        *,
        reward_scale: float,
        first: int = 0,
        last: int = 0,
        training: bool = False,
    ) -> dict[str, float]:
        """The kernel's rules.

        Args:
            reward_scale: Reference volatility times reference leverage.
            first: First row an episode may start on.
            last: Last row an episode may reach.
            training: Whether episodes are cut and starts randomised as ``episode`` says.
        """
        return {
            **self.sizing.rules(),
            **self.stops.rules(),
            **self.costs.rules(training),
            **self.execution.rules(training),
            **self.limits.rules(),
            **self.breaker.kernel_rules(),
            **self.reward.rules(),
            "loss_unit": self.units.day_loss or 0.0,
            "stop_out_level": self.account.stop_out_level,
            "stop_out_money": self.account.stop_out_money,
            "hedging": self.account.book == "hedging",
            "capital": self.account.capital,
            "money_scale": 10.0**self.account.money_digits,
            "reward_scale": reward_scale,
            "first": first,
            "last": last,
            "episode_bars": self.episode.bars if training else 0,
            "randomise": self.episode.randomise if training else 0,
            "capital_spread": self.episode.capital_spread,
        }


class CurriculumConfig(Frozen):
    """Spread, slippage and commission of training episodes, times a factor that rises to 1.

    Attributes:
        costs: Factor at the beginning.
        until: Share of the frames after which it is 1.
    """

    costs: Annotated[float, Field(ge=0, le=1)] = 0.0
    until: Fraction = 0.5


class ExplorationConfig(Frozen):
    """Standard deviation of a Gaussian policy's actions over the frames, instead of learning it.

    Attributes:
        begins: At the first frame; ``from`` in YAML.
        ends: At the last one; ``to`` in YAML.
        shape: Of the way between them.
    """

    begins: Annotated[Positive, Field(validation_alias=AliasChoices("from", "begins"))]
    ends: Annotated[Positive, Field(validation_alias=AliasChoices("to", "ends"))]
    shape: Literal["linear", "cosine", "geometric"] = "linear"


class ProbesConfig(Frozen):
    """Actions tried beside the lanes, on the same bars: see :mod:`mtquant.training.probes`.

    Attributes:
        bars: That each is followed.
        jumps: Odds, at first, that a lane goes to any position instead of the policy's in a bar.
        until: Share of the frames after which no lane does.
    """

    bars: Annotated[int, Field(ge=1, le=256)] = 10
    jumps: Annotated[float, Field(ge=0, le=1)] = 0.05
    until: Fraction = 0.5


class LearningConfig(Frozen):
    """How long an agent learns and how it is judged on the way.

    Attributes:
        timesteps: Environment frames.
        n_envs: Lanes of the batched environment.
        validate_every: Frames between validation passes.
        ensemble: ``mean`` deploys the mean of the seeds' actions; None the median seed.
        patience: Passes without a new incumbent after which training stops; None never.
        curriculum: Cheaper episodes at first; None trains at the env's costs throughout.
        exploration: Deviation of the actions; None lets the algorithm learn it.
        probes: What actions are worth is seen beside the lanes; None judges by the lanes alone.
    """

    timesteps: Annotated[int, Field(ge=1)] = 3_000_000
    n_envs: Annotated[int, Field(ge=1, le=65536)] = 128
    validate_every: Annotated[int, Field(ge=1)] = 250_000
    ensemble: Literal["mean"] | None = None
    patience: Annotated[int, Field(ge=1)] | None = None
    curriculum: CurriculumConfig | None = None
    exploration: ExplorationConfig | None = None
    probes: ProbesConfig | None = None


class AgentConfig(Frozen):
    """One agent: a registry key and its parameters, checked against the constructor.

    Attributes:
        kind: Registry key.
        params: Of its constructor.
        window: Bars that an agent which learns sees at once.
        burn_in: Bars from which an agent with memory rebuilds it in live trading.
        learning: How it learns.
        device: Where; ``auto`` takes a GPU if there is one and it is faster.
    """

    kind: str
    params: dict[str, Plain] = Field(default_factory=dict)
    window: Annotated[int, Field(ge=1, le=4096)] = 1
    burn_in: Annotated[int, Field(ge=1, le=100_000)] = 256
    learning: LearningConfig = LearningConfig()
    device: Literal["auto", "cpu", "cuda"] = "auto"

    @property
    def config_id(self) -> str:
        """Hash of the resolved configuration."""
        return config_id(self)


def canonical_json(value: Any) -> str:
    """One spelling for one value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def config_id(config: BaseModel) -> str:
    """First 16 hex digits of the SHA-256 of the resolved configuration."""
    canonical = canonical_json(config.model_dump(mode="json"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
