"""Faults of our own: what a hurried hand might do to the safety code; a test must find each.

A mutant is a file of the package, a text that stands there once, what stands there instead, and the
test that finds it.
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

MUTANTS: tuple[tuple[str, str, str, str], ...] = (
    # The last look and the gates.
    (
        ADAPTER,
        "kept_back = withheld(approved)",
        'kept_back = ""',
        "faults/test_gates.py::test_B8_a_hand_made_approval_is_refused",
    ),
    (
        APPROVAL,
        "    _ISSUED.discard(approved)\n",
        "",
        "faults/test_gates.py::test_A2_an_approval_is_used_up_by_its_use",
    ),
    (
        APPROVAL,
        'return f"the last look failed: {problem!r}"',
        'return ""',
        "faults/test_kill_switch.py::test_E3_a_last_look_that_fails_denies",
    ),
    (
        GATES,
        'against = f"could not be judged: {problem!r}"',
        'against = ""',
        "faults/test_kill_switch.py::test_E3_a_gate_that_fails_denies",
    ),
    (
        GATES,
        '    ("kill switch", _switch),\n',
        "",
        "faults/test_gates.py::test_A12_a_reduction_of_what_is_proven_passes_where_increases_do_not",
    ),
    (
        GATES,
        '    ("held", _held),\n',
        "",
        "faults/test_gates.py::test_B1_what_a_stop_has_closed_since_the_look_is_not_turned_round",
    ),
    (
        GATES,
        '    ("one writer", _one_writer),\n',
        "",
        "faults/test_gates.py::test_E5_without_the_lock_nothing_is_sent",
    ),
    (
        GATES,
        '    ("account", _account),\n',
        "",
        "faults/test_gates.py::test_A10_another_price_is_tried_again_as_another_intent",
    ),
    (
        GATES,
        '    ("reconciled", _reconciled),\n',
        "",
        "faults/test_gates.py::test_A12_a_reduction_of_what_is_proven_passes_where_increases_do_not",
    ),
    (
        GATES,
        '    ("fresh", _fresh),\n',
        "",
        "faults/test_gates.py::test_C1_an_old_quote_stops_increases",
    ),
    (
        GATES,
        '    ("limits", _limits),\n',
        "",
        "faults/test_gates.py::test_B2_every_cap_binds_at_its_bound",
    ),
    (
        GATES,
        '    ("throttle", _throttle),\n',
        "",
        "faults/test_kill_switch.py::test_E3_a_gate_that_fails_denies",
    ),
    (
        GATES,
        "return _killed(self.switch.read(), reduces=asked.reduces) or _too_old",
        "return _too_old",
        "faults/test_kill_switch.py::test_E1_the_switch_is_read_last_right_before_the_call",
    ),
    (
        GATES,
        "or _too_old(self, asked)",
        'or ""',
        "faults/test_gates.py::test_A11_an_old_decision_is_not_sent",
    ),
    (
        GATES,
        "0 <= age <= checker.most_age_ns",
        "age <= checker.most_age_ns",
        "faults/test_gates.py::test_A11_an_old_decision_is_not_sent",
    ),
    (
        GATES,
        "form is Form.ARMED or (reduces and form is not Form.HARD)",
        "form is Form.ARMED or reduces",
        "faults/test_gates.py::test_A12_a_reduction_of_what_is_proven_passes_where_increases_do_not",
    ),
    (
        GATES,
        "if not value <= most:",
        "if value > most:",
        "faults/test_gates.py::test_B2_every_cap_binds_at_its_bound",
    ),
    (
        GATES,
        "abs(intent.steps), exposure.unproven(intent.steps).worst",
        "abs(intent.steps), abs(exposure.held + intent.steps)",
        "faults/test_gates.py::test_B1_the_position_limit_counts_what_unanswered_orders_may_come_to",
    ),
    (
        GATES,
        "(asked.reduces and not guard.frozen)",
        "asked.reduces",
        "faults/test_gates.py::test_A12_a_reduction_of_what_is_proven_passes_where_increases_do_not",
    ),
    (
        GATES,
        '"login", "server", "currency", "is_demo", "hedging"',
        '"login", "server", "currency"',
        "faults/test_gates.py::test_E6_another_account_is_not_traded",
    ),
    # The kill switch.
    (
        SWITCH,
        "return max(Form.REDUCE, self._asked)",
        "return max(Form.ARMED, self._asked)",
        "faults/test_kill_switch.py::test_E3_a_switch_that_cannot_be_read_allows_no_increase",
    ),
    (
        SWITCH,
        "found = Form.HARD if armed is None else Form.ARMED",
        "found = Form.ARMED",
        "faults/test_kill_switch.py::test_E2_a_first_start_does_not_arm_what_was_killed_before",
    ),
    (
        SWITCH,
        "return max(found, self._asked)",
        "return found",
        "faults/test_kill_switch.py::test_E4_where_no_file_can_be_changed_it_holds_in_the_process",
    ),
    (
        SWITCH,
        "if not who or not why:",
        "if not who:",
        "faults/test_kill_switch.py::test_E2_only_a_person_with_a_reason_arms_it",
    ),
    (
        SWITCH,
        "KILLED = (Form.HARD, Form.FLATTEN, Form.REDUCE)",
        "KILLED = (Form.HARD, Form.FLATTEN)",
        "faults/test_gates.py::test_A12_a_reduction_of_what_is_proven_passes_where_increases_do_not",
    ),
    # What an answer proves, and what it leaves open.
    (
        RETCODES,
        "return _OUTCOMES.get(retcode, Outcome.AMBIGUOUS)",
        "return _OUTCOMES.get(retcode, Outcome.NOT_EXECUTED)",
        "brokers/test_retcodes.py::test_the_table_is_total_and_golden",
    ),
    (
        RETCODES,
        "    return Outcome.AMBIGUOUS\n\n\ndef outcome_of_placing",
        "    return Outcome.NOT_EXECUTED\n\n\ndef outcome_of_placing",
        "faults/test_gates.py::test_A4_after_silence_nothing_grows_and_the_proven_part_can_go",
    ),
    (
        RETCODES,
        "TRADE_RETCODE_DONE: Outcome.EXECUTED",
        "TRADE_RETCODE_DONE: Outcome.AMBIGUOUS",
        "faults/test_desk.py::test_each_trades_its_own_symbol_under_its_own_tag",
    ),
    (
        EXPOSURE,
        "_UNPROVEN = (Outcome.AMBIGUOUS, Outcome.PLACED)",
        "_UNPROVEN = (Outcome.PLACED,)",
        "faults/test_gates.py::test_B1_what_an_answer_leaves_open",
    ),
    (
        EXPOSURE,
        "return max(self.held + self.below - self.missing, 0)",
        "return self.held",
        "faults/test_gates.py::test_B1_a_reduction_cannot_make_more_of_it_whatever_is_executed",
    ),
    (
        EXPOSURE,
        "return self.held * steps < 0 and abs(steps) <= self.reducible",
        "return self.held * steps < 0",
        "faults/test_gates.py::test_A12_a_reduction_of_what_is_proven_passes_where_increases_do_not",
    ),
    (
        EXPOSURE,
        "below=self.below + min(steps, 0)",
        "below=self.below",
        "faults/test_gates.py::test_B1_a_reduction_cannot_make_more_of_it_whatever_is_executed",
    ),
    (
        SENDING,
        "if result.outcome is not Outcome.EXECUTED and again is None:",
        "if False:",
        "live/test_crashes.py::test_a_refused_reduction_is_not_followed_by_its_increase",
    ),
    (
        SENDING,
        "Outcome.AMBIGUOUS: IntentState.AMBIGUOUS,",
        "Outcome.AMBIGUOUS: IntentState.NOT_EXECUTED,",
        "faults/test_gates.py::test_A4_after_silence_nothing_grows_and_the_proven_part_can_go",
    ),
    (
        SENDING,
        "if result.outcome is not Outcome.NOT_EXECUTED or result.retcode not in _ANOTHER_PRICE:",
        "if result.retcode == 10009:",
        "faults/test_kill_switch.py::test_E1_the_switch_is_read_last_right_before_the_call",
    ),
    # Reconciliation.
    (
        RESOLVE,
        "deal.magic == intent.magic and deal.reason not in BY_SERVER",
        "deal.reason not in BY_SERVER",
        "faults/test_desk.py::test_each_trades_its_own_symbol_under_its_own_tag",
    ),
    (
        RESOLVE,
        "elif look.whole and self._over(intent, look, done):",
        "elif True:",
        "faults/test_gates.py::test_A4_after_silence_nothing_grows_and_the_proven_part_can_go",
    ),
    (
        RESOLVE,
        "            return left\n        self._settle",
        "            return 0\n        self._settle",
        "faults/test_gates.py::test_A4_after_silence_nothing_grows_and_the_proven_part_can_go",
    ),
    (
        RECONCILE,
        "if exposure.below or exposure.above:",
        "if False:",
        "faults/test_gates.py::test_A4_after_silence_nothing_grows_and_the_proven_part_can_go",
    ),
    (
        BEYOND,
        "if self.differs:",
        "if False:",
        "faults/test_gates.py::test_B7_a_change_that_is_not_ours_stops_increases_until_a_person_arms",
    ),
    (
        BEYOND,
        "if self.beyond != self.others:",
        "if False:",
        "faults/test_beyond.py::test_B1_what_is_not_shown_for_three_bars_is_no_flat_account",
    ),
    (
        BEYOND,
        "expected + before.beyond + foreign",
        "expected + foreign",
        "faults/test_beyond.py::test_B1_what_is_not_shown_for_three_bars_is_no_flat_account",
    ),
    (
        RECONCILE,
        'split = "" if record is None else self._split(unseen)',
        'split = ""',
        "faults/test_gates.py::test_E5_a_deal_under_our_tag_that_we_did_not_send_is_another_runner",
    ),
    # The journal.
    (
        CHAIN,
        "number != head.number + 1 or digest != _digest(head.digest, told)",
        "number != head.number + 1",
        "live/test_chain.py::test_F3_a_change_of_any_column_is_found",
    ),
    (
        CHAIN,
        "    if known and anchored != START:\n",
        "    if False:\n",
        "live/test_chain.py::test_F3_a_tail_that_was_cut_is_found_by_the_anchor",
    ),
    (
        CHAIN,
        "    if commits:\n",
        "    if False:\n",
        "live/test_chain.py::test_F3_a_row_that_was_added_or_moved_is_found",
    ),
    (
        CHAIN,
        "self._seal(before)\n",
        "self._seal(before)\n            self._anchor.write(self._head)\n",
        "live/test_chain.py::test_F1_the_anchor_is_never_ahead_of_the_rows",
    ),
    (
        CHAIN,
        "return _wrong_state(database), head",
        'return "", head',
        "live/test_chain.py::test_F5_states_are_what_the_outcomes_lead_to",
    ),
    (
        CHAIN,
        "if self.owner is not None and newest.fetchone() != (self.owner,):",
        "if False:",
        "live/test_chain.py::test_E5_whoever_begins_shuts_out_who_began_before",
    ),
    # Triggers, feed and start.
    (
        TRIGGERS,
        "if starts > self.limits.starts_per_hour:",
        "if False:",
        "faults/test_kill_switch.py::test_E7_a_crash_loop_ends_in_reductions",
    ),
    (
        TRIGGERS,
        "if not isfinite(findings.account.equity):",
        "if False:",
        "faults/test_kill_switch.py::test_B4_an_unknown_equity_lets_the_switch_fall",
    ),
    (
        TRIGGERS,
        "if self.desk.executed_within(DAY_NS, now_ns) >= limits.executions_per_day:",
        "if False:",
        "faults/test_kill_switch.py::test_B3_triggers_fall_by_themselves_and_wait_for_a_person",
    ),
    (
        "live/settings.py",
        "        must_be(account, settings.limits)\n",
        "",
        "faults/test_gates.py::test_E6_the_limits_name_the_account",
    ),
    (
        DESK,
        "value if len(known) == len(stakes) else math.nan,",
        "value,",
        "faults/test_desk.py::test_B1_nobody_grows_before_all_have_looked",
    ),
    (
        DESK,
        "return max(now_ns - span_ns, seat.counts.armed_since(now_ns))",
        "return now_ns - span_ns",
        "faults/test_desk.py::test_counts_begin_where_each_switch_was_armed",
    ),
    (
        "live/core.py",
        " + seen.others.value,",
        ",",
        "faults/test_desk.py::test_B1_the_sum_is_bound_where_each_alone_would_pass",
    ),
    (
        "live/found.py",
        "if tag_of(one.magic) in tags), 0.0)",
        "if False), 0.0)",
        "faults/test_desk.py::test_what_one_is_losing_counts_against_the_other",
    ),
    (
        EXPOSURE,
        "return self.worst + abs(self.beyond)",
        "return self.worst",
        "faults/test_desk.py::test_a_stake_is_the_worst_and_unknown_where_no_bar_tells",
    ),
    (
        "live/loop.py",
        "                runner.unanswered()\n",
        "                pass\n",
        "faults/test_desk.py::test_a_connection_that_cannot_be_made_anew_is_heard_of_at_every_look",
    ),
    (
        RUNNER,
        "and self.switch.untouched()",
        "",
        "faults/test_kill_switch.py::test_E2_a_first_start_does_not_arm_what_was_killed_before",
    ),
    (
        WATCH,
        "if age > self.oldest_tick_ns:",
        "if False:",
        "faults/test_feed.py::test_C1_C5_C7_what_stands_against_a_symbol",
    ),
    (
        WATCH,
        "if age < -self.oldest_tick_ns:",
        "if False:",
        "faults/test_feed.py::test_C1_C5_C7_what_stands_against_a_symbol",
    ),
    (
        WINDOW,
        "    if not sound.all():\n",
        "    if False:\n",
        "faults/test_feed.py::test_C3_what_cannot_be_a_bar_is_refused",
    ),
    (
        WINDOW,
        "            if _revised(held, fetched):\n",
        "            if False:\n",
        "faults/test_feed.py::test_C3_a_revised_bar_is_flagged_and_taken",
    ),
    # What history does not show, and what works on.
    (
        READS,
        "_END_OF_TIME = 2**31 - 1 - 366 * 86_400",
        "_END_OF_TIME = 2**31 - 1",
        "faults/test_late.py::test_A5_no_clock_moves_the_end_of_history_beyond_the_modules_32_bits",
    ),
    (
        LOOK,
        "broker.deals(0 if giving_up else since)",
        "broker.deals(since)",
        "faults/test_late.py::test_A5_an_order_is_given_up_on_the_whole_of_history_alone",
    ),
    (
        LOOK,
        "known <= {deal.ticket for deal in deals}",
        "True",
        "faults/test_late.py::test_A5_nothing_is_given_up_in_a_history_with_holes",
    ),
    (
        RESOLVE,
        "if filled and abs(done) + left < abs(intent.steps):",
        "if False:",
        "faults/test_late.py::test_A5_an_order_that_is_filled_waits_for_its_deals",
    ),
    (
        RESOLVE,
        "if abs(done) <= abs(self.journal.intents.executed(magic)):",
        "if True:",
        "faults/test_disk.py::test_F2_on_a_full_disk_the_spare_orders_flatten",
    ),
    (
        RECONCILE,
        "waiting.setdefault(stray.symbol, []).append(stray.steps)",
        "pass",
        "faults/test_strays.py::test_B1_a_working_order_that_no_intent_explains_counts_and_stops_increases",
    ),
    (
        RECONCILE,
        "any(not one.known and",
        "any(False and",
        "faults/test_strays.py::test_B1_a_working_order_that_no_intent_explains_counts_and_stops_increases",
    ),
    (
        RESOLVE,
        " or begun < self.too_old_ns",
        "",
        "faults/test_flatten.py::test_E4_an_order_without_an_answer_does_not_block_the_way_out_for_ever",
    ),
    (
        "live/beyond.py",
        "return min(max(side * (self.others - self.beyond) - came, 0), abs(self.shown))",
        "return 0",
        "faults/test_flatten.py::test_A12_flatten_opens_nothing_while_positions_lag",
    ),
    (
        "live/sending.py",
        "replace(one, other_value=one.other_value + more)",
        "one",
        "faults/test_desk.py::test_B1_symbols_of_one_strategy_do_not_grow_beside_each_other",
    ),
    (
        RECONCILE,
        "ours = ours and deal.reason not in BY_SERVER",
        "pass",
        "faults/test_gates.py::test_E5_a_stop_of_what_was_taken_over_is_no_other_runner",
    ),
    (
        "live/loop.py",
        "except Unwritable as problem:",
        "except ZeroDivisionError as problem:",
        "faults/test_disk.py::test_F2_the_loop_outlives_a_full_disk_and_flattens",
    ),
)
