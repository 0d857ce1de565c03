"""PreTradeChecker: the answer of every check to one order, with its number and its limit.

The kernel asks only :func:`mtquant.risk.checks.permitted`, which is fast and gives one reason. Here
the same checks are all asked, for a journal or for a person, and the decision is the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import repeat
from math import inf, nan
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mtquant.errors import ConfigError
from mtquant.jit import Record, Structured, kernel, resolved
from mtquant.market.bars import Float
from mtquant.risk import checks
from mtquant.risk.gates import GATES, Gates, gate_rules
from mtquant.risk.order import ORDER, kept_steps
from mtquant.risk.reasons import REASONS
from mtquant.risk.sizing import GRID_TOLERANCE

OUTCOMES = ("off", "pass", "warn", "reduce", "deny")
OFF, PASS, WARN, REDUCE, DENY = range(5)
NAMES = (*(check.name for check in checks.CHECKS), *(gate.name for gate in GATES))
CHECKED = len(checks.CHECKS)
ALWAYS_ON = NAMES.index("margin") + 1
REMARKING = (NAMES.index("max_correlation"), NAMES.index("max_daily_volume_share"))

ANSWERS = np.dtype([(name, "f8") for name in NAMES])


class Finding(NamedTuple):
    """What one check found.

    Attributes:
        name: Of the check or gate.
        outcome: ``off``; ``pass``; ``warn``, the limit is passed but nothing is stopped (no
            increase, or a check that only remarks); ``reduce``; ``deny``.
        number: What the target would come to, in the unit of the limit; what is counted already,
            where the answer is yes or no; what a gate measures at the last close, NaN where
            nothing was read (the price band shows when the next bar opens).
        limit: What is allowed; 0 where the check is off.
    """

    name: str
    outcome: str
    number: float
    limit: float


class Verdict(NamedTuple):
    """What is allowed of an order, and why.

    Attributes:
        allowed_steps: Signed lot steps to hold.
        reason: Code of :mod:`mtquant.risk.reasons`.
        findings: One per check, as ``CHECKS`` lists them, then one per gate, as ``GATES`` does.
    """

    allowed_steps: int
    reason: int
    findings: tuple[Finding, ...]

    def __str__(self) -> str:
        told = ", ".join(
            f"{one.name} {one.number:.6g} against {one.limit:.6g} ({one.outcome})"
            for one in self.findings
            if one.outcome not in ("off", "pass")
        )
        return f"{self.allowed_steps} lot steps: {REASONS[self.reason]}" + (told and f"; {told}")


class PreTradeChecker:
    """The checks and gates under one set of limits."""

    def __init__(self, rules: Mapping[str, float] | Record, gates: Gates | None = None) -> None:
        """Copy the limits.

        Args:
            rules: Limits by name (``LimitsConfig.rules()``), or a record that holds them.
            gates: What bars alone bar (``LimitsConfig.gates()``); None for nothing.

        Raises:
            ConfigError: ``max_exposure``, which is always on, is missing.
        """
        names = set(rules if isinstance(rules, Mapping) else rules.dtype.names)
        if "max_exposure" not in names:
            raise ConfigError("limits without max_exposure allow nothing; give it")
        self._rules = np.zeros(1, checks.LIMITS)
        for name in names.intersection(checks.LIMITS.names or ()):
            self._rules[name] = rules[name]
        self._gates = gate_rules(gates or Gates())
        self._order, self._read = np.zeros(1, ORDER), np.zeros(len(GATES))
        self._answers = np.zeros(3, ANSWERS)  # caps, numbers, limits
        self._columns = self._answers.view(np.float64).reshape(3, -1)
        self._outcomes = np.zeros(len(NAMES), np.int64)
        self._state = (
            *(self._rules, self._gates, self._order, self._read),
            *(self._answers, self._columns, self._outcomes),
        )
        self._judge: Any = resolved(_judge, *self._state)

    def check(self, order: Structured | Record, read: Float | None = None) -> Verdict:
        """The verdict on one order.

        Args:
            order: One ``ORDER`` record, or an array of one.
            read: Of :func:`~mtquant.risk.gates.read_gates`; None where nothing was read, and only
                the order's own code says what bars it.

        Returns:
            What :func:`~mtquant.risk.checks.permitted` says, with every check's finding.

        Raises:
            TypeError: It is another record.
        """
        if order.dtype != ORDER:
            raise TypeError(f"an order is a record of mtquant.risk.order.ORDER, not {order.dtype}")
        self._order[0] = order
        self._read[:] = nan if read is None else read
        steps, reason = self._judge(*self._state)
        outcomes = [OUTCOMES[code] for code in self._outcomes.tolist()]
        _caps, numbers, limits = self._columns.tolist()
        # As ``Finding(...)`` makes them, at a third of its time: there is one for every check.
        rows = zip(NAMES, outcomes, numbers, limits, strict=True)
        findings = tuple(map(tuple.__new__, repeat(Finding), rows))
        return Verdict(int(steps), int(reason), findings)


@kernel
def _judge(
    rules: Structured,
    gates: Structured,
    order: Structured,
    read: Float,
    answers: Structured,
    columns: Float,
    outcomes: npt.NDArray[np.int64],
) -> tuple[int, int]:
    """Ask every check about one order, and decide it."""
    _ask(rules[0], order[0], answers[0])
    _measure_size(rules[0], order[0], answers[1])
    _measure_rest(order[0], answers[1])
    _limit(rules[0], order[0], answers[2])
    _look(gates, order[0], read, columns)
    _conclude(rules[0], gates, order[0], columns, outcomes)
    return checks.permitted(rules[0], order[0])


@kernel
def _ask(rules: Record, order: Record, caps: Record) -> None:
    """The most lot steps that every check allows."""
    caps["max_exposure"] = checks.max_exposure(rules, order)
    caps["margin"] = checks.margin(rules, order)
    caps["max_position"] = checks.max_position(rules, order)
    caps["max_lots"] = checks.max_lots(rules, order)
    caps["max_daily_volume_share"] = checks.max_daily_volume_share(rules, order)
    caps["max_class_exposure"] = checks.max_class_exposure(rules, order)
    caps["leverage"] = checks.leverage(rules, order)
    caps["max_correlation"] = checks.max_correlation(rules, order)
    caps["min_balance"] = checks.min_balance(rules, order)
    caps["max_positions"] = checks.max_positions(rules, order)
    caps["order_budget"] = checks.order_budget(rules, order)
    caps["day_budget"] = checks.day_budget(rules, order)
    caps["trades_per_day"] = checks.trades_per_day(rules, order)
    caps["max_day_trades"] = checks.max_day_trades(rules, order)
    caps["cooldown_bars"] = checks.cooldown_bars(rules, order)
    caps["max_holding_bars"] = checks.max_holding_bars(rules, order)


@kernel
def _share(part: float, whole: float) -> float:
    """``part`` of ``whole``; of nothing everything is infinitely much."""
    return part / whole if whole > 0.0 else inf


@kernel
def _measure_size(rules: Record, order: Record, numbers: Record) -> None:
    """What the position would come to."""
    steps, equity = float(abs(order["target"])), order["equity"]
    value = steps * order["step_notional"]
    opened = max(value - abs(kept_steps(order)) * order["step_notional"], 0.0)
    used = order["others_margin"] + steps * order["step_margin"]
    numbers["max_exposure"] = _share(order["others_gross"] + value, equity)
    numbers["margin"] = _share(used, equity)
    numbers["max_position"] = _share(value, equity)
    numbers["max_lots"] = steps * order["step_lots"]
    numbers["max_daily_volume_share"] = _share(steps, order["day_volume"])
    numbers["max_class_exposure"] = _share(order["others_class"] + value, equity)
    numbers["leverage"] = _share(value, equity)
    numbers["order_budget"] = opened
    numbers["day_budget"] = order["spent_today"] + opened


@kernel
def _measure_rest(order: Record, numbers: Record) -> None:
    """What is counted already."""
    numbers["max_correlation"] = order["correlation"]
    numbers["min_balance"] = order["balance"]
    numbers["max_positions"] = order["others_open"]
    numbers["trades_per_day"] = order["orders_today"]
    numbers["max_day_trades"] = order["day_trades"]
    numbers["cooldown_bars"] = order["bars_since_loss"]
    numbers["max_holding_bars"] = order["age"]


@kernel
def _limit(rules: Record, order: Record, limits: Record) -> None:
    """What the numbers are held against."""
    limits["max_exposure"] = rules["max_exposure"]
    limits["margin"] = 1.0
    limits["max_position"] = rules["max_position"]
    limits["max_lots"] = rules["max_lots"]
    limits["max_daily_volume_share"] = rules["max_daily_volume_share"]
    limits["max_class_exposure"] = rules["max_class_exposure"]
    limits["leverage"] = order["leverage"] if rules["use_leverage"] != 0 else 0.0
    limits["max_correlation"] = rules["max_correlation"]
    limits["min_balance"] = rules["min_balance"]
    limits["max_positions"] = rules["max_positions"]
    limits["order_budget"] = rules["order_budget"]
    limits["day_budget"] = rules["day_budget"]
    limits["trades_per_day"] = rules["trades_per_day"]
    limits["max_day_trades"] = rules["max_day_trades"]
    limits["cooldown_bars"] = rules["cooldown_bars"]
    limits["max_holding_bars"] = rules["max_holding_bars"]


@kernel
def _bars(gate: Record, number: float, barred: int) -> bool:
    """Whether a gate bars increases; without a number the order's own code says so."""
    if number != number:
        return barred == gate["code"]
    return number < gate["limit"] if gate["least"] != 0 else number > gate["limit"]


@kernel
def _look(gates: Structured, order: Record, read: Float, columns: Float) -> None:
    """What the gates say, in the columns behind those of the checks."""
    for k in range(gates.size):
        gate, column = gates[k], CHECKED + k
        columns[0, column] = 0.0 if _bars(gate, read[k], order["barred"]) else inf
        columns[1, column], columns[2, column] = read[k], gate["limit"]


@kernel
def _is_off(rules: Record, gates: Structured, limit: float, k: int) -> bool:
    """Whether nobody has asked for what stands in column ``k``."""
    if k >= CHECKED:
        return gates[k - CHECKED]["on"] == 0
    return limit == 0.0 or (k >= ALWAYS_ON and rules["checks"] == 0)


@kernel
def _conclude(
    rules: Record,
    gates: Structured,
    order: Record,
    columns: Float,
    outcomes: npt.NDArray[np.int64],
) -> None:
    """The outcome of every check and gate."""
    asked, kept = abs(order["target"]), abs(kept_steps(order))
    caps, numbers, limits = columns
    for k in range(outcomes.size):
        cap = caps[k] + GRID_TOLERANCE
        if _is_off(rules, gates, limits[k], k):
            outcomes[k], numbers[k], limits[k] = OFF, 0.0, 0.0
        elif asked > cap and k == CHECKED - 1:
            outcomes[k] = DENY  # held for too long: not even what is held is kept
        elif asked > cap and asked > kept:
            outcomes[k] = REDUCE if kept + 1 <= cap else DENY
        elif asked > cap or (k in REMARKING and numbers[k] > limits[k] + GRID_TOLERANCE):
            outcomes[k] = WARN
        else:
            outcomes[k] = PASS
