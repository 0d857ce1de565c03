"""From a trained actor to ``policy.onnx``, checked against torch before it is believed."""

from __future__ import annotations

import copy
import io
import warnings
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper
from stable_baselines3.common.base_class import BaseAlgorithm

from mtquant.agents.graph import refuse_hostile
from mtquant.agents.policy import ENDS, OnnxPolicy
from mtquant.errors import BundleError

OPSET = 17
TOLERANCE = 1e-5
STEPS, EPISODES = 64, (0, 40)  # of the comparison, and where an episode begins in it


class _Actor(torch.nn.Module):
    """The deterministic action within its bounds; squashed actors are within them already."""

    def __init__(self, policy: Any) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        action: torch.Tensor = self.policy._predict(obs, deterministic=True)
        return torch.clamp(action, -1.0, 1.0)


class _RecurrentActor(torch.nn.Module):
    """One bar of an actor with memory, whose hidden and cell state travel as one tensor."""

    def __init__(self, policy: Any) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, obs: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        policy = self.policy
        features = policy.pi_features_extractor(obs).unsqueeze(0)
        hidden, cell = state.unsqueeze(2)
        latent, (hidden, cell) = policy.lstm_actor(features, (hidden, cell))
        latent = policy.mlp_extractor.forward_actor(latent.squeeze(0))
        action = policy._get_action_dist_from_latent(latent).get_actions(deterministic=True)
        return torch.clamp(action, -1.0, 1.0), torch.stack((hidden, cell)).squeeze(2)


def export_policy(model: BaseAlgorithm) -> bytes:
    """The actor of ``model`` as an ONNX model, see :class:`mtquant.agents.policy.OnnxPolicy`.

    Raises:
        BundleError: onnxruntime and torch disagree by more than 1e-5.
    """
    policy: Any = model.policy
    if model.device.type != "cpu":
        policy = copy.deepcopy(policy).to("cpu")
    training = policy.training
    policy.set_training_mode(False)
    width = int(np.prod(model.observation_space.shape or (1,)))
    example: tuple[torch.Tensor, ...] = (torch.zeros(1, width),)
    actor: torch.nn.Module = _Actor(policy)
    memory = getattr(policy, "lstm_actor", None)
    if memory is not None:
        actor = _RecurrentActor(policy)
        example += (torch.zeros(2, memory.num_layers, memory.hidden_size),)
    inputs, outputs = ENDS[len(example) - 1]
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        # The TorchScript exporter takes SB3's actors as they are; the newer one does not.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            actor,
            example,
            buffer,  # type: ignore[arg-type]  # a file object is accepted
            input_names=inputs,
            output_names=outputs,
            opset_version=OPSET,
            dynamo=False,
        )
    content = buffer.getvalue()
    refuse_hostile(content, "exported policy")  # before hours are spent on what none would load
    _compare(policy, content, width)
    policy.set_training_mode(training)
    return content


def _compare(policy: Any, content: bytes, width: int) -> None:
    """Hold the model against SB3's own ``predict`` over bars that follow each other."""
    exported = OnnxPolicy(content, name="exported policy", inputs=())
    rows = np.random.default_rng(0).uniform(-3.0, 3.0, (STEPS, width)).astype(np.float32)
    worst, memory, expected_memory = 0.0, None, None
    for step, row in enumerate(rows):
        first = np.array([step in EPISODES])
        action, memory = exported.predict(row, memory, first)
        expected, expected_memory = policy.predict(row, expected_memory, first, deterministic=True)
        worst = max(worst, float(np.abs(action - expected).max()))
    if not worst <= TOLERANCE:
        raise BundleError(
            f"the exported policy differs from torch by {worst:.2g}, more than {TOLERANCE}"
        )


def flat_policy(width: int, symbols: int) -> bytes:
    """An ONNX policy that answers 0 whatever it sees, for when nothing beat doing nothing."""
    zeros = helper.make_tensor("zeros", TensorProto.FLOAT, [1, symbols], [0.0] * symbols)
    graph = helper.make_graph(
        [helper.make_node("Constant", [], ["action"], value=zeros)],
        "flat",
        [helper.make_tensor_value_info("obs", TensorProto.FLOAT, [1, width])],
        [helper.make_tensor_value_info("action", TensorProto.FLOAT, [1, symbols])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString(deterministic=True)
    return content
