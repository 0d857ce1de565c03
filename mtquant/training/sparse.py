"""An optimiser that leaves at 0 what hardly helps: AdamW with a soft threshold on weights.

After each step every weight moves towards 0 by ``learning rate x sparsity``, and stops there. So a
weight whose gradient, in Adam's units, is mostly below ``sparsity`` stays 0: columns that say
nothing are not looked at, where a decay would only look at them less. It is the proximal step of an
L1 penalty (Tibshirani 1996; Duchi and Singer 2009, forward-backward splitting).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


class SparseAdamW(torch.optim.AdamW):
    """AdamW, and the threshold for matrices; biases and deviations are spared."""

    def __init__(self, params: Any, sparsity: float = 0.0, **options: Any) -> None:
        """As AdamW.

        Args:
            params: Tensors, or groups of them, which may have a ``sparsity`` of their own.
            sparsity: Step towards 0 in units of the learning rate, 0 or above.
            options: AdamW's.

        Raises:
            ValueError: The sparsity is negative.
        """
        if not sparsity >= 0.0:
            raise ValueError(f"sparsity {sparsity} must be 0 or above")
        super().__init__(params, **options)
        self.defaults["sparsity"] = sparsity
        for group in self.param_groups:
            group.setdefault("sparsity", sparsity)

    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """See torch."""
        loss = super().step(closure)
        with torch.no_grad():
            for group in self.param_groups:
                least = group["lr"] * group["sparsity"]
                for weight in group["params"] if least else ():
                    if weight.ndim > 1:
                        weight.copy_(torch.nn.functional.softshrink(weight, least))
        return loss
