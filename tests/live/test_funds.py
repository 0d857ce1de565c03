"""What is paid in is no profit, what a broker charges is a loss, and a credit is neither."""

from __future__ import annotations

import pytest

from mtquant.brokers import constants as mt5
from mtquant.brokers.terminal.records import TradeDeal


@pytest.mark.parametrize(
    ("kind", "amount", "booked", "lost"),
    [
        ("BALANCE", 3000.0, True, 0.0),
        ("BALANCE", -3000.0, True, 0.0),
        ("CORRECTION", 3000.0, True, 0.0),
        ("CREDIT", 3000.0, False, 0.0),
        ("CREDIT", -3000.0, False, 0.0),
        ("COMMISSION_DAILY", -3000.0, True, 3000.0),
        ("CHARGE", -3000.0, True, 3000.0),
    ],
)
def test_B4_the_breaker_sees_losses_and_nothing_else(holding, kind, amount, booked, lost):
    desk = holding()
    desk.until_held()
    before, account = desk.bar().outlook.record, desk.terminal.account
    if booked:
        account.book.account["balance"] += amount
    number = getattr(mt5, f"DEAL_TYPE_{kind}")
    at = account.deals[-1].time
    account.deals.append(TradeDeal.of(ticket=9, time=at, type=number, profit=amount))
    after = desk.bar().outlook.record
    paid_in = amount if booked and not lost else 0.0
    market = after.equity - before.equity - paid_in + lost
    assert abs(market) < 300.0, "what the open position made meanwhile"
    fallen = (after.peak - after.equity) - (before.peak - before.equity)
    assert fallen == pytest.approx(lost - market, abs=max(0.0, market) + 1e-6)
    day = (after.day_start - after.equity) - (before.day_start - before.equity)
    assert day == pytest.approx(lost - market, abs=1e-6)
