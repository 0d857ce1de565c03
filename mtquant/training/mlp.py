"""Actor and critic as plain matrices: forward and backward in numpy.

A layer is one matrix ``[inputs + 1, outputs]`` whose last row is the bias; what goes into it has a
last column of ones. So a layer is one product forward and two backward. All matrices of a policy
lie in one flat array, as do their gradients. torch's tensors are read before an update and written
after it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.policies import ActorCriticPolicy

from mtquant.training.band import PULL, REACH, SHARPNESS, BandHead, BandPolicy

Array = npt.NDArray[Any]
ROWS = 1024  # at once: what belongs to them stays in the core's own cache
AT_REST: Array = np.zeros(1, np.float32)
BLOCK = 128  # rows of one product: BLAS multiplies small matrices without packing them first


class Mlp:
    """Linear layers with tanh or ReLU between them."""

    def __init__(
        self, first: Array, weights: Sequence[Array], gradients: Sequence[Array], activation: str
    ) -> None:
        """Lay out the buffers.

        Args:
            first: ``[rows, inputs + 1]``, where the caller puts observations; the last column is 1.
            weights: Matrix of each layer, ``[inputs + 1, outputs]``.
            gradients: Where :meth:`backward` leaves each layer's gradient.
            activation: ``tanh`` or ``relu``.
        """
        self.weights, self.gradients = weights, gradients
        self.tanh = activation == "tanh"
        shape = [(len(first), matrix.shape[1] + 1) for matrix in weights[:-1]]
        self.inputs = [first, *(np.ones(size, first.dtype) for size in shape)]
        self._errors = [np.zeros(size, first.dtype) for size in shape]
        self._slopes = [np.zeros(size, first.dtype) for size in shape]

    def forward(self, n: int) -> Array:
        """Outputs ``[n, outputs]`` for the first ``n`` rows of ``first``."""
        for weights, (x, h) in zip(self.weights, pairwise(self.inputs), strict=False):
            h = h[:n]
            np.matmul(_blocks(x[:n]), weights, out=_blocks(h[:, :-1]))
            if self.tanh:
                np.tanh(h, out=h)
            else:
                np.maximum(h, 0.0, out=h)
            h[:, -1] = 1.0
        outputs: Array = self.inputs[-1][:n] @ self.weights[-1]
        return outputs

    def backward(
        self, error: Array, share: float = 0.0, away: Array = AT_REST, std: Array = AT_REST
    ) -> None:
        """Leave the gradients of a loss.

        Args:
            error: Its derivative by the last outputs.
            share: Of one row in the loss, for what the network itself asks for.
            away: Of the actions that are judged, from the outputs, in deviations.
            std: Their deviation.
        """
        n = len(error)
        for k in range(len(self.weights) - 1, -1, -1):
            x = self.inputs[k][:n]
            by_block = np.matmul(_blocks(x).swapaxes(1, 2), _blocks(error))
            np.add.reduce(by_block, axis=0, out=self.gradients[k])
            if k > 0:
                before = self._errors[k - 1][:n]
                _back_through(error, self.weights[k], before)
                before *= self._slope(k, n)
                error = before[:, :-1]

    def _slope(self, k: int, n: int) -> Array:
        """Derivative of the activation before layer ``k``, from its value."""
        h, slope = self.inputs[k][:n], self._slopes[k - 1][:n]
        if self.tanh:
            np.multiply(h, h, out=slope)
            np.subtract(1.0, slope, out=slope)
        else:
            np.greater(h, 0.0, out=slope)
        return slope


class BandMlp(Mlp):
    """The actor before a :class:`mtquant.training.band.BandHead`, and the head."""

    def __init__(self, policy: BandPolicy, first: Array, *arguments: Any) -> None:
        """As :class:`Mlp`; where positions are seen is the policy's."""
        super().__init__(first, *arguments)
        self.held = [first.shape[1] - 1 + column for column in policy.held]
        self.hands, self.pull = policy.hands, policy.inwards
        self._reach = np.zeros(0, first.dtype)
        self._lower = self._upper = self._lowest = self._highest = self._reach

    def forward(self, n: int) -> Array:
        """Mean actions ``[n, A]`` for the first ``n`` rows of ``first``."""
        centre, self._reach = np.split(super().forward(n), 2, axis=1)
        width = np.logaddexp(SHARPNESS * self._reach, 0.0) / SHARPNESS
        held = self.inputs[0][:n, self.held]
        self._lower, self._upper = centre - width, centre + width
        self._lowest, self._highest = self._lower, self._upper
        if self.hands:
            self._lowest, self._highest = self._lower.clip(-1.0, 1.0), self._upper.clip(-1.0, 1.0)
        means: Array = np.minimum(np.maximum(held, self._lowest), self._highest)
        return means

    def backward(
        self, error: Array, share: float = 0.0, away: Array = AT_REST, std: Array = AT_REST
    ) -> None:
        """At an edge its centre and width move the mean; inside, see the head on hands."""
        held = self.inputs[0][: len(error), self.held]
        buys, sells = np.less(held, self._lowest), np.greater(held, self._highest)
        by_lower, by_upper = error * buys, error * sells
        if self.hands:
            inside, reach = ~(buys | sells), REACH * std
            bought = np.exp((self._lowest - held) / reach) * (inside & (away > 0.0))
            sold = np.exp((held - self._highest) / reach) * (inside & (away < 0.0))
            inwards = self.pull * share / std
            by_lower += error * bought + inwards * (self._lower - self._lowest)
            by_upper += error * sold + inwards * (self._upper - self._highest)
        by_width = by_upper - by_lower + PULL * share
        by_reach = by_width / (1.0 + np.exp(-SHARPNESS * self._reach))
        super().backward(np.concatenate((by_lower + by_upper, by_reach), axis=1))
        self.gradients[0][self.held] = 0.0


def _blocks(rows: Array) -> Array:
    """``[n, k]`` as ``[n / BLOCK, BLOCK, k]``; as one block where that leaves a rest."""
    n, width = rows.shape
    return rows.reshape(-1, n if n % BLOCK else BLOCK, width)


def _back_through(error: Array, weights: Array, before: Array) -> None:
    """``error`` times the transposed weights; the last column of ``before`` is of no use."""
    if weights.shape[1] == 1:
        np.dot(np.ascontiguousarray(error), weights.T, out=before)  # matmul: no BLAS for these
    else:
        backward = np.ascontiguousarray(weights[:-1].T)
        np.matmul(_blocks(error), backward, out=_blocks(before[:, :-1]))


def _layers(policy: ActorCriticPolicy) -> list[list[torch.nn.Linear]]:
    """The linear layers of the actor, then those of the critic."""
    extractor, head = policy.mlp_extractor, policy.action_net
    if isinstance(head, BandHead):
        head = head.edges
    networks = ((extractor.policy_net, head), (extractor.value_net, policy.value_net))
    return [
        [layer for layer in (*hidden, last) if isinstance(layer, torch.nn.Linear)]
        for hidden, last in networks
    ]


class ActorCritic:
    """A policy's actor, critic and ``log_std``.

    Attributes:
        weights: All of them, flat.
        gradient: Of the weights, flat, in the same order.
        log_std: View of the weights, ``[actions]``; its own where it is given and not learned.
        log_std_gradient: View of the gradient; of no use where it is not learned.
        first: ``[ROWS, observations + 1]``: the rows that both networks read.
        actor: To the mean action.
        critic: To the value.
    """

    def __init__(self, policy: ActorCriticPolicy, dtype: type[np.floating[Any]] = np.float32):
        """Lay out the arrays and read the policy's weights."""
        actor, critic = _layers(policy)
        log_std = policy.get_parameter("log_std")
        self.parameters = [log_std] if log_std.requires_grad else []
        for layer in (*actor, *critic):
            self.parameters += layer.parameters()  # weight, then bias
        count = sum(parameter.numel() for parameter in self.parameters)
        self.weights, self.gradient = np.zeros(count, dtype), np.zeros(count, dtype)
        self._part = np.zeros_like(self.gradient)
        given = [] if log_std.requires_grad else [log_std.data.numpy().astype(dtype)]
        unused = [np.zeros_like(one) for one in given]
        self.log_std, *weights = given + self._matrices(self.weights)
        self.log_std_gradient = (unused + self._matrices(self.gradient))[0]
        self._log_std_part, *gradients = unused + self._matrices(self._part)
        self.first = np.ones((ROWS, actor[0].in_features + 1), dtype)
        activation = "tanh" if policy.activation_fn is torch.nn.Tanh else "relu"
        cut = len(actor)
        arguments = (self.first, weights[:cut], gradients[:cut], activation)
        self.actor = Mlp(*arguments)
        if isinstance(policy, BandPolicy):
            self.actor = BandMlp(policy, *arguments)
        self.critic = Mlp(self.first, weights[cut:], gradients[cut:], activation)
        self.read(self.weights, [parameter.data for parameter in self.parameters])

    def _matrices(self, flat: Array) -> list[Array]:
        """``log_std``, if it is learned, and each layer's matrix as views of a flat array."""
        learned = len(self.parameters) % 2
        shapes: list[tuple[int, ...]] = [tuple(one.shape) for one in self.parameters[:learned]]
        for weight in self.parameters[learned::2]:
            shapes.append((weight.shape[1] + 1, weight.shape[0]))
        ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
        parts = np.split(flat, ends[:-1])
        return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]

    def _places(self, flat: Array) -> Iterator[Array]:
        """Each parameter's place in a flat array, in the parameter's own shape."""
        matrices = self._matrices(flat)
        if len(self.parameters) % 2:
            yield matrices.pop(0)
        for matrix in matrices:
            yield matrix[:-1].T
            yield matrix[-1]

    def read(self, flat: Array, tensors: Sequence[torch.Tensor]) -> None:
        """Copy one tensor for each parameter into a flat array."""
        for place, tensor in zip(self._places(flat), tensors, strict=True):
            place[...] = tensor.numpy()

    def tensors(self, flat: Array) -> list[torch.Tensor]:
        """The reverse: new tensors, one for each parameter."""
        return [torch.from_numpy(place.copy(order="C")) for place in self._places(flat)]

    def write(self) -> None:
        """Copy the weights into the policy."""
        for parameter, tensor in zip(self.parameters, self.tensors(self.weights), strict=True):
            parameter.data.copy_(tensor)

    @np.errstate(all="ignore")
    def std(self) -> Array:
        """Deviation of the actions, ``[A]``."""
        deviation: Array = np.exp(self.log_std)
        return deviation

    def forward(self, n: int) -> tuple[Array, Array]:
        """Mean actions ``[n, A]`` and values ``[n]`` for the first ``n`` rows of ``first``."""
        return self.actor.forward(n), self.critic.forward(n)[:, 0]

    def add_gradient(
        self, by_means: Array, by_log_std: Array, by_values: Array, share: float, away: Array
    ) -> None:
        """Add to the gradient what follows from the loss's derivatives by the outputs.

        Args:
            by_means: ``[n, A]``, of the rows of the last :meth:`forward`.
            by_log_std: ``[A]``.
            by_values: ``[n, 1]``.
            share: Of one row in the loss.
            away: Of the actions from their means, in deviations, ``[n, A]``.
        """
        self._log_std_part[...] = by_log_std
        self.actor.backward(by_means, share, away, self.std())
        self.critic.backward(by_values)
        self.gradient += self._part

    def values(self, observations: Array) -> Array:
        """The critic's values ``[n]`` of observations ``[n, O]``, however many."""
        return self._outputs(self.critic, observations)[:, 0]

    def means(self, observations: Array) -> Array:
        """The actor's mean actions ``[n, actions]`` for observations ``[n, O]``, however many."""
        return self._outputs(self.actor, observations)

    @np.errstate(all="ignore")
    def _outputs(self, network: Mlp, observations: Array) -> Array:
        parts = []
        for begin in range(0, len(observations), ROWS):
            part = observations[begin : begin + ROWS]
            self.first[: len(part), :-1] = part
            parts.append(network.forward(len(part)))
        return parts[0] if len(parts) == 1 else np.concatenate(parts)
