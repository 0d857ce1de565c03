"""One order as the checks see it: a record of what is held, what is asked for, and the account.

Everything is known at the close of a bar, and zero wherever nothing is known. The kernel fills one
record per symbol and bar; :func:`order_of` makes one by hand.
"""

from __future__ import annotations

import numpy as np

from mtquant.errors import ConfigError, unknown
from mtquant.jit import Record, Structured, kernel

ORDER = np.dtype(
    [
        ("held", "i8"),  # signed lot steps
        ("target", "i8"),  # signed lot steps asked for
        ("step_notional", "f8"),  # of one lot step, account currency
        ("step_margin", "f8"),
        ("step_lots", "f8"),
        ("equity", "f8"),  # marked at the last close
        ("balance", "f8"),
        ("others_gross", "f8"),  # notional of the other symbols, reserved for them or held
        ("others_class", "f8"),  # the same, of this symbol's asset class only
        ("others_margin", "f8"),
        ("others_open", "i8"),  # other symbols with a position, or about to have one
        ("correlation", "f8"),  # largest with an other one held; above 0 is the same bet
        ("day_volume", "f8"),  # average of a day in lot steps; 0: not recorded
        ("orders_today", "i8"),  # increases of this broker day, filled or yet to be
        ("spent_today", "f8"),  # notional that they opened, account currency
        ("day_trades", "i8"),  # opened and closed on one broker day, in the last five of them
        ("bars_since_loss", "i8"),  # closed since a round trip lost, with that one; 0: none has
        ("age", "i8"),  # bars that the position has been held
        ("leverage", "f8"),  # most notional over equity for this symbol; 0: any
        ("barred", "i8"),  # reason code of a gate that bars an increase; 0: none
    ]
)


def order_of(**facts: float) -> Structured:
    """``ORDER[1]`` of facts by name; what is left out is zero.

    Raises:
        ConfigError: No such fact; names the nearest.
    """
    assert ORDER.names is not None
    row = np.zeros(1, ORDER)
    for name, value in facts.items():
        if name not in ORDER.names:
            raise ConfigError(unknown("fact of an order", name, ORDER.names))
        row[name] = value
    return row


@kernel
def kept_steps(order: Record) -> int:
    """Signed lot steps that stay where an increase is denied: none of a flip."""
    return order["held"] * (order["held"] * order["target"] > 0)
