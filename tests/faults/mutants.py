"""Faults of our own: what a hurried hand might do to the safety code; a test must find each.

A mutant is a file of the package, a text that stands there once, and what stands there instead.
"""

from __future__ import annotations

GATES, SWITCH = "live/gates.py", "risk/switch.py"
BEYOND, DESK = "live/beyond.py", "live/desk.py"
RECONCILE, RESOLVE, LOOK = "live/reconcile.py", "live/resolve.py", "live/look.py"
SENDING, EXPOSURE, CHAIN = "live/sending.py", "live/exposure.py", "live/chain.py"
RUNNER, TRIGGERS, WATCH, WINDOW = (
    "live/runner.py",
    "live/triggers.py",
    "live/watch.py",
    "live/window.py",
)
RETCODES, APPROVAL, ADAPTER = "brokers/retcodes.py", "brokers/approval.py", "brokers/mt5_orders.py"
READS = "brokers/mt5.py"

MUTANTS: tuple[tuple[str, str, str], ...] = (
    # The last look and the gates.
    (ADAPTER, "kept_back = withheld(approved)", 'kept_back = ""'),
    (APPROVAL, "    _ISSUED.discard(approved)\n", ""),
    (APPROVAL, 'return f"the last look failed: {problem!r}"', 'return ""'),
    (GATES, 'against = f"could not be judged: {problem!r}"', 'against = ""'),
    (GATES, '    ("kill switch", _switch),\n', ""),
    (GATES, '    ("one writer", _one_writer),\n', ""),
    (GATES, '    ("account", _account),\n', ""),
    (GATES, '    ("reconciled", _reconciled),\n', ""),
    (GATES, '    ("fresh", _fresh),\n', ""),
    (GATES, '    ("limits", _limits),\n', ""),
    (GATES, '    ("throttle", _throttle),\n', ""),
    (
        GATES,
        "return _killed(self.switch.read(), reduces=asked.reduces) or _too_old",
        "return _too_old",
    ),
    (GATES, "or _too_old(self, asked)", 'or ""'),
    (GATES, "0 <= age <= checker.most_age_ns", "age <= checker.most_age_ns"),
    (
        GATES,
        "form is Form.ARMED or (reduces and form is not Form.HARD)",
        "form is Form.ARMED or reduces",
    ),
    (GATES, "if not value <= most:", "if value > most:"),
    (GATES, "exposure.unproven(intent.steps).worst", "abs(exposure.held + intent.steps)"),
    (GATES, "(asked.reduces and not guard.frozen)", "asked.reduces"),
    (GATES, '"login", "server", "currency", "is_demo", "hedging"', '"login", "server", "currency"'),
    # The kill switch.
    (SWITCH, "return max(Form.REDUCE, self._asked)", "return max(Form.ARMED, self._asked)"),
    (SWITCH, "found = Form.HARD if armed is None else Form.ARMED", "found = Form.ARMED"),
    (SWITCH, "return max(found, self._asked)", "return found"),
    (SWITCH, "if not who or not why:", "if not who:"),
    (
        SWITCH,
        "KILLED = (Form.HARD, Form.FLATTEN, Form.REDUCE)",
        "KILLED = (Form.HARD, Form.FLATTEN)",
    ),
    # What an answer proves, and what it leaves open.
    (
        RETCODES,
        "return _OUTCOMES.get(retcode, Outcome.AMBIGUOUS)",
        "return _OUTCOMES.get(retcode, Outcome.NOT_EXECUTED)",
    ),
    (
        RETCODES,
        "    return Outcome.AMBIGUOUS\n\n\ndef outcome_of_placing",
        "    return Outcome.NOT_EXECUTED\n\n\ndef outcome_of_placing",
    ),
    (RETCODES, "TRADE_RETCODE_DONE: Outcome.EXECUTED", "TRADE_RETCODE_DONE: Outcome.AMBIGUOUS"),
    (EXPOSURE, "_UNPROVEN = (Outcome.AMBIGUOUS, Outcome.PLACED)", "_UNPROVEN = (Outcome.PLACED,)"),
    (EXPOSURE, "return max(self.held + self.below, 0)", "return self.held"),
    (
        EXPOSURE,
        "return self.held * steps < 0 and abs(steps) <= self.reducible",
        "return self.held * steps < 0",
    ),
    (EXPOSURE, "below=self.below + min(steps, 0)", "below=self.below"),
    (SENDING, "if result.outcome is Outcome.EXECUTED or again is not None:", "if True:"),
    (
        SENDING,
        "Outcome.AMBIGUOUS: IntentState.AMBIGUOUS,",
        "Outcome.AMBIGUOUS: IntentState.NOT_EXECUTED,",
    ),
    (
        SENDING,
        "if result.outcome is not Outcome.NOT_EXECUTED or result.retcode not in _ANOTHER_PRICE:",
        "if result.retcode == 10009:",
    ),
    # Reconciliation.
    (
        RESOLVE,
        "deal.magic == intent.magic and deal.reason not in BY_SERVER",
        "deal.reason not in BY_SERVER",
    ),
    (
        RESOLVE,
        "elif look.whole and self._over(intent, look, done):",
        "elif True:",
    ),
    (
        RESOLVE,
        "            return left\n        self._settle",
        "            return 0\n        self._settle",
    ),
    (RECONCILE, "if exposure.below or exposure.above:", "if False:"),
    (BEYOND, "if self.own != self.shown:", "if False:"),
    (BEYOND, "if self.beyond != self.others:", "if False:"),
    (BEYOND, "expected + before.beyond + foreign", "expected + foreign"),
    (RECONCILE, 'split = "" if record is None else self._split(unseen)', 'split = ""'),
    # The journal.
    (
        CHAIN,
        "number != head.number + 1 or digest != _digest(head.digest, told)",
        "number != head.number + 1",
    ),
    (CHAIN, "    if known and anchored != START:\n", "    if False:\n"),
    (CHAIN, "    if commits:\n", "    if False:\n"),
    (
        CHAIN,
        "self._seal(before)\n",
        "self._seal(before)\n            self._anchor.write(self._head)\n",
    ),
    (CHAIN, "return _wrong_state(database), head", 'return "", head'),
    (CHAIN, "if self.owner is not None and newest.fetchone() != (self.owner,):", "if False:"),
    # Triggers, feed and start.
    (TRIGGERS, "if starts > self.limits.starts_per_hour:", "if False:"),
    (TRIGGERS, "if not isfinite(findings.account.equity):", "if False:"),
    (TRIGGERS, "if self.desk.executed_since(since) >= limits.executions_per_day:", "if False:"),
    ("live/settings.py", "        must_be(account, settings.limits)\n", ""),
    (DESK, "value if len(known) == len(stakes) else math.nan,", "value,"),
    (DESK, "sent_since(max(at_ns, s.counts.armed_since()))", "sent_since(at_ns)"),
    ("live/core.py", " + seen.others.value,", ","),
    ("live/found.py", "if tag_of(one.magic) in tags), 0.0)", "if False), 0.0)"),
    (EXPOSURE, "return self.worst + abs(self.beyond)", "return self.worst"),
    ("live/loop.py", "                runner.unanswered()\n", "                pass\n"),
    (RUNNER, "and self.switch.untouched()", ""),
    (WATCH, "if age > self.oldest_tick_ns:", "if False:"),
    (WATCH, "if age < -self.oldest_tick_ns:", "if False:"),
    (WINDOW, "    if not sound.all():\n", "    if False:\n"),
    (WINDOW, "            if _revised(held, fetched):\n", "            if False:\n"),
    # What history does not show, and what works on.
    (READS, "_END_OF_TIME = 2**31 - 1 - 366 * 86_400", "_END_OF_TIME = 2**31 - 1"),
    (LOOK, "broker.deals(0 if giving_up else since)", "broker.deals(since)"),
    (LOOK, "known <= {deal.ticket for deal in deals}", "True"),
    (RESOLVE, "if OrderState.FILLED in ended and not done:", "if False:"),
    (RESOLVE, "if abs(done) <= abs(self.journal.intents.executed(magic)):", "if True:"),
    (RECONCILE, "waiting.setdefault(stray.symbol, []).append(stray.steps)", "pass"),
    (RECONCILE, "any(not one.known and", "any(False and"),
)
