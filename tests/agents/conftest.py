from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mtquant.agents.bundle import Bundle, write_bundle
from mtquant.config.load import load_symbols
from mtquant.config.schema import EnvConfig
from mtquant.features.pipeline import FeaturePipeline, code_digest
from mtquant.market.panel import Panel

Write = Callable[..., Bundle]


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


@pytest.fixture(scope="session")
def content(gold_bars) -> dict[str, Any]:
    """A complete manifest but for what ``write_bundle`` adds."""
    env = EnvConfig(name="tiny", symbols=("XAUUSD",), features=("returns", "spread"))
    pipeline = FeaturePipeline(env.features, env.symbols).fit(Panel([gold_bars[:500]]))
    return {
        "schema_version": 1,
        "name": "tiny",
        "created": "2024-01-02T13:00:00Z",
        "env": env.model_dump(mode="json"),
        "agent_name": "ppo",
        "agent": {"kind": "ppo", "params": {"gamma": 0.9}},
        "config_id": "0123456789abcdef",
        "seed": 1,
        "timesteps": 1_000,
        "selection": "checkpoint 3 of 4",
        "learned": True,
        "reward_scale": 0.01,
        "inputs": list(pipeline.names),
        "window": 1,
        "pipeline": pipeline.to_dict(),
        "feature_code": code_digest(),
        "symbols": [load_symbols()["XAUUSD"].model_dump(mode="json")],
        "data": {
            "source": "given bars",
            "fingerprints": [gold_bars.fingerprint()],
            "splits": {"history": [0, 9], "train": [1, 2], "validation": [2, 3], "test": [3, 4]},
        },
        "metrics": {"agent": {"sharpe": 0.5}},
        "versions": {"numpy": np.__version__},
    }


@pytest.fixture(scope="session")
def bundle_files(content, linear_policy) -> Callable[[Path], None]:
    """Writes the files of a tiny bundle but for its manifest."""

    def files(folder: Path) -> None:
        width = len(content["inputs"]) + 8
        (folder / "policy.onnx").write_bytes(linear_policy([0.1] * width))
        (folder / "report.json").write_text("{}\n")
        (folder / "report.html").write_text("<p>report</p>\n")

    return files


@pytest.fixture
def write(tmp_path, content, bundle_files) -> Write:
    """Writes a tiny bundle under ``tmp_path / "checkpoints"``."""

    def make(write_files: Callable[[Path], None] = bundle_files, **changes: Any) -> Bundle:
        root = tmp_path / "checkpoints"
        return write_bundle(root, {**content, **changes}, write_files, {"host": "here"})

    return make
