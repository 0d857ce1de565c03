import sys
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner, Result

from mtquant.commands import data as data_commands
from mtquant.errors import MTQuantError
from mtquant.market.store import Store
from mtquant.market.symbols import SymbolSpec, SymbolTable
from mtquant.market.timeframe import Timeframe

Run = Callable[..., Result]
SYMBOLS = Path(__file__).parents[1] / "configs" / "symbols.yaml"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    entries = yaml.safe_load(SYMBOLS.read_text(encoding="utf-8"))
    table = SymbolTable(SymbolSpec(name=name, **fields) for name, fields in entries.items())
    monkeypatch.setattr(data_commands, "_spec", table.__getitem__)
    monkeypatch.setenv("COLUMNS", "200")

    def invoke(*arguments: object, answer: str | None = None) -> Result:
        return CliRunner().invoke(data_commands.app, [str(a) for a in arguments], input=answer)

    return invoke


@pytest.fixture
def export(tmp_path: Path) -> Path:
    time = np.datetime64("2024-01-08T02:00") + np.arange(22).astype("m8[h]")
    rows = "".join(f"{str(t).replace('T', ' ')},2000,2001,1999,2000,18\n" for t in time)
    path = tmp_path / "gold[1].csv"
    path.write_text("time,open,high,low,close,spread\n" + rows, encoding="utf-8")
    return path


def test_import_list_check_and_resample(run: Run, tmp_path: Path, export: Path) -> None:
    data = ("--data-dir", tmp_path / "data")
    done = run("import", export, "--symbol", "xauusd", "--clock", "ny+7", *data)
    assert done.exit_code == 0, done.output
    assert "22 bars XAUUSD H1 read on clock ny+7: 22 new, 0 replaced, 22 in" in done.output
    assert (
        "gold[1].csv" in done.output
        and "line 2 (2024-01-08" in done.output
        and "volume zero" in done.output
    )
    listed = run("list", *data)
    assert "XAUUSD" in listed.output and "gold[1].csv (ny+7)" in listed.output
    assert "volume zero" in run("check", "--symbol", "XAUUSD", *data).output
    made = run("resample", "--symbol", "XAUUSD", "--from", "H1", "--to", "H4", *data)
    assert made.exit_code == 0, made.output
    assert "22 H1 bars make 5 H4 bars" in made.output
    assert Store(tmp_path / "data").list() == [("XAUUSD", Timeframe.H1), ("XAUUSD", Timeframe.H4)]


def test_an_unknown_clock_is_refused_without_a_terminal(
    run: Run, tmp_path: Path, export: Path
) -> None:
    refused = run("import", export, "--symbol", "XAUUSD", "--data-dir", tmp_path / "data")
    assert isinstance(refused.exception, MTQuantError)
    assert "--clock" in str(refused.exception)
    assert not (tmp_path / "data").exists()


def test_an_unknown_clock_is_asked_for_on_a_terminal(
    run: Run, tmp_path: Path, export: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = types.SimpleNamespace(stdin=types.SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr(data_commands, "sys", asked)
    command = ("import", export, "--symbol", "XAUUSD", "--data-dir", tmp_path / "data")
    done = run(*command, answer="ny+7\n")
    assert done.exit_code == 0, done.output
    assert "read on clock ny+7" in done.output
    wrong = run(*command, answer="moon\n")
    assert isinstance(wrong.exception, MTQuantError)
    assert sys.stdin is not None


def test_findings_are_shown_before_the_refusal(run: Run, tmp_path: Path, export: Path) -> None:
    text = export.read_text(encoding="utf-8").replace("2000,2001,1999", "2000,1998,1999", 1)
    export.write_text(text, encoding="utf-8")
    command = (export, "--symbol", "XAUUSD", "--clock", "ny+7")
    for name in ("import", "check"):
        refused = run(name, *command)
        assert "high below low" in refused.output and "error" in refused.output
        assert "line 2" in str(refused.exception) and "--drop-bad" in str(refused.exception)
    done = run("import", *command, "--drop-bad", "--data-dir", tmp_path / "data")
    assert "21 new" in done.output


def test_nothing_stored(run: Run, tmp_path: Path) -> None:
    assert "nothing is stored" in run("list", "--data-dir", tmp_path).output
    empty = run("check", "--symbol", "EURUSD", "--data-dir", tmp_path)
    assert "no bars of EURUSD" in str(empty.exception)
