"""Desk: the strategies that trade one account, and what they come to together.

Each has a journal, a kill switch and a tag of its own, and looks in its turn; the account's limits
bind the sum of all. What one of them may come to is unknown until it has looked, and after a look
that failed: the others increase nothing meanwhile.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mtquant.errors import ConfigError
from mtquant.live.counts import Counts
from mtquant.live.exposure import Exposure


@dataclass(frozen=True)
class Stake:
    """What strategies may come to, in account currency.

    Attributes:
        value: Of all they hold, whatever becomes of orders without an answer; NaN if unknown.
        held_value: Of what is proven to be held, as far as it is known.
    """

    value: float = 0.0
    held_value: float = 0.0


@dataclass
class Seat:
    """One strategy at a desk.

    Attributes:
        name: Of the strategy.
        tag: Its own, see :mod:`mtquant.live.intents`.
        symbols: That it trades, by the broker's names.
        counts: Of its journal.
        stake: What it may come to; None where that is unknown.
    """

    name: str
    tag: int
    symbols: tuple[str, ...]
    counts: Counts
    stake: Stake | None = None


class Desk:
    """The strategies of one account, in the order in which they look."""

    def __init__(self) -> None:
        """Nobody sits at it yet."""
        self._seats: list[Seat] = []

    def join(self, seat: Seat) -> None:
        """Take a seat.

        Raises:
            ConfigError: Its orders or positions could not be told from those of another strategy.
        """
        for other in self._seats:
            if other.tag == seat.tag:
                raise ConfigError(
                    f"strategies '{other.name}' and '{seat.name}' have the same tag {seat.tag}, so "
                    "their orders look alike; trade one of them on another account"
                )
            shared = sorted(set(other.symbols) & set(seat.symbols))
            if shared:
                raise ConfigError(
                    f"strategies '{other.name}' and '{seat.name}' both trade {', '.join(shared)}; "
                    "trade one of them on another account"
                )
        self._seats.append(seat)

    @property
    def shared(self) -> bool:
        """Whether more than one sits at it."""
        return len(self._seats) > 1

    def friends(self, tag: int) -> frozenset[int]:
        """Tags of the others."""
        return frozenset(seat.tag for seat in self._seats if seat.tag != tag)

    def others(self, tag: int) -> Stake:
        """What all but one may come to."""
        stakes = [seat.stake for seat in self._seats if seat.tag != tag]
        known = [stake for stake in stakes if stake is not None]
        value = sum(stake.value for stake in known)
        return Stake(
            value if len(known) == len(stakes) else math.nan,
            sum(stake.held_value for stake in known),
        )

    def sent_within(self, span_ns: int, now_ns: int) -> int:
        """Orders handed over of late, each strategy's from when somebody armed its switch."""
        return sum(s.counts.sent_since(_since(s, span_ns, now_ns)) for s in self._seats)

    def executed_within(self, span_ns: int, now_ns: int) -> int:
        """Orders of those that were executed, at least in part, or may have been."""
        return sum(s.counts.executed_since(_since(s, span_ns, now_ns)) for s in self._seats)


def _since(seat: Seat, span_ns: int, now_ns: int) -> int:
    return max(now_ns - span_ns, seat.counts.armed_since(now_ns))


def stake_of(exposures: Sequence[Exposure], step_value: Sequence[float] | None) -> Stake:
    """What a strategy may come to.

    Args:
        exposures: One per symbol.
        step_value: Account currency per lot step, likewise; None where no bar tells.
    """
    values = [math.nan] * len(exposures) if step_value is None else step_value
    worth = list(zip(exposures, values, strict=True))
    return Stake(
        sum(one.at_risk * value for one, value in worth if one.at_risk),
        sum(abs(one.held) * value for one, value in worth if one.held and not math.isnan(value)),
    )
