"""Order and Position: what a person, a log or a report is told, whatever broker it came from.

Both are frozen, are checked when they are made, and come back from their dicts as they were. A dict
holds JSON's types alone: times are ISO 8601 in UTC. Volumes are lots without a sign, prices those
of the symbol, money is account currency.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, timedelta
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, AwareDatetime, Field, ValidationError, model_validator

from mtquant.errors import DataError
from mtquant.market.model import Finite, Frozen, NotNegative, Positive

Name = Annotated[str, Field(min_length=1, max_length=64)]
Moment = Annotated[AwareDatetime, AfterValidator(lambda moment: moment.astimezone(UTC))]
Side = Literal["buy", "sell"]


class _Record(Frozen):
    """A record with a way to a dict and back."""

    def to_dict(self) -> dict[str, Any]:
        """All fields, in JSON's types."""
        return self.model_dump(mode="json")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The record that :meth:`to_dict` has made this of.

        Raises:
            DataError: A field is missing, unknown or impossible; names the first.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as problem:
            first = problem.errors()[0]
            place = ".".join(map(str, first["loc"])) or "as a whole"
            raise DataError(
                f"{cls.__name__} of {first['input']!r}: {place}: {first['msg']}; write it by "
                "to_dict()"
            ) from None


class Order(_Record):
    """An order, from the wish to its end.

    Attributes:
        order_id: Of the broker, or of the intent where there is none yet.
        agent_id: Who wants it.
        symbol: Standard name.
        side: Whether it buys.
        order_type: How it is executed.
        volume: Lots.
        price: Of a limit or a stop, or what a market order was executed at.
        stop_loss: Of what it opens.
        take_profit: Likewise.
        signal: The agent's action behind it, in [-1, 1].
        created_at: When, with a zone.
        status: How far it has come.
        broker_id: Where.
    """

    order_id: Name
    agent_id: Name
    symbol: Name
    side: Side
    order_type: Literal["market", "limit", "stop"] = "market"
    volume: Positive
    price: Positive | None = None
    stop_loss: Positive | None = None
    take_profit: Positive | None = None
    signal: Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)] = 0.0
    created_at: Moment
    status: Literal["pending", "filled", "cancelled", "rejected"] = "pending"
    broker_id: Name

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.order_type != "market" and self.price is None:
            raise ValueError(f"a {self.order_type} order needs a price")
        if self.price is not None:
            _check_levels(self.side, self.price, self.stop_loss, self.take_profit)
        elif self.stop_loss is not None and self.take_profit is not None:
            _check_levels(self.side, None, self.stop_loss, self.take_profit)
        return self


class Position(_Record):
    """An open position at one moment.

    Attributes:
        position_id: Of the broker; what it is tracked by.
        agent_id: Whose it is.
        symbol: Standard name.
        side: ``buy`` for a long one.
        volume: Lots.
        entry_price: Average.
        current_price: At which it would be closed.
        stop_loss: Its protective stop.
        take_profit: Its target.
        unrealised_pnl: If it were closed now, costs of closing aside.
        value: Notional at the current price.
        opened_at: When, with a zone.
        seen_at: The moment of all this.
        broker_id: Where.
    """

    position_id: Name
    agent_id: Name
    symbol: Name
    side: Side
    volume: Positive
    entry_price: Positive
    current_price: Positive
    stop_loss: Positive | None = None
    take_profit: Positive | None = None
    unrealised_pnl: Finite = 0.0
    value: NotNegative = 0.0
    opened_at: Moment
    seen_at: Moment
    broker_id: Name

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.seen_at < self.opened_at:
            raise ValueError(f"seen at {self.seen_at}, before it was opened at {self.opened_at}")
        if self.stop_loss is not None and self.take_profit is not None:
            _check_levels(self.side, None, self.stop_loss, self.take_profit)
        return self

    @property
    def unrealised_fraction(self) -> float:
        """Unrealised profit over notional, 0 where there is none."""
        return self.unrealised_pnl / self.value if self.value else 0.0

    @property
    def duration(self) -> timedelta:
        """How long it has been open."""
        return self.seen_at - self.opened_at

    def to_dict(self) -> dict[str, Any]:
        """All fields and what follows from them, in JSON's types."""
        derived = {
            "unrealised_fraction": self.unrealised_fraction,
            "duration_seconds": self.duration.total_seconds(),
        }
        return super().to_dict() | derived

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """See :meth:`Order.from_dict`; what follows from other fields must follow."""
        given = dict(values)
        derived = {n: given.pop(n, None) for n in ("unrealised_fraction", "duration_seconds")}
        record = super().from_dict(given)
        for name, value in derived.items():
            if value is not None and value != record.to_dict()[name]:
                raise DataError(
                    f"Position {record.position_id}: {name} is {value}, the other fields give "
                    f"{record.to_dict()[name]}; write it by to_dict()"
                )
        return record


def _check_levels(
    side: Side, price: float | None, stop: float | None, target: float | None
) -> None:
    """Refuse a stop or a target on the wrong side."""
    ascending = [level for level in (stop, price, target) if level is not None]
    if side == "sell":
        ascending.reverse()
    if any(low >= high for low, high in pairwise(ascending)):
        raise ValueError(
            f"stop {stop}, price {price} and target {target} are in no order to {side}"
        )
