"""G3, by brute force: every wrong file is refused in one sentence, and no value becomes another."""

from __future__ import annotations

import sys
from importlib import import_module
from itertools import islice
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from mtquant.config.load import load_agent, load_env, load_symbols, read_yaml
from mtquant.config.risk import load_risk
from mtquant.config.schema import EnvConfig
from mtquant.errors import ConfigError
from mtquant.market.model import folder_name
from mtquant.market.store import Store
from mtquant.market.symbols import SymbolSpec
from mtquant.market.timeframe import Timeframe

NO_NAMES = (
    *("../x", "..\\x", "/etc/passwd", "C:\\x", "a\0b", "CON", "nul.txt", "COM1", "\uff0e\uff0e/x"),
    *(
        "\u2024\u2024/x",
        "x" * 4096,
        "x.",
        "x ",
        " x",
        "",
        ".",
        "..",
        "a/b",
        "a\\b",
        "~",
        "a\nb",
        "\x1b",
    ),
)


def helper() -> ModuleType:
    """The mutations, which ``benchmarks/config_fuzz.py`` imports too."""
    folder = str(Path(__file__).parent)
    if folder not in sys.path:
        sys.path.append(folder)
    return import_module("mutations")


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(here: Path, seed: int, count: int) -> dict[str, int]:
    mutations = helper()
    verdicts = {"model": 0, "refused": 0}
    for number, case in enumerate(islice(mutations.cases(seed), count)):
        try:
            verdicts[mutations.verdict(case, here)] += 1
        except Exception as error:
            shown = case.text if len(case.text) < 5_000 else case.text[:5_000] + "..."
            pytest.fail(
                f"seed {seed}, case {number}: {error!r}\n{case.folder}/{case.name}\n{shown}"
            )
    assert not (here / "sprung").exists()
    return verdicts


def test_mutated_configuration(here):
    verdicts = run(here, seed=1, count=400)
    assert verdicts["model"] > 20 and verdicts["refused"] > 200


@pytest.mark.slow
def test_mutated_configuration_at_length(here):
    run(here, seed=2, count=6_000)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: &x [1]\nb: *x\n", r"line 2: '\*x' repeats a value; write it out"),
        ("a: 010\n", "line 1: a number is not written plainly"),
        ("a: 1:30\n", "line 1: a number is not written plainly"),
        ("a: 1\n'a': 2\n", "line 2: the key 'a' stands twice; keep one of them"),
        ("a: {b: 1, b: 2}\n", "line 1: the key 'b' stands twice"),
        ("a: " + "x" * 10_000_000, "is larger than"),
        ("a: \0\n", "no valid YAML"),
        ("a: !!python/name:os.system x\n", "line 1 is no valid YAML"),
    ],
)
def test_yaml_that_reads_otherwise_than_it_looks(here, text, said):
    (here / "mine.yaml").write_text(text)
    with pytest.raises(ConfigError, match=said) as caught:
        read_yaml(here / "mine.yaml")
    assert str(caught.value).isprintable() and len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"account": {"capital": "10000"}}, "account.capital = '10000': a number must stand here"),
        ({"account": {"money_digits": b"2"}}, "a number must stand here"),
        ({"episode": {"randomise": 1}}, "episode.randomise = 1: true or false must stand here"),
        ({"episode": {"randomise": "off"}}, "true or false must stand here"),
        ({"breaker": {"daily_loss": ["0.05", 0.1, 0.15]}}, "a number must stand here"),
        ({"symbols": {"XAUUSD"}}, "a list must stand here"),
        ({"symbols": [b"XAUUSD"]}, "a text must stand here"),
        ({"limits": {"max_lots": "1"}}, "limits.max_lots = '1': a number must stand here"),
        ({"limits": {"leverage": {"XAUUSD": True}}}, "true or false stands"),
        ({"features": [b"bytes"]}, "a text must stand here"),
        ({"stops": {"reentry_bars": 10**30}}, "a whole number of at most"),
        ({"features": [{"rsi": {"period": "14"}}]}, "rsi"),
        ({"features": [{"rsi": {"period": True}}]}, "rsi"),
    ],
)
def test_another_kind_of_value_is_never_taken_for_one(here, section, said):
    """Pydantic would turn them into numbers, flags and lists by itself."""
    from mtquant.features.pipeline import FeaturePipeline

    values = {"symbols": ["XAUUSD"], **section}
    (here / "mine.yaml").write_text(yaml.dump(values))
    with pytest.raises(ConfigError, match=said):
        env, _ = load_env("mine.yaml")
        FeaturePipeline(env.features, env.symbols)


@pytest.mark.parametrize("name", NO_NAMES)
@pytest.mark.parametrize("load", [load_env, load_agent, load_risk])
def test_a_name_that_is_none_is_one_sentence(here, load, name):
    for spelt in (name, f"{name}.yaml"):
        with pytest.raises(ConfigError) as caught:
            load(spelt)
        assert str(caught.value).isprintable() and len(str(caught.value)) < 700


@pytest.mark.parametrize("name", [*NO_NAMES, "XAUUSD.m", "US500#", "xauusd", "x\u0430u"])
def test_a_symbol_s_standard_name_is_a_plain_word(tmp_path, name):
    """G6: it names files of the store."""
    with pytest.raises(Exception, match=r"symbol|pattern|name"):
        Store(tmp_path).path(name, Timeframe.H1)
    listed = load_symbols()["XAUUSD"].model_dump()
    with pytest.raises(ValueError, match="name"):
        SymbolSpec.model_validate({**listed, "name": name})


@pytest.mark.parametrize("name", NO_NAMES)
def test_a_run_s_name_is_a_plain_word(name):
    with pytest.raises(ValueError, match="must be 1 to 64 letters"):
        folder_name(name)
    with pytest.raises(ValueError, match="name"):
        EnvConfig(name=name, symbols=("XAUUSD",))


@pytest.mark.parametrize("name", ["XAUUSD.m", "US500#", "#AAPL", "GOLD.pro", "[SP500]", "EURUSD_i"])
def test_what_brokers_call_a_symbol_is_taken(name):
    listed = load_symbols()["XAUUSD"].model_dump()
    spec = SymbolSpec.model_validate({**listed, "brokers": {"mine": name}})
    assert spec.brokers["mine"] == name


def test_the_mutations_would_notice(here, monkeypatch):
    """A reader that turns text into numbers does not pass."""
    mutations = helper()
    text = "symbols: [XAUUSD]\naccount: {capital: '5'}\n"
    case = mutations.Case("envs", "mine.yaml", text)
    lax = EnvConfig(name="mine", symbols=("XAUUSD",), account={"capital": 5})
    monkeypatch.setitem(mutations.SINGLE, "envs", lambda name: (lax, None))
    with pytest.raises(AssertionError):
        mutations.verdict(case, here)
