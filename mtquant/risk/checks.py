"""PreTradeChecker: whether an increase of risk is allowed, reduced or denied, and why.

Reducing is always allowed. A denied increase keeps what is held; a flip whose increase is denied
still closes what is held. Each verdict carries a reason code that journal and console show.
"""

from __future__ import annotations

from math import floor

from mtquant.jit import Record, kernel
from mtquant.risk.sizing import GRID_TOLERANCE

ALLOWED, UNCHANGED, NOT_TRADABLE, MAX_EXPOSURE, MARGIN, BREAKER, NO_MONEY, STOP_OUT = range(8)
REASONS = (
    "allowed",
    "unchanged",
    "not tradable",
    "reduced to the maximum exposure",
    "reduced to the free margin",
    "circuit breaker",
    "not enough money",
    "stop-out",
)

LIMIT_FIELDS = [
    ("max_exposure", "f8"),
    ("stop_out_level", "f8"),
]


@kernel
def permitted(
    rules: Record,
    held: int,
    target: int,
    tradable: bool,
    step_notional: float,
    others: float,
    equity: float,
    margin_share: float,
) -> tuple[int, int]:
    """Clip a target to what the limits permit.

    Args:
        rules: Record array with :data:`LIMIT_FIELDS`.
        held: Signed lot steps held.
        target: Signed lot steps asked for.
        tradable: Whether the symbol can be traded now.
        step_notional: Notional of one lot step, account currency.
        others: Gross notional of the other symbols, account currency.
        equity: Account equity marked at the last close, account currency.
        margin_share: Margin of one unit of notional, a fraction.

    Returns:
        ``(lot steps, reason)``.
    """
    if target == held:
        return held, UNCHANGED
    if not tradable:
        return held, NOT_TRADABLE
    base = held if target * held > 0 else 0
    if abs(target) <= abs(base):
        return target, ALLOWED
    room = rules["max_exposure"] * equity - others
    reason = MAX_EXPOSURE
    if margin_share * rules["max_exposure"] > 1.0:
        affordable = equity / margin_share - others
        if affordable < room:
            room = affordable
            reason = MARGIN
    most = floor(max(room, 0.0) / step_notional + GRID_TOLERANCE)
    if abs(target) <= most:
        return target, ALLOWED
    allowed = max(most, abs(base))
    return (allowed if target > 0 else -allowed), reason
