"""``mtquant backtest``: spans, notes and reports, and one line for every mistake."""

from __future__ import annotations

import json
import sys
import time
from functools import partial

import pytest
import yaml

from mtquant.config.data import simulated_market

SMALL = ("--symbol", "XAUUSD", "--env", "small.yaml", "--agent", "ppo.yaml")


def test_backtest_of_a_bundle_repeats_its_report(mtquant, models, small_run, desk):
    done = mtquant("backtest", "small")
    assert done.code == 0, done.err
    written = json.loads((desk / "reports" / "small" / "report.json").read_text(encoding="utf-8"))
    trained = json.loads((small_run.bundle.path / "report.json").read_text(encoding="utf-8"))
    assert written["results"] == trained["results"]
    assert written["tested"]["first_bar"] == trained["tested"]["first_bar"]
    assert written["notes"] == [] and written["data"] == trained["data"]
    assert "buy and hold" in done.out and (desk / "reports" / "small" / "report.html").is_file()


def test_backtest_of_a_bundle_by_its_folder_or_on_its_own_file(
    write_csv, mtquant, models, desk, easy_bars
):
    mtquant("backtest", "small")
    first = (desk / "reports" / "small" / "report.json").read_text(encoding="utf-8")
    assert mtquant("backtest", models / "small", "--out", "folder").code == 0
    assert (desk / "folder" / "report.json").read_text(encoding="utf-8") == first
    write_csv(desk / "gold.csv", easy_bars)
    done = mtquant("backtest", "small", "--data", "gold.csv", "--clock", "utc", "--out", "file")
    assert done.code == 0, done.err
    results = json.loads((desk / "file" / "report.json").read_text(encoding="utf-8"))["results"]
    assert results == json.loads(first)["results"]


def test_start_and_end_cut_the_span_and_old_bars_are_noted(mtquant, models, desk):
    def span(*words: str) -> tuple[str, str, list[str]]:
        assert mtquant("backtest", "small", *words, "--out", "out").code == 0
        report = json.loads((desk / "out" / "report.json").read_text(encoding="utf-8"))
        return report["tested"]["first_bar"], report["tested"]["last_bar"], report["notes"]

    first, last, notes = span("--start", "2015-04-15", "--end", "2015-04-16T12:00")
    assert (first, last) == ("2015-04-15T01:00:00Z", "2015-04-16T11:00:00Z") and notes == []
    first, last, notes = span("--start", "2015-03-02")
    assert first == "2015-03-02T01:00:00Z" and last == "2015-05-05T20:00:00Z"
    assert len(notes) == 1 and "trained and selected on bars up to 2015-04-09" in notes[0]
    first, _, notes = span("--end", "2015-04-16")
    assert first == "2015-01-12T05:00:00Z" and len(notes) == 1
    first, _, _ = span("--start", "2015-04-15T03:00+02:00")
    assert first == "2015-04-15T02:00:00Z"


@pytest.mark.skipif(sys.platform == "win32", reason="the zone of a process cannot be set")
def test_days_are_utc_days_wherever_the_user_sits(mtquant, models, desk, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        done = mtquant("backtest", "small", "--start", "2015-04-15", "--out", "out")
    time.tzset()
    assert done.code == 0, done.err
    report = json.loads((desk / "out" / "report.json").read_text(encoding="utf-8"))
    assert report["tested"]["first_bar"] == "2015-04-15T01:00:00Z"


def test_backtest_of_a_rule_on_a_file(write_csv, mtquant, desk, easy_bars):
    write_csv(desk / "gold.csv", easy_bars)
    words = ("--env", "small.yaml", "--data", "gold.csv", "--clock", "utc")
    done = mtquant("backtest", "buy_and_hold", *words)
    assert done.code == 0, done.err
    report = json.loads((desk / "reports" / "buy_and_hold" / "report.json").read_text())
    assert report["tested"]["agent"] == "buy_and_hold" and report["tested"]["bars"] == 1880
    assert report["data"]["source"] == "given bars" and report["warning"] is None
    assert not (desk / "data").exists(), "a backtest stores nothing"


def test_backtest_under_the_rules_of_a_challenge(mtquant, models, desk):
    assert mtquant("backtest", "small", "--out", "plain").code == 0
    words = ("--rules", "two_step_static", "--rules-paths", "300")
    done = mtquant("backtest", "small", *words, "--out", "judged")
    assert done.code == 0, done.err
    text = (desk / "judged" / "report.json").read_text(encoding="utf-8")
    plain = json.loads((desk / "plain" / "report.json").read_text(encoding="utf-8"))
    judged = json.loads(text)
    challenge, notes = judged.pop("challenge"), judged.pop("notes")
    assert judged == {name: value for name, value in plain.items() if name != "notes"}
    assert challenge["name"] == "two_step_static"
    assert challenge["rules"]["max_drawdown"]["fraction"] == 0.10
    outcome, odds = challenge["outcome"], challenge["odds"]
    assert outcome["verdict"] in ("passed", "failed", "undecided")
    assert plain["tested"]["first_bar"] <= outcome["time"] <= plain["tested"]["last_bar"]
    ends = [odds["passed"], odds["undecided"], *odds["failed"].values()]
    assert odds["paths"] == 300 and sum(end["share"] for end in ends) == pytest.approx(1.0)
    shown = " ".join(done.out.split())
    page = (desk / "judged" / "report.html").read_text(encoding="utf-8")
    assert notes[0].startswith(f"Rules two_step_static: {outcome['verdict']}")
    assert len(notes) == 3 and all(" ".join(note.split()) in shown for note in notes)
    assert all(note in page for note in notes)
    assert mtquant("backtest", "small", *words, "--out", "again").code == 0
    assert (desk / "again" / "report.json").read_text(encoding="utf-8") == text


def test_backtest_of_a_rule_under_rules_of_one_s_own(write_csv, mtquant, desk, easy_bars):
    write_csv(desk / "gold.csv", easy_bars)
    rules = "profit_target: 0.5\nmax_drawdown: {fraction: 0.02}\n"
    (desk / "strict.yaml").write_text(rules, encoding="utf-8")
    env = yaml.safe_load((desk / "small.yaml").read_text(encoding="utf-8"))
    unprotected = env | {"stops": {"atr": 0}, "breaker": {"shed": 0}}
    (desk / "bare.yaml").write_text(yaml.safe_dump(unprotected), encoding="utf-8")
    words = (
        "--env",
        "bare.yaml",
        "--data",
        "gold.csv",
        "--clock",
        "utc",
        "--rules",
        "strict.yaml",
    )
    done = mtquant("backtest", "buy_and_hold", *words)
    assert done.code == 0, done.err
    assert done.out.partition("Rules strict: ")[2].startswith("failed by max_drawdown")
    assert "Fewer than 10 days of trading" in done.out, "the breaker halted it within days"


def test_a_backtest_on_simulated_bars_says_so(mtquant, monkeypatch):
    law = partial(simulated_market, n_bars=2000)
    monkeypatch.setattr("mtquant.config.data.simulated_market", law)
    done = mtquant("backtest", "flat", "--env", "small.yaml")
    assert done.code == 0, done.err
    assert "Simulated market: these numbers say nothing about XAUUSD" in done.out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("smal",), "unknown bundle or agent 'smal'; did you mean 'small'?"),
        (("ema_cros",), "did you mean 'ema_cross'?"),
        (("ppo",), "has to learn first"),
        (("none.yaml",), "there is no agent file 'none.yaml'"),
        (("small.yaml",), "error: small.yaml: "),
        (("small", "--start", "2015-13-01"), "--start '2015-13-01' is no date"),
        (("small", "--end", "soon"), "--end 'soon' is no date"),
        (("small", "--start", "2030-01-01"), "no bars to trade on in that span"),
        (("small", "--start", "2015-05-01", "--end", "2015-04-01"), "must lie before --end"),
        (("small", "--clock", "utc"), "give the file with --data"),
        (("small", "--data", "none.csv"), "cannot read none.csv"),
        (("small", "--out", "small.yaml"), "small.yaml"),
        (("small", "--data-dir", "elsewhere"), "XAUUSD H1"),
        (("flat", "--env", "xauusd_h2"), "did you mean 'xauusd_h1'?"),
        (("ema_cross", "--env", "small.yaml"), "ema_gap_20_50"),
        (("small", "--rules", "two_step_statik"), "did you mean 'two_step_static'?"),
        (("small", "--rules", "none.yaml"), "there is no file of rules 'none.yaml'"),
        (("small", "--rules", "small.yaml"), "small.yaml: "),
        (("small", "--rules-paths", "10"), "name it with --rules"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_wrong_backtest_is_one_line(refused, models, words, told):
    assert told in refused("backtest", *words)


@pytest.mark.parametrize("paths", ["0", "1000001", "99999999999999"])
def test_paths_are_as_many_as_memory_holds(mtquant, paths):
    done = mtquant("backtest", "flat", "--rules", "two_step_static", "--rules-paths", paths)
    assert done.code == 2 and "Invalid value for '--rules-paths'" in done.err, done


@pytest.mark.parametrize("name", ["policy.onnx", "report.json", "report.html", "manifest.json"])
def test_a_bundle_with_a_changed_byte_is_one_line(refused, models, name):
    path = models / "small" / name
    content = bytearray(path.read_bytes())
    at = content.find(b'"seed": 0') + 8 if name == "manifest.json" else len(content) // 2
    content[at] ^= 1
    path.write_bytes(content)
    assert "changed after training" in refused("backtest", "small")


def test_a_bundle_of_another_schema_is_one_line(refused, models):
    path = models / "small" / "manifest.json"
    path.write_text(path.read_text().replace('"schema_version": 1', '"schema_version": 2'))
    assert "field 'schema_version' is 2, this mtquant reads 1" in refused("backtest", "small")
