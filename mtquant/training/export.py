"""From a trained actor to ``policy.onnx``, checked against torch before it is believed."""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper
from stable_baselines3.common.base_class import BaseAlgorithm

from mtquant.agents.policy import open_session
from mtquant.errors import BundleError

OPSET = 17
TOLERANCE = 1e-5


class _Actor(torch.nn.Module):
    """The deterministic action within its bounds; squashed actors are within them already."""

    def __init__(self, policy: Any) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        action: torch.Tensor = self.policy._predict(obs, deterministic=True)
        return torch.clamp(action, -1.0, 1.0)


def export_policy(model: BaseAlgorithm) -> bytes:
    """The actor of ``model`` as an ONNX model, ``obs`` float32 ``[1, O]`` to ``action``.

    Raises:
        BundleError: onnxruntime and torch disagree by more than 1e-5.
    """
    actor = _Actor(model.policy)
    training = model.policy.training
    model.policy.set_training_mode(False)
    width = int(np.prod(model.observation_space.shape or (1,)))
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        # The TorchScript exporter takes SB3's actors as they are; the newer one does not.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            actor,
            (torch.zeros(1, width),),
            buffer,  # type: ignore[arg-type]  # a file object is accepted
            input_names=["obs"],
            output_names=["action"],
            opset_version=OPSET,
            dynamo=False,
        )
    content = buffer.getvalue()
    _compare(actor, content, width)
    model.policy.set_training_mode(training)
    return content


def _compare(actor: _Actor, content: bytes, width: int) -> None:
    session = open_session(content, "exported policy")
    rows = np.random.default_rng(0).uniform(-3.0, 3.0, (64, 1, width)).astype(np.float32)
    with torch.no_grad():
        expected = [actor(torch.from_numpy(row)).numpy() for row in rows]
    answered = [session.run(None, {"obs": row})[0] for row in rows]
    worst = float(np.abs(np.array(expected) - np.array(answered)).max())
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
