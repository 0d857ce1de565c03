"""A trained policy as an agent: ``policy.onnx`` through onnxruntime, one row a call, one thread."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from mtquant.agents.base import Float32
from mtquant.errors import BundleError, one_line

# Names of a policy's inputs and outputs, without and with memory.
ENDS = ((["obs"], ["action"]), (["obs", "state_in"], ["action", "state_out"]))


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
        raise BundleError(f"'{where}' is no usable ONNX policy: {one_line(str(error))}") from None


def _fixed(node: Any, rank: int) -> tuple[int, ...]:
    """The shape of an input or output; empty where it is not of fixed float32 numbers."""
    shape = tuple(node.shape)
    whole = len(shape) == rank and all(isinstance(size, int) and size > 0 for size in shape)
    return shape if whole and node.type == "tensor(float)" else ()


def _described(node: Any) -> str:
    return f"{node.type} {one_line(str(node.shape), 60)}"


class OnnxPolicy:
    """An agent that runs an exported actor.

    ``obs`` float32 ``[1, O]`` to ``action`` ``[1, S]``; one with memory takes ``state_in`` besides,
    hidden and cell state ``[2, layers, hidden]``, and gives ``state_out``.

    Attributes:
        name: What reports call it.
        inputs: Feature names.
        window: Bars it sees at once.
        burn_in: See :class:`mtquant.agents.base.Remembers`.
        width: Observation columns that it takes.
        symbols: Actions that it gives.
        state_shape: Of its memory, empty without one.
    """

    scaled = True

    def __init__(
        self,
        model: bytes,
        *,
        name: str,
        inputs: tuple[str, ...],
        window: int = 1,
        burn_in: int = 0,
        where: str = "",
    ) -> None:
        """Open the model.

        Args:
            model: Content of ``policy.onnx``.
            name: What reports call it.
            inputs: Feature names in the order it was trained on.
            window: Bars it sees at once.
            burn_in: Bars from which a lost memory is rebuilt.
            where: Path for messages.

        Raises:
            BundleError: The model cannot run, or has other inputs and outputs.
        """
        self.name = name
        self.inputs = inputs
        self.window = window
        self.burn_in = burn_in
        self._session = open_session(model, where or name)
        entries, exits = self._session.get_inputs(), self._session.get_outputs()
        ends = ([node.name for node in entries], [node.name for node in exits])
        if ends not in ENDS:
            raise BundleError(
                f"'{where or name}' maps {ends[0]} to {ends[1]}, a policy maps ['obs'] to "
                "['action'], or with memory ['obs', 'state_in'] to ['action', 'state_out']"
            )
        if not all(_fixed(node, 2)[:1] == (1,) for node in (entries[0], exits[0])):
            raise BundleError(
                f"'{where or name}' maps {_described(entries[0])} to {_described(exits[0])}; a "
                "policy maps one row of float32 of a fixed width to another"
            )
        self.width: int = entries[0].shape[1]
        self.symbols: int = exits[0].shape[1]
        self.state_shape: tuple[int, ...] = _fixed(entries[1], 3) if len(entries) > 1 else ()
        if len(entries) > 1 and not self.state_shape == _fixed(exits[1], 3) != ():
            raise BundleError(
                f"'{where or name}' takes a state of shape {entries[1].shape} and gives "
                f"{exits[1].shape}; both must be the same fixed numbers"
            )

    def predict(
        self,
        observation: Float32,
        state: Any = None,
        episode_start: npt.NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[Float32, Any]:
        """The deterministic action, see :meth:`mtquant.agents.base.Agent.predict`."""
        seen = observation.reshape(1, -1)
        if self.state_shape:
            fresh = state is None or (episode_start is not None and bool(np.any(episode_start)))
            return self._remember(seen, np.zeros(self.state_shape, np.float32) if fresh else state)
        action: Float32 = self._session.run(None, {"obs": seen})[0]
        return action[0], None

    def _remember(self, seen: Float32, state: Float32) -> tuple[Float32, Float32]:
        """Action and memory; what is not finite is not remembered, for it would stay for ever."""
        if not np.isfinite(seen).all():
            return np.full(self.symbols, np.nan, np.float32), state
        action, state = self._session.run(None, {"obs": seen, "state_in": state})
        return action[0], state
