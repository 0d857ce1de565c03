from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper


@pytest.fixture(scope="session")
def linear_policy() -> Callable[..., bytes]:
    """An ONNX model ``action = clip(obs @ weights)``."""

    def make(weights: Sequence[float], inputs: str = "obs", outputs: str = "action") -> bytes:
        matrix = np.asarray(weights, np.float32).reshape(-1, 1)
        nodes = [
            helper.make_node("Gemm", [inputs, "w"], ["raw"]),
            helper.make_node("Clip", ["raw", "low", "high"], [outputs]),
        ]
        graph = helper.make_graph(
            nodes,
            "policy",
            [helper.make_tensor_value_info(inputs, TensorProto.FLOAT, [1, len(matrix)])],
            [helper.make_tensor_value_info(outputs, TensorProto.FLOAT, [1, 1])],
            [
                numpy_helper.from_array(matrix, "w"),
                numpy_helper.from_array(np.float32(-1.0), "low"),
                numpy_helper.from_array(np.float32(1.0), "high"),
            ],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        model.ir_version = 8
        onnx.checker.check_model(model)
        return model.SerializeToString()

    return make
