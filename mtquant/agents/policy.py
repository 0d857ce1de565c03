"""A trained policy as an agent: ``policy.onnx`` through onnxruntime, one row a call, one thread."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from mtquant.agents.base import Float32
from mtquant.errors import BundleError


def open_session(model: bytes, where: str) -> onnxruntime.InferenceSession:
    """An inference session on one thread.

    Raises:
        BundleError: Not an ONNX model that onnxruntime takes.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises its own untyped exceptions
        raise BundleError(f"'{where}' is no usable ONNX policy: {error}") from None


class OnnxPolicy:
    """An agent that runs an exported actor: ``obs`` float32 ``[1, O]`` to ``action`` ``[1, S]``."""

    scaled = True

    def __init__(
        self, model: bytes, *, name: str, inputs: tuple[str, ...], window: int = 1, where: str = ""
    ) -> None:
        """Open the model.

        Args:
            model: Content of ``policy.onnx``.
            name: What reports call it.
            inputs: Feature names in the order it was trained on.
            window: Bars it sees at once.
            where: Path for messages.

        Raises:
            BundleError: The model cannot run, or has other inputs and outputs.
        """
        self.name = name
        self.inputs = inputs
        self.window = window
        self._session = open_session(model, where or name)
        names = [node.name for node in self._session.get_inputs()]
        outputs = [node.name for node in self._session.get_outputs()]
        if names != ["obs"] or outputs != ["action"]:
            raise BundleError(
                f"'{where or name}' maps {names} to {outputs}, a policy maps ['obs'] to ['action']"
            )
        self.width: int = self._session.get_inputs()[0].shape[1]

    @classmethod
    def read(cls, path: Path, *, name: str, inputs: tuple[str, ...], window: int) -> OnnxPolicy:
        """The policy in a file."""
        return cls(path.read_bytes(), name=name, inputs=inputs, window=window, where=str(path))

    def predict(
        self,
        observation: Float32,
        state: Any = None,
        episode_start: npt.NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[Float32, Any]:
        """The deterministic action, see :meth:`mtquant.agents.base.Agent.predict`."""
        action: Float32 = self._session.run(None, {"obs": observation.reshape(1, -1)})[0]
        return action[0], None
