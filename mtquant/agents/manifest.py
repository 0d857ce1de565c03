"""``manifest.json``: what a bundle says of itself, and what that hashes to."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator

from mtquant.config.schema import AgentConfig, EnvConfig, canonical_json
from mtquant.market.model import Finite, Frozen, Name, Positive
from mtquant.market.symbols import SymbolSpec

SPLITS = {"history", "train", "validation", "test"}
POLICY = "policy.onnx"
MOST_FILES = 16


def _one_line(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must be one line of plain text")
    return text


def _fitted(params: dict[str, Any]) -> dict[str, Any]:
    """What features have learned is numbers, under names."""
    pending: list[Any] = [params]
    while pending:
        value = pending.pop()
        if isinstance(value, dict | list):
            pending += value.values() if isinstance(value, dict) else value
        elif not isinstance(value, int | float):
            raise ValueError("what a feature has learned must be numbers")
    return params


Line = Annotated[str, Field(max_length=1000), AfterValidator(_one_line)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class FeatureRecord(Frozen):
    """One feature of a stored pipeline, see :meth:`FittedPipeline.to_dict`.

    Attributes:
        feature: Its key in the registry.
        parameters: Of its constructor.
        columns: Those in use.
        fitted: What it has learned.
        plugin: Distribution and version that it comes from; None for a built-in feature.
        plugin_code: Digest of the plug-in's code.
    """

    feature: Line
    parameters: dict[str, Any]
    columns: tuple[Line, ...]
    fitted: Annotated[dict[str, Any], AfterValidator(_fitted)]
    plugin: Line | None = None
    plugin_code: Line | None = None


class ScalerRecord(Frozen):
    """A stored scaler, see :meth:`Scaler.to_dict`."""

    names: tuple[Line, ...]
    centre: tuple[Finite, ...]
    width: tuple[Positive, ...]


class PipelineRecord(Frozen):
    """The form of a stored pipeline; what it says is checked where it is built."""

    symbols: tuple[Line, ...]
    features: tuple[FeatureRecord, ...]
    scaler: ScalerRecord


def _pipeline(stored: dict[str, Any]) -> dict[str, Any]:
    PipelineRecord.model_validate(stored)
    return stored


class DataRecord(Frozen):
    """Which bars the policy learned from, was selected on and was tested on.

    Attributes:
        source: Key in the store, file name, or the simulated market's law.
        simulated_seed: Seed of the simulated market; None for recorded prices.
        generator: Parameters of the simulated market; empty for recorded prices.
        fingerprints: Of each symbol's bars, in order.
        other_fingerprints: Of the bars of other symbols that it learned from, too.
        splits: Split name to the opens of its first and last bar, ns UTC.
    """

    source: Line
    simulated_seed: int | None = None
    generator: dict[str, Any] = Field(default_factory=dict)
    fingerprints: tuple[Line, ...]
    other_fingerprints: tuple[Line, ...] = ()
    splits: dict[str, tuple[int, int]]

    @field_validator("splits")
    @classmethod
    def _complete(cls, splits: dict[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
        if set(splits) != SPLITS:
            raise ValueError(f"the splits must be {', '.join(sorted(SPLITS))}")
        for name, (first, last) in splits.items():
            if first > last:
                raise ValueError(f"the split {name} ends before it begins")
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
    created: Line
    env: EnvConfig
    agent_name: Line
    agent: AgentConfig
    config_id: Line
    seed: int
    timesteps: int
    selection: Line
    learned: bool
    reward_scale: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    inputs: tuple[Line, ...]
    window: Annotated[int, Field(ge=1)] = 1
    state_shape: tuple[int, ...] = ()
    burn_in: Annotated[int, Field(ge=0)] = 0
    pipeline: Annotated[dict[str, Any], AfterValidator(_pipeline)]
    feature_code: str
    symbols: tuple[SymbolSpec, ...]
    data: DataRecord
    metrics: dict[str, Any]
    versions: dict[str, Line]
    files: Annotated[dict[Name, Digest], Field(max_length=MOST_FILES)]
    bundle_hash: str = ""

    @field_validator("created")
    @classmethod
    def _moment(cls, created: str) -> str:
        if datetime.fromisoformat(created).tzinfo is None:
            raise ValueError("must be a time with its zone, such as 2024-03-20T18:00:00Z")
        return created

    @property
    def made_at(self) -> datetime:
        """``created`` as a moment."""
        return datetime.fromisoformat(self.created)


def content_hash(written: Mapping[str, Any]) -> str:
    """The bundle hash of a manifest as it is written.

    Not of what it is understood as: a field that a later version adds, with a default, is in none
    of the bundles that were made before, and they are as sound as they were.
    """
    content = {key: written[key] for key in written.keys() - {"name", "created", "bundle_hash"}}
    content["files"] = {POLICY: content["files"].get(POLICY)}
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()
