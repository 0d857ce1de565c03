"""G3, G6: whatever stands in a configuration or a name, the answer is clear or it is refused."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))
hostile = import_module("hostile_configs")


def kinds_of_case(counted) -> set[str]:
    return {what for what, _refused in counted}


def test_G3_G6_a_thousand_hostile_configs_and_names():
    counted = hostile.run(1_000, seed=1)
    assert sum(counted.values()) == 1_000
    whats = kinds_of_case(counted)
    assert {"name", "text twice", "text nest", "brokers.yaml retype"} <= whats
    refused = sum(count for (_, no), count in counted.items() if no)
    assert 0.5 < refused / 1_000 < 0.95, "most are refused, and not because everything is"


@pytest.mark.slow
@pytest.mark.parametrize("seed", (10, 11))
def test_G3_G6_many_hostile_configs_and_names(seed):
    counted = hostile.run(5_000, seed)
    assert sum(counted.values()) == 5_000


def test_G6_names_that_brokers_use_are_taken():
    for name in hostile.REAL_NAMES:
        assert hostile.broker_symbol(name) == name


def test_a_wrong_judge_would_be_seen():
    """The oracle itself: an exception that is no sentence, and an acceptance that must not be."""

    def breaks() -> None:
        raise KeyError("x")

    for read, must in ((breaks, False), (lambda: None, True)):
        with pytest.raises(hostile.Violation):
            hostile._judge(read, "x", "x", must)
