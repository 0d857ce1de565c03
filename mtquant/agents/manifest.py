"""``manifest.json``: what a bundle says of itself, and what that hashes to."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from mtquant.config.schema import AgentConfig, EnvConfig, canonical_json
from mtquant.market.model import Frozen, Name
from mtquant.market.symbols import SymbolSpec

SPLITS = {"history", "train", "validation", "test"}
POLICY = "policy.onnx"


class DataRecord(Frozen):
    """Which bars the policy learned from, was selected on and was tested on.

    Attributes:
        source: Key in the store, file name, or the simulated market's law.
        simulated_seed: Seed of the simulated market; None for recorded prices.
        generator: Parameters of the simulated market; empty for recorded prices.
        fingerprints: Of each symbol's bars, in order.
        splits: Split name to the opens of its first and last bar, ns UTC.
    """

    source: str
    simulated_seed: int | None = None
    generator: dict[str, Any] = Field(default_factory=dict)
    fingerprints: tuple[str, ...]
    splits: dict[str, tuple[int, int]]

    @field_validator("splits")
    @classmethod
    def _complete(cls, splits: dict[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
        if set(splits) != SPLITS:
            raise ValueError(f"the splits must be {', '.join(sorted(SPLITS))}")
        return splits


class Manifest(Frozen):
    """``manifest.json``.

    Attributes:
        schema_version: Of this format.
        name: The bundle's name; not part of the hash.
        created: ISO 8601, UTC; not part of the hash.
        env: Resolved environment.
        agent_name: Name of the agent's configuration.
        agent: Resolved agent.
        config_id: Hash of env and agent.
        seed: Of the training.
        timesteps: Frames that were trained.
        selection: What validation decided, one sentence.
        learned: False where no checkpoint beat flat and the policy therefore never trades.
        reward_scale: Reference volatility times reference leverage.
        inputs: Feature names in order.
        window: Bars seen at once.
        state_shape: Of the policy's memory; empty without one.
        burn_in: Bars from which live trading rebuilds a lost memory; 0 without one.
        pipeline: Features with parameters and scaler.
        feature_code: Digest of the code that computes features.
        symbols: Contract data of what is traded, then of the features' context.
        data: Where the bars came from.
        metrics: Test metrics of agent, flat and buy-and-hold.
        versions: Libraries that made it.
        files: sha256 of each other file.
        bundle_hash: See the module's first lines.
    """

    schema_version: Literal[1]
    name: Name
    created: str
    env: EnvConfig
    agent_name: str
    agent: AgentConfig
    config_id: str
    seed: int
    timesteps: int
    selection: str
    learned: bool
    reward_scale: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    inputs: tuple[str, ...]
    window: Annotated[int, Field(ge=1)] = 1
    state_shape: tuple[int, ...] = ()
    burn_in: Annotated[int, Field(ge=0)] = 0
    pipeline: dict[str, Any]
    feature_code: str
    symbols: tuple[SymbolSpec, ...]
    data: DataRecord
    metrics: dict[str, Any]
    versions: dict[str, str]
    files: dict[str, str]
    bundle_hash: str = ""

    def expected_hash(self) -> str:
        """The bundle hash of this content."""
        content = self.model_dump(mode="json", exclude={"name", "created", "bundle_hash"})
        content["files"] = {POLICY: content["files"].get(POLICY)}
        return hashlib.sha256(canonical_json(content).encode()).hexdigest()
