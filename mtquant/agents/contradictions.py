"""What a bundle says that cannot be: fields that do not fit each other, actions that are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mtquant.agents.manifest import POLICY, Manifest
from mtquant.agents.policy import OnnxPolicy
from mtquant.errors import BundleError, ConfigError, one_line
from mtquant.features.pipeline import FeaturePipeline, FittedPipeline
from mtquant.features.scaler import CLIP
from mtquant.market.hours import TradingHours
from mtquant.sim.observation import account_feature_names


def refuse_contradictions(
    manifest: Manifest, pipeline: FittedPipeline, policy: OnnxPolicy, where: Path
) -> None:
    """Refuse fields that do not fit each other, the agent or the policy.

    Args:
        manifest: What the bundle says of itself.
        pipeline: Built from it.
        policy: The bundle's.
        where: The manifest's place.

    Raises:
        BundleError: Names the field.
    """
    _refuse_symbols(manifest, pipeline, where)
    columns, env = _columns(manifest, pipeline, where), manifest.env
    account = account_feature_names(env.symbols, env.reward.differential)
    width = manifest.window * columns + len(account)
    if policy.width != width:
        raise BundleError(
            f"{where}: fields 'inputs' and 'window' make {width} observation columns, {POLICY} "
            f"takes {policy.width}"
        )
    if policy.symbols != len(env.symbols):
        raise BundleError(
            f"{where}: field 'env' trades {len(env.symbols)} symbols, {POLICY} gives "
            f"{policy.symbols} actions"
        )
    memory = policy.state_shape
    for field, found, wanted in (
        ("window", manifest.window, manifest.agent.window),
        ("state_shape", list(manifest.state_shape), list(memory)),
        ("burn_in", manifest.burn_in, manifest.agent.burn_in if memory else 0),
    ):
        if found != wanted:
            raise BundleError(
                f"{where}: field '{field}' is {found}, agent and {POLICY} make it {wanted}"
            )


def _refuse_symbols(manifest: Manifest, pipeline: FittedPipeline, where: Path) -> None:
    names = tuple(spec.name for spec in manifest.symbols)
    read = (*manifest.env.symbols, *pipeline.pipeline.context)
    if names != read:
        raise BundleError(
            f"{where}: field 'symbols' is {one_line(', '.join(names) or 'empty')}, the env reads "
            f"{one_line(', '.join(read))}"
        )
    for spec in manifest.symbols:
        try:
            TradingHours.of(spec)
        except ConfigError as error:
            raise BundleError(f"{where}: field 'symbols': {one_line(str(error))}") from None


def _columns(manifest: Manifest, pipeline: FittedPipeline, where: Path) -> int:
    """How many columns the agent reads: those that the env selects, all and in their order."""
    field = "inputs"
    try:
        columns = len(pipeline.positions(manifest.inputs))
        field = "env"
        selected = FeaturePipeline(manifest.env.features, manifest.env.symbols).names
    except ConfigError as error:
        raise BundleError(f"{where}: field '{field}': {one_line(str(error))}") from None
    for field, names in (("inputs", manifest.inputs), ("env", selected)):
        if names != pipeline.names:
            raise BundleError(
                f"{where}: field '{field}' does not have the pipeline's columns in their order; "
                "restore it or train again"
            )
    return columns


def refuse_unfit_actions(policy: OnnxPolicy, where: Path) -> None:
    """Refuse a policy whose actions are none at the bounds of what it may be shown.

    Raises:
        BundleError: It cannot be run, or an action is not finite or beyond 1.
    """
    signs = np.where(np.arange(policy.width) % 2, CLIP, -CLIP)
    seen = np.array([0.0 * signs, 0.0 * signs + CLIP, 0.0 * signs - CLIP, signs], np.float32)
    state = None
    for row in seen:
        try:
            action, state = policy.predict(row, state)
        except Exception as error:  # onnxruntime raises its own untyped exceptions
            raise BundleError(f"'{where}' cannot be run: {one_line(str(error))}") from None
        if not np.all(np.abs(action) <= 1.0 + 1e-6):
            raise BundleError(
                f"'{where}' answers {one_line(str(action.tolist()), 60)} to an observation within "
                "its bounds, an action lies in -1..1; train again"
            )
