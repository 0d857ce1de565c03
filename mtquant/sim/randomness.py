"""One splitmix64 state a lane: what a lane draws depends on no other lane."""

from __future__ import annotations

import numpy as np

from mtquant.jit import kernel
from mtquant.sim.account import Book

MASK = 0xFFFFFFFFFFFFFFFF
WEYL = 0x9E3779B97F4A7C15
MIX_1 = 0xBF58476D1CE4E5B9
MIX_2 = 0x94D049BB133111EB


def seed_lanes(book: Book, seed: int) -> None:
    """Give every lane its own independent state, drawn from one ``seed``."""
    lanes = len(book.account)
    book.account["rng"] = np.random.SeedSequence(seed).generate_state(lanes, np.uint64)


@kernel
def uniform(book: Book, i: int) -> float:
    """The lane's next number in [0, 1): splitmix64 (Steele, Lea and Flood 2014), 53 bits."""
    z = (int(book.account[i]["rng"]) + WEYL) & MASK
    book.account[i]["rng"] = z
    z = ((z ^ (z >> 30)) * MIX_1) & MASK
    z = ((z ^ (z >> 27)) * MIX_2) & MASK
    z = z ^ (z >> 31)
    return (z >> 11) * (1.0 / 9007199254740992.0)
