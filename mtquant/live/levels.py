"""Where stop and target of a position should stand, and what the broker must be told of it.

A stop is wanted where the last decision left it, or where the order that increased the position
since then has set it. What a person has moved is put back.
"""

from __future__ import annotations

from collections.abc import Sequence

from mtquant.brokers.base import Instrument, StopChange
from mtquant.live.decision import Guard
from mtquant.live.found import BrokerBalance, FoundPosition, Ticket
from mtquant.live.record import HeldPosition
from mtquant.risk.reasons import STOP
from mtquant.sim.account import Book
from mtquant.sim.inside import bar_side

Levels = tuple[int, int]
"""Stop and target in ticks, 0 for none."""

Asked = tuple[int, Levels]
"""Price in ticks at which an order was filled, and the distances that it had asked for."""


def levels_to_stand(
    tickets: Sequence[Ticket], before: HeldPosition, asked: Asked | None
) -> tuple[Levels, str]:
    """Where the levels of a position should stand now, and what is wrong with them, in words.

    Args:
        tickets: Of the position, the oldest first.
        before: What was held at the last record.
        asked: Of the newest own order that has increased it since then, None without one.
    """
    side, newest = (1 if tickets[-1].steps > 0 else -1), tickets[-1]
    shown = newest.stop, newest.take
    if asked is not None:
        filled, (stop, take) = asked
        wanted = _set_by(shown[0], filled, -side * stop), _set_by(shown[1], filled, side * take)
        return wanted, "" if wanted == shown else "opened without the stop or target asked for"
    if before.steps * side <= 0:
        return shown, ""
    wanted, seen = (before.stop, before.take), (before.seen_stop, before.seen_take)
    # Where it has stood all the while our own change has not come through yet.
    moved = any((ticket.stop, ticket.take) not in (wanted, seen) for ticket in tickets)
    return wanted, "stop or target stands elsewhere at the broker" if moved else ""


def _set_by(shown: int, filled: int, away: int) -> int:
    """The level that an order has set; counted from its price where the broker shows none.

    A distance near the whole price may leave no level above zero: then none is missed.
    """
    missed = shown == 0 and 0 < 2 * abs(away) < filled
    return filled + away if missed else shown


def is_passed(side: int, stop: int, quoted: tuple[int, int]) -> bool:
    """Whether a quote lies at or beyond a stop.

    Args:
        side: Sign of the position.
        stop: Ticks, 0 for none.
        quoted: Bid and ask in ticks.
    """
    if stop == 0:
        return False
    return quoted[0] <= stop if side > 0 else quoted[1] >= stop


def close_passed(
    book: Book,
    found: BrokerBalance,
    guards: Sequence[Guard | None],
    quotes: Sequence[tuple[int, int] | None],
) -> None:
    """Close what a stop would have protected that no broker takes now, as the kernel does.

    That is a stop which the broker does not have yet and which the quote has passed already.

    Args:
        book: One lane, decided; targets and reasons change.
        found: What the broker shows.
        guards: Per symbol what stands against trading, or None.
        quotes: Per symbol bid and ask in ticks, or None.
    """
    for s, quoted in enumerate(quotes):
        position, now, guard = book.positions[0, s], found.positions[s], guards[s]
        if quoted is None or now.steps == 0 or (guard is not None and guard.unsettled):
            continue
        stop, target = int(position["stop"]), int(position["target"])
        missing = any(ticket.stop != stop for ticket in now.tickets)
        if missing and target * now.steps > 0 and is_passed(now.steps, stop, quoted):
            bar_side(position)
            position["target"], position["reason"] = 0, STOP
            position["stop"] = now.stop  # should the order fail, that is what still stands


def changes_of(
    instrument: Instrument, found: FoundPosition, wanted: HeldPosition, quoted: tuple[int, int]
) -> list[StopChange]:
    """What moves the levels of all tickets of a position to where they are wanted.

    Nothing where the quote has passed the stop: no broker takes it.

    Args:
        instrument: The symbol.
        found: What the broker shows.
        wanted: The record of the decision.
        quoted: Bid and ask in ticks.
    """
    if is_passed(found.steps, wanted.stop, quoted):
        return []
    stop, take = instrument.price(wanted.stop), instrument.price(wanted.take)
    return [
        StopChange(instrument, ticket.ticket, stop, take)
        for ticket in found.tickets
        if (ticket.stop, ticket.take) != (wanted.stop, wanted.take)
    ]


def stop_missing(found: FoundPosition, guard: Guard | None) -> bool:
    """Whether a ticket stands without the stop that it should have, and may be given one.

    Args:
        found: What the broker shows.
        guard: What stands against trading the symbol, or None.
    """
    missing = found.stop != 0 and any(ticket.stop == 0 for ticket in found.tickets)
    return missing and (guard is None or not guard.unsettled)
