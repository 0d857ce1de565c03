"""The exception tree, ordered by who must act.

    MTQuantError
    ├── ConfigError        the user: a name, a key or a value is wrong
    ├── DataError          the user: a file or a store holds what must not be trained on
    ├── BundleError        the user: a bundle is missing, altered or of another schema
    ├── BrokerUnavailable  nobody yet: wait, then ask again (reads only)
    ├── OrderRejected      nobody: the broker said no, record it
    └── RiskHalt           a person: trading stopped and stays stopped until somebody decides
        └── Unwritable     a person: make room for the journal; meanwhile only flattening goes on

Every message names the value, the place and the cure.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MOST_SHOWN = 24  # names in one sentence
MOST_LETTERS = 60  # of a name that somebody else wrote


class MTQuantError(Exception):
    """Root of every error that mtquant raises on purpose."""


class ConfigError(MTQuantError):
    """A configuration, an argument or a name is wrong; the user corrects it."""


class DataError(MTQuantError):
    """Market data would corrupt training or cannot be read; the user repairs or replaces it."""


class BundleError(MTQuantError):
    """A trained bundle is missing, altered or made by another schema."""


class BrokerUnavailable(MTQuantError):
    """The terminal or the bridge gave no answer; a read may be tried again, an order may not."""


class OrderRejected(MTQuantError):
    """The broker answered that an order was not executed."""


class RiskHalt(MTQuantError):
    """Trading was stopped by a limit; only a person starts it again."""


class Unwritable(RiskHalt):
    """The journal cannot be written: nothing is sent but what flattens, until it can be again."""


def shown(name: str) -> str:
    """A name as a sentence can hold it: no control characters, and not longer than a line."""
    plain = name.encode("unicode_escape").decode("ascii") if not name.isprintable() else name
    return plain if len(plain) <= MOST_LETTERS else plain[: MOST_LETTERS - 3] + "..."


def one_line(text: str, most: int = 300) -> str:
    """What other code says, or a user has written, as a part of one sentence."""
    flat = " ".join(text.split())
    plain = flat if flat.isprintable() else flat.encode("unicode_escape").decode("ascii")
    return plain if len(plain) <= most else plain[: most - 3] + "..."


def unknown(kind: str, value: str, known: Iterable[str], *, cure: str = "") -> str:
    """One sentence for a name that does not exist, with the nearest that does.

    Args:
        kind: What the name stands for, such as ``"symbol"``.
        value: The name that was given.
        known: The names that exist.
        cure: What else the user can do, appended as it is.

    Returns:
        For example ``unknown symbol 'XAUSD'; did you mean 'XAUUSD'?``.
    """
    names = sorted(known)
    folded = {name.casefold(): name for name in names}
    near = difflib.get_close_matches(value.casefold(), folded, n=1, cutoff=0.6)
    if near:
        hint = f"did you mean '{folded[near[0]]}'?"
    elif len(names) > MOST_SHOWN:
        hint = f"none of the {len(names)} known is like it"
    else:
        hint = f"known: {', '.join(names)}" if names else "none is known"
    return f"unknown {kind} '{shown(value)}'; {hint}{' ' + cure if cure else ''}"
