"""Targets on their way: with whole bars of latency a target is filled that many bars later.

A lane keeps the targets of its last bars in a ring for each symbol, ``queue``. They are absolute:
what was decided about a position that is no more is taken out of them, or it would be opened again
without any check.
"""

from __future__ import annotations

from mtquant.jit import kernel
from mtquant.sim.account import Book, symbols_of


@kernel
def whole_bars(book: Book, i: int) -> int:
    """Targets of each symbol that are on their way at a close."""
    return int(book.account[i]["latency"]) if book.queue.shape[1] > 0 else 0


@kernel
def _slot(book: Book, s: int, t: int) -> int:
    """Where the target is kept that was decided for bar ``t``."""
    slots = book.queue.shape[1] // symbols_of(book)
    return s * slots + t % slots


@kernel
def ordered(book: Book, i: int, s: int, t: int) -> int:
    """Signed lot steps held at the close of bar ``t`` once everything on its way is filled."""
    if whole_bars(book, i) == 0:
        return book.positions[i, s]["steps"]
    return book.queue[i, _slot(book, s, t)]


@kernel
def increase(held: int, target: int) -> int:
    """Lot steps that going from ``held`` to ``target`` opens; all of them after a flip."""
    return max(abs(target) - abs(held) * (held * target > 0), 0)


@kernel(rare=True)
def on_its_way(book: Book, i: int, s: int, t: int) -> tuple[int, int, int]:
    """What may still come of the targets that are on their way at the close of bar ``t``.

    Returns:
        ``(signed lot steps, where they are the most, lot steps opened, orders that open)``.
    """
    held = most = book.positions[i, s]["steps"]
    opened, orders = 0, 0
    for k in range(t - whole_bars(book, i) + 1, t + 1):
        target = book.queue[i, _slot(book, s, k)]
        more = increase(held, target)
        if more > 0:
            opened += more
            orders += 1
        if abs(target) >= abs(most):
            most = target
        held = target
    return most, opened, orders


@kernel
def send(book: Book, i: int, s: int, t: int, target: int) -> int:
    """Take the target decided for bar ``t``; returns the one that bar ``t`` fills."""
    book.queue[i, _slot(book, s, t)] = target
    return book.queue[i, _slot(book, s, t - whole_bars(book, i))]


@kernel(rare=True)
def call_off(book: Book, i: int, s: int) -> None:
    """A position is closed unasked: what is on its way to its side would open it anew."""
    steps, slots = book.positions[i, s]["steps"], book.queue.shape[1] // symbols_of(book)
    for k in range(s * slots, (s + 1) * slots):
        if book.queue[i, k] * steps > 0:
            book.queue[i, k] = 0


@kernel(rare=True)
def give_up(book: Book, i: int, s: int, t: int, due: int) -> None:
    """What bar ``t`` did not open of a target is not opened by later ones that only repeat it.

    It is asked for again at the next close, and checked.
    """
    held = book.positions[i, s]["steps"]
    kept = held if held * due > 0 else 0
    if abs(due) <= abs(kept):
        return
    for k in range(t - whole_bars(book, i) + 1, t + 1):
        slot = _slot(book, s, k)
        if book.queue[i, slot] != due:
            return
        book.queue[i, slot] = kept
