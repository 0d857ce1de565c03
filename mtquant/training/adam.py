"""torch's Adam in numpy, over the flat arrays of :mod:`mtquant.training.mlp`.

Weights, gradients and moments lie in one array each: a step is a dozen operations, whatever the
layers.
"""

from __future__ import annotations

from math import sqrt

import numpy as np
import torch

from mtquant.training.mlp import ActorCritic, Array


class Adam:
    """torch's Adam and AdamW, and a threshold, over flat arrays; their state stays in torch.

    Kingma and Ba (2015); decoupled decay after Loshchilov and Hutter (2019).
    """

    def __init__(self, optimizer: torch.optim.Optimizer, network: ActorCritic) -> None:
        """Read the moments and the settings of this update."""
        self._optimizer, self._network = optimizer, network
        self._settings = optimizer.param_groups[0]
        states = [optimizer.state.get(parameter, {}) for parameter in network.parameters]
        weights = network.weights
        self.sparsity = self._sparsity()
        self.mean, self.square = np.zeros_like(weights), np.zeros_like(weights)
        self._spare, self.steps = np.empty_like(weights), 0
        if all(states):
            self.steps = int(states[0]["step"])
            network.read(self.mean, [state["exp_avg"] for state in states])
            network.read(self.square, [state["exp_avg_sq"] for state in states])

    def _sparsity(self) -> Array:
        """Of each weight, see :class:`mtquant.training.sparse.SparseAdamW`."""
        of = {
            id(parameter): group.get("sparsity", 0.0)
            for group in self._optimizer.param_groups
            for parameter in group["params"]
            if parameter.ndim > 1
        }
        parameters, flat = self._network.parameters, np.zeros_like(self._network.weights)
        asked = [torch.full_like(one.data, of.get(id(one), 0.0)) for one in parameters]
        self._network.read(flat, asked)
        return flat

    def step(self) -> None:
        """Move the network's weights along its gradient."""
        weights, gradient, spare = self._network.weights, self._network.gradient, self._spare
        rate, decay = self._settings["lr"], self._settings["weight_decay"]
        beta, gamma = self._settings["betas"]
        self.steps += 1
        if decay and self._settings["decoupled_weight_decay"]:
            weights *= 1.0 - rate * decay
        elif decay:
            gradient += decay * weights
        self.mean *= beta
        self.mean += np.multiply(gradient, 1.0 - beta, out=spare)
        self.square *= gamma
        np.multiply(gradient, gradient, out=spare)
        spare *= 1.0 - gamma
        self.square += spare
        np.sqrt(self.square, out=spare)
        spare /= sqrt(1.0 - gamma**self.steps)
        spare += self._settings["eps"]
        np.divide(self.mean, spare, out=spare)
        spare *= rate / (1.0 - beta**self.steps)
        weights -= spare
        if self.sparsity.any():
            least = np.multiply(self.sparsity, rate, out=spare)
            weights -= weights.clip(-least, least)

    def write(self) -> None:
        """Leave the moments where torch keeps them."""
        means, squares = self._network.tensors(self.mean), self._network.tensors(self.square)
        for parameter, mean, square in zip(self._network.parameters, means, squares, strict=True):
            state = {"step": torch.tensor(float(self.steps)), "exp_avg": mean, "exp_avg_sq": square}
            self._optimizer.state[parameter] = state
