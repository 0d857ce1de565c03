"""One policy out of several: the mean of their actions, as a single ONNX model.

Seeds that learned nothing stay flat, and take part with an action of 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx
from onnx import TensorProto, compose, helper

from mtquant.errors import ConfigError
from mtquant.training.export import OPSET


def mean_policy(policies: Sequence[bytes | None]) -> bytes | None:
    """The mean of the policies' actions.

    Args:
        policies: ONNX models of one width; None for one that stays flat.

    Returns:
        The model; None where all are flat.

    Raises:
        ConfigError: A policy carries a state from bar to bar.
    """
    models = [onnx.load_from_string(content) for content in policies if content is not None]
    if not models:
        return None
    refuse_memory(models)
    members = [_member(model, number) for number, model in enumerate(models)]
    symbols = models[0].graph.output[0].type.tensor_type.shape.dim[-1].dim_value
    still = helper.make_tensor("still", TensorProto.FLOAT, [1, symbols], [0.0] * symbols)
    answers = [graph.output[0].name for graph in members]
    answers += ["still"] * (len(policies) - len(models))
    graph = helper.make_graph(
        [
            *(node for member in members for node in member.node),
            helper.make_node("Mean", answers, ["action"]),
        ],
        "mean of seeds",
        [models[0].graph.input[0]],
        [models[0].graph.output[0]],
        [*(tensor for member in members for tensor in member.initializer), still],
    )
    merged = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    merged.ir_version = models[0].ir_version
    onnx.checker.check_model(merged)
    content: bytes = merged.SerializeToString(deterministic=True)
    return content


def refuse_memory(models: Sequence[onnx.ModelProto]) -> None:
    """Refuse policies whose state would have to be kept apart.

    Raises:
        ConfigError: There is one.
    """
    for model in models:
        if [value.name for value in model.graph.input] != ["obs"]:
            raise ConfigError(
                "ensemble mean: policies with a memory cannot be merged into one; train without "
                "`ensemble`, and the median seed is deployed"
            )


def _member(model: onnx.ModelProto, number: int) -> onnx.GraphProto:
    """Its graph with names of its own, but for the observation that all share."""
    graph = compose.add_prefix(model, f"{number}/").graph
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name == f"{number}/obs":
                node.input[place] = "obs"
    return graph
