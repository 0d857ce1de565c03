"""The command line itself."""

from __future__ import annotations

import sys
from io import BytesIO, TextIOWrapper

import pytest
import typer

from mtquant.console import run_app


@pytest.mark.parametrize("words", [("train", "--timesteps", "many"), ("train", "--bogus"), ("no",)])
def test_typer_s_own_refusals_exit_alike(mtquant, words):
    done = mtquant(*words)
    assert done.code == 2 and "Traceback" not in done.err and "Usage" in done.err


def test_help_is_there(mtquant):
    done = mtquant("--help")
    assert done.code == 0 and "train" in done.out and "backtest" in done.out and "data" in done.out
    assert "--timesteps" in mtquant("train", "--help").out


def test_an_error_is_one_short_line_whatever_a_name_holds(refused):
    for name in ("a\nb", "x" * 5000, "\udc80"):
        assert refused("status", "--journal", name)


def test_letters_that_the_output_lacks_end_no_command(desk, monkeypatch):
    """As where a log of Windows is written to a file."""
    written = BytesIO()
    monkeypatch.setattr(sys, "stdout", TextIOWrapper(written, "cp1252", write_through=True))
    app = typer.Typer()
    app.command()(lambda: typer.echo("Нет связи"))
    monkeypatch.setattr(sys, "argv", ["mtquant"])
    with pytest.raises(SystemExit) as ended:
        run_app(app)
    assert not ended.value.code and b"\\u041d" in written.getvalue()
