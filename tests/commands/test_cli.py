"""The command line itself."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize("words", [("train", "--timesteps", "many"), ("train", "--bogus"), ("no",)])
def test_typer_s_own_refusals_exit_alike(mtquant, words):
    done = mtquant(*words)
    assert done.code == 2 and "Traceback" not in done.err and "Usage" in done.err


def test_help_is_there(mtquant):
    done = mtquant("--help")
    assert done.code == 0 and "train" in done.out and "backtest" in done.out and "data" in done.out
    assert "--timesteps" in mtquant("train", "--help").out
