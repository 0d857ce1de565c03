"""Features of other packages: found by entry point, checked, and held to their version."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mtquant.errors import ConfigError, DataError
from mtquant.features import cache
from mtquant.features.pipeline import FeaturePipeline, FittedPipeline
from mtquant.features.plugins import installed_plugins
from mtquant.features.registry import (
    FEATURES,
    all_kinds,
    build_features,
    find_kind,
    groups,
    make_feature,
)
from mtquant.market.panel import Panel

SOURCE = '''
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from pydantic.dataclasses import dataclass

from mtquant.features.base import PARAMETERS, Column, SymbolFeature


@dataclass(frozen=True, config=PARAMETERS)
class BarRange(SymbolFeature):
    """Range of the bar, so many times."""

    key: ClassVar[str] = "bar_range"
    group: ClassVar[str] = "acme"

    times: int = 1

    @property
    def columns(self):
        return (Column("acme_range", "range of the bar", low=0.0),)

    @property
    def lookback(self):
        return 1

    def on_bars(self, bars, params):
        return [self.times * (bars.high - bars.low)]


class Halfway(SymbolFeature):
    key = "halfway"
    group = "acme"


@dataclass(frozen=True, config=PARAMETERS)
class NoGroup(BarRange):
    key: ClassVar[str] = "no_group"
    group: ClassVar[int] = 3


class Plain(BarRange):
    key = "plain"


number = 3
'''
Install = Callable[..., Path]


@pytest.fixture(autouse=True)
def fresh():
    """Installed distributions are looked for once a process."""
    installed_plugins.cache_clear()
    yield
    installed_plugins.cache_clear()
    for name in [name for name in sys.modules if name.startswith("acme_")]:
        del sys.modules[name]


@pytest.fixture
def install(tmp_path, monkeypatch) -> Install:
    """Puts a distribution of one module on the path."""

    def make(
        dist="acme-features",
        version="1.2",
        source=SOURCE,
        key="bar_range",
        value="BarRange",
        module="acme_features",
    ) -> Path:
        root = tmp_path / f"{dist}-{version}"
        root.mkdir()
        (root / f"{module}.py").write_text(source, encoding="utf-8")
        info = root / f"{dist.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[mtquant.features]\n{key} = {module}:{value}\n")
        monkeypatch.syspath_prepend(str(root))
        installed_plugins.cache_clear()
        return root / f"{module}.py"

    return make


def refusal(name="bar_range") -> str:
    with pytest.raises(ConfigError) as caught:
        build_features([name])
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_plugin_is_a_feature_like_any_other(install, walk):
    install()
    assert [f.names for f in build_features(["rsi", "bar_range"])] == [("rsi_14",), ("acme_range",)]
    for name in ("acme_range", "acme", {"bar_range": {"times": 1}}):
        assert build_features([name])[0].key == "bar_range"
    bars = walk(300)
    pipeline = FeaturePipeline(["returns", {"bar_range": {"times": 2}}], ["XAUUSD"])
    raw = pipeline.fit(Panel([bars])).raw(Panel([bars]))
    np.testing.assert_array_equal(raw[60:, 4], (2 * (bars.high - bars.low))[60:])
    assert list(all_kinds()) == [*FEATURES, "bar_range"]


def test_nothing_is_imported_before_it_is_asked_for(install):
    module = install().stem
    build_features([*groups(), "minimal"])
    with pytest.raises(ConfigError, match="did you mean 'bar_range'"):
        find_kind("bar_rangee")
    assert module not in sys.modules
    build_features(["bar_range"])
    assert module in sys.modules


def test_its_parameters_are_checked(install):
    install()
    with pytest.raises(ConfigError, match="unknown parameter of feature 'bar_range' 'time'; did"):
        make_feature("bar_range", {"time": 3})
    with pytest.raises(ConfigError, match="parameter 'times' is 'x'"):
        make_feature("bar_range", {"times": "x"})


def test_a_builtin_feature_is_never_overridden(install):
    module = install(key="rsi").stem
    assert find_kind("rsi") is FEATURES["rsi"]
    assert build_features(["rsi_14"])[0].key == "rsi"
    with pytest.raises(ConfigError, match=r"acme-features==1\.2 offers a feature 'rsi'"):
        all_kinds()
    assert module not in sys.modules


@pytest.mark.parametrize(
    ("key", "fault"),
    [
        ("technical", "is a name of mtquant's own"),
        ("minimal", "is a name of mtquant's own"),
        ("Bar-Range", "is not made of small letters"),
    ],
)
def test_other_names_that_are_taken_or_malformed(install, key, fault):
    install(key=key)
    with pytest.raises(ConfigError, match=fault):
        all_kinds()


def test_two_packages_of_one_name(install):
    install()
    install(dist="other-features")
    said = refusal()
    assert "also offered by" in said and "acme-features" in said and "other-features" in said


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"source": "import no_such_module_anywhere"}, "cannot be imported (ModuleNotFoundError"),
        ({"source": "def broken(:\n"}, "cannot be imported (SyntaxError"),
        ({"source": "raise ValueError('two\\nlines')"}, "(ValueError: two lines)"),
        ({"value": "Nothing"}, "cannot be imported (AttributeError"),
        ({"value": "number"}, "is no class derived from"),
        ({"key": "halfway", "value": "Halfway"}, "does not define columns, lookback, on_bars"),
        ({"key": "other"}, "has the key 'bar_range'; give it the entry point's name"),
        ({"key": "no_group", "value": "NoGroup"}, "names no group"),
    ],
)
def test_a_broken_plugin_names_its_distribution(install, changes, fault):
    install(**changes)
    said = refusal(changes.get("key", "bar_range"))
    assert fault in said and "acme-features==1.2" in said
    with pytest.raises(ConfigError, match="acme-features"):
        all_kinds()
    assert build_features(["rsi"]), "the built-in features do not suffer"


@pytest.fixture
def stored(install, walk) -> tuple[Path, dict]:
    """A fitted pipeline with a plug-in's feature, as a manifest stores it."""
    path = install()
    fitted = FeaturePipeline(["rsi", "bar_range"], ["XAUUSD"]).fit(Panel([walk(600)]))
    record = json.loads(json.dumps(fitted.to_dict()))
    sys.modules.pop("acme_features")  # as in a later process
    return path, record


def test_the_manifest_names_the_distribution_and_gives_the_same_bits(stored, walk):
    _, record = stored
    assert "plugin" not in record["features"][0]
    assert record["features"][1]["plugin"] == "acme-features==1.2"
    again = FittedPipeline.from_dict(record)
    assert again.to_dict() == record
    bars = walk(600)
    np.testing.assert_array_equal(again.raw(Panel([bars]))[:, 1], bars.high - bars.low)


def test_a_missing_plugin_is_refused(stored, monkeypatch):
    path, record = stored
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p != str(path.parent)])
    installed_plugins.cache_clear()
    with pytest.raises(ConfigError, match=r"from the plug-in acme-features==1\.2 and no installed"):
        FittedPipeline.from_dict(record)


def test_another_version_or_distribution_is_refused(stored, monkeypatch, install):
    path, record = stored
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p != str(path.parent)])
    install(version="1.3")
    with pytest.raises(ConfigError, match=r"acme-features==1\.3 is installed; install it"):
        FittedPipeline.from_dict(record)


def test_other_code_of_the_same_version_is_refused(stored):
    path, record = stored
    path.write_text(path.read_text() + "\nchanged = True\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="is not the code that was trained with"):
        FittedPipeline.from_dict(record)


def test_a_record_that_hides_its_plugin_or_names_half_of_it(stored):
    _, record = stored
    for keys, error in ((("plugin", "plugin_code"), ConfigError), (("plugin_code",), DataError)):
        changed = json.loads(json.dumps(record))
        for key in keys:
            del changed["features"][1][key]
        with pytest.raises(error, match="plugin_code" if error is DataError else "unknown feature"):
            FittedPipeline.from_dict(changed)


def test_its_columns_are_kept_under_its_own_code(install, walk, tmp_path, monkeypatch):
    monkeypatch.setenv("MTQUANT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("MTQUANT_FEATURE_CACHE", raising=False)
    monkeypatch.setattr(cache, "WORTH_S", 0.0)
    panel = Panel([walk(cache.MIN_BARS)])
    install()
    feature = make_feature("bar_range")
    first = next(iter(cache.computed(panel, [feature], [{}])))
    assert next(iter(cache.computed(panel, [feature], [{}]))).tobytes() == first.tobytes()
    assert len(list((tmp_path / "cache" / "features").iterdir())) == 1
    sys.modules.pop("acme_features")
    doubled = SOURCE.replace("self.times *", "2 * self.times *")
    install(dist="acme-newer", source=doubled, key="unused")
    with pytest.raises(ConfigError, match="has the key"):
        make_feature("unused")
    again = make_feature("bar_range")
    assert type(again) is not type(feature)
    assert next(iter(cache.computed(panel, [again], [{}]))).tobytes() == (2 * first).tobytes()
    assert cache.feature_code(feature) is None, "another class of that name is installed now"
