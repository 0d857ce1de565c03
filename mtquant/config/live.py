"""LiveLimits: what an account may lose itself in, at most, each number written out by its owner.

No field has a default: a limit that nobody has thought about is no limit. The three yeses of live
trading are this file with the account's number in it, ``--live`` and ``--confirm``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field

from mtquant.errors import ConfigError
from mtquant.market.model import Fraction, Frozen, Positive

# Thirty years: their nanoseconds, added to the present, are a number of 64 bits.
Seconds = Annotated[float, Field(gt=0, le=1e9)]
Count = Annotated[int, Field(ge=1)]
Lots = dict[str, Positive]


class LiveLimits(Frozen):
    """Limits of an account; money in its currency, lots by standard symbol.

    They bind the sum of all strategies that trade it.

    Attributes:
        account: Login, typed out.
        server: Of the broker, as the terminal shows it.
        currency: Of the account.
        is_demo: Whether it is a demo account.
        max_order_lots: Of one order.
        max_order_value: Of one order.
        max_position_lots: Of one symbol, whatever becomes of orders without an answer.
        max_account_value: Of all symbols together, likewise.
        max_delta_lots: By which one bar may move a symbol where that ends in more than before.
        price_collar: Furthest that a quote may be from the last closed bar, a fraction.
        max_quote_age_seconds: Of the quote that an increase is sent at.
        max_decision_age_seconds: From the decision to the call.
        orders_per_minute: Sent, whatever became of them; no more is sent.
        orders_per_hour: Likewise.
        orders_per_day: Likewise; the switch falls.
        executions_per_day: Trades of a day, at which the switch falls.
        max_position_value: Of all that is held, at which the switch falls.
        connection_lost_seconds: Without a terminal, after which the switch falls.
        attempts_per_bar: Of one order that is answered by another price, the first included.
        starts_per_hour: More of them, and the switch falls to reductions.
        on_trigger: What the switch falls to, ``reduce``, ``flatten`` or ``hard``.
        on_foreign: A change that is not ours: ``halt`` (the switch falls to reductions) or
            ``adopt`` (no increase for one bar).
    """

    account: Count
    server: Annotated[str, Field(min_length=1)]
    currency: Annotated[str, Field(min_length=1)]
    is_demo: bool
    max_order_lots: Lots
    max_order_value: Positive
    max_position_lots: Lots
    max_account_value: Positive
    max_delta_lots: Lots
    price_collar: Fraction
    max_quote_age_seconds: Seconds
    max_decision_age_seconds: Seconds
    orders_per_minute: Count
    orders_per_hour: Count
    orders_per_day: Count
    executions_per_day: Count
    max_position_value: Positive
    connection_lost_seconds: Seconds
    attempts_per_bar: Annotated[int, Field(ge=1, le=4)]
    starts_per_hour: Count
    on_trigger: Literal["reduce", "flatten", "hard"]
    on_foreign: Literal["halt", "adopt"]

    @property
    def digest(self) -> str:
        """By which an approval tells what it was held against."""
        told = json.dumps(self.model_dump(), sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()

    def must_name(self, symbols: Iterable[str]) -> None:
        """Check that every symbol has its limits in lots.

        Raises:
            ConfigError: One has not.
        """
        for name in ("max_order_lots", "max_position_lots", "max_delta_lots"):
            missing = sorted(set(symbols) - set(getattr(self, name)))
            if missing:
                raise ConfigError(
                    f"live limits: {name} says nothing of {', '.join(missing)}; write it out"
                )
