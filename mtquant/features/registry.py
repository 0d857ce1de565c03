"""Features by name: what a YAML file may ask for, and what it then gets.

An entry of a selection is a named selection (``minimal``), a group (``technical``), a feature
(``rsi``), one column (``rsi_14``) or a feature with parameters (``{"rsi": {"period": 7}}``), a
preset among them (``{"quantum_state": {"preset": "seed"}}``); code may also hand in a built one.
Parameters are checked by the feature's own constructor, and a name that does not exist is answered
with the nearest that does. Installed plug-ins are asked only for names that are not built in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

from pydantic import ValidationError

from mtquant.errors import ConfigError, unknown
from mtquant.features.base import BaseFeature, Feature, Picked
from mtquant.features.builtin import FEATURES as FEATURES  # by this name for everybody else
from mtquant.features.plugins import Plugin, installed_plugins, require_plugin

#: One entry of a selection: a name, a feature's name with its parameters, or a built feature.
Entry: TypeAlias = str | Mapping[str, Mapping[str, Any] | None] | Feature

#: Named sets of entries. ``minimal`` is a handful of columns that most strategies ask for,
#: ``default`` what an env gets that names no features.
SELECTIONS: Mapping[str, tuple[Entry, ...]] = {
    # One indicator per category; its four-hour channel serves bars from M5 to H1.
    "minimal": (
        "ema_gap",
        "rsi",
        "atr",
        {"higher_channel": {"timeframe": "H4", "base": "M5", "counts": [1, 6]}},
    ),
    # By benchmarks/feature_worth.py: of regime and quantum only what pays its rent on real bars.
    "default": (
        "returns",
        "technical",
        "trend",
        "volatility",
        "spread",
        "hour",
        "weekday",
        "session",
        "market_distance",
        "quantum_variance",
    ),
}

_LIST = "(`mtquant features list` shows all)"
_ENTRY_CURE = "an entry is a name, or a name with parameters such as 'rsi: {period: 7}'"


@dataclass(frozen=True)
class _Wish:
    """One feature asked for: by name with its defaults, by columns of these, in full, or built."""

    key: str
    columns: tuple[str, ...] = ()
    params: Mapping[str, Any] | None = None
    built: Feature | None = None


def chapters(kinds: Mapping[str, type[BaseFeature]] = FEATURES) -> dict[str, tuple[str, ...]]:
    """Names of all features of each group, in order."""
    found: dict[str, tuple[str, ...]] = {}
    for key, kind in kinds.items():
        found[kind.group] = (*found.get(kind.group, ()), key)
    return found


def groups(kinds: Mapping[str, type[BaseFeature]] = FEATURES) -> dict[str, tuple[str, ...]]:
    """What the name of a group selects: its features that need no parameters, in order.

    A built-in group never grows by what happens to be installed.
    """
    able = {key: kind for key, kind in kinds.items() if not refusal(default_feature(kind))}
    return chapters(able)


def refusal(feature: Feature | None) -> str:
    """Why a feature cannot do without parameters; empty where it can."""
    if feature is None:
        return "it needs parameters"
    try:
        _ = feature.context
    except ConfigError as reason:
        return str(reason)
    return ""


def plugins() -> Mapping[str, Plugin]:
    """Features that other installed packages offer, by key; none is imported yet.

    Raises:
        ConfigError: A package claims a name of mtquant's own, or one that another claims too.
    """
    return installed_plugins(frozenset({*FEATURES, *chapters(), *SELECTIONS}))


def all_kinds() -> dict[str, type[BaseFeature]]:
    """Built-in features and those of every plug-in, by key.

    Raises:
        ConfigError: A plug-in is broken; names its distribution.
    """
    return {**FEATURES, **{key: plugin.load() for key, plugin in plugins().items()}}


def find_kind(key: str) -> type[BaseFeature]:
    """The class of a feature, built in or of a plug-in.

    Raises:
        ConfigError: There is none of that name; names the nearest.
    """
    if key in FEATURES:
        return FEATURES[key]
    if key in plugins():
        return plugins()[key].load()
    raise ConfigError(unknown("feature", key, [*FEATURES, *plugins()], cure=_LIST))


def default_feature(kind: type[BaseFeature]) -> Feature | None:
    """A feature without parameters; None where it cannot do without them."""
    try:
        return kind()
    except (TypeError, ValueError, ConfigError):
        return None


def make_feature(key: str, params: Mapping[str, Any] | None = None) -> Feature:
    """One feature from its name and parameters.

    Raises:
        ConfigError: No such feature or parameter (names the nearest), or a value out of range.
    """
    kind = find_kind(key)
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in dict(params or {}).items()}
    preset = given.pop("preset", None)
    if preset is not None:
        if not isinstance(preset, str) or preset not in kind.presets:
            raise ConfigError(
                unknown(f"preset of '{key}'", str(preset), kind.presets)
                if kind.presets
                else f"feature '{key}' has no presets, got '{preset}'; name its parameters instead"
            )
        given = {**kind.presets[preset], **given}
    try:
        return kind(**given)
    except ValidationError as problem:
        raise ConfigError(_explain(kind, problem)) from None
    except (TypeError, ValueError) as problem:
        raise ConfigError(f"feature '{key}': {problem}") from None


def plugin_record(key: str) -> dict[str, str]:
    """What a manifest keeps of a feature's plug-in; nothing for a built-in feature."""
    return {} if key in FEATURES or key not in plugins() else plugins()[key].record()


def restore_feature(
    key: str,
    params: Mapping[str, Any],
    columns: Sequence[str],
    plugin: Mapping[str, str] | None = None,
) -> Feature:
    """The feature that a manifest describes: its parameters, and its columns in use.

    Args:
        key: Name of the feature.
        params: Its parameters.
        columns: Those of its columns that are in use.
        plugin: What :func:`plugin_record` said of it; nothing for a built-in feature.

    Raises:
        ConfigError: The feature, a parameter or a column does not exist, or the plug-in is not
            the one of that time.
    """
    if plugin:
        require_plugin(key, plugin, plugins())
    elif key not in FEATURES:
        raise ConfigError(unknown("feature", key, FEATURES))
    feature = make_feature(key, params)
    return feature if feature.names == tuple(columns) else Picked(feature, tuple(columns))


def build_features(selection: Sequence[Entry]) -> list[Feature]:
    """The features that a selection asks for.

    A name that is already covered adds nothing. Parameters take the place of the defaults which a
    group or a bare name brought in; the same feature twice with parameters stands twice.

    Args:
        selection: Named selections, groups, features, columns, features with parameters, and
            built features.

    Returns:
        In the order of the selection.

    Raises:
        ConfigError: A name, a parameter or a value is wrong, a column would stand twice, or
            nothing is selected.
    """
    wishes: list[_Wish] = []
    for entry in selection:
        _wish(wishes, entry)
    features = [_grant(wish) for wish in wishes]
    if not features:
        raise ConfigError(f"no features are selected; choose among {', '.join(groups())}")
    _refuse_twins(features)
    return features


def _wish(wishes: list[_Wish], entry: Entry) -> None:
    if isinstance(entry, str) and entry in SELECTIONS:
        for part in SELECTIONS[entry]:
            _wish(wishes, part)
    elif isinstance(entry, str):
        _wish_by_name(wishes, entry)
    elif isinstance(entry, Mapping):
        for key, params in entry.items():
            _wish_with_params(wishes, key, params)
    elif isinstance(entry, Feature):
        wishes.append(_Wish(entry.key, built=entry))
    else:
        raise ConfigError(f"the feature selection holds {entry!r}; {_ENTRY_CURE}")


def _wish_by_name(wishes: list[_Wish], name: str) -> None:
    kinds = _kinds_that_know(name)
    if name in kinds or name in groups(kinds):
        for key in groups(kinds).get(name, (name,)):
            if not any(wish.key == key and not wish.columns for wish in wishes):
                wishes[:] = [wish for wish in wishes if wish.key != key]
                wishes.append(_Wish(key))
        return
    owner = _owner(name, kinds)
    if owner is None:
        columns = {column for kind in kinds.values() for column in _default_names(kind)}
        known = {*columns, *kinds, *groups(kinds), *SELECTIONS}
        raise ConfigError(unknown("feature", name, known, cure=_LIST))
    for i, wish in enumerate(wishes):
        if wish.key == owner and wish.columns:
            if name not in wish.columns:
                wishes[i] = _Wish(owner, (*wish.columns, name))
            return
        if wish.key == owner and name in _grant(wish).names:
            return
    wishes.append(_Wish(owner, (name,)))


def _kinds_that_know(name: str) -> Mapping[str, type[BaseFeature]]:
    """Where to look a name up: the built-in features, one plug-in, or all that is installed."""
    if name in FEATURES or name in groups() or _owner(name, FEATURES):
        return FEATURES
    return {name: find_kind(name)} if name in plugins() else all_kinds()


def _owner(column: str, kinds: Mapping[str, type[BaseFeature]]) -> str | None:
    return next((key for key, kind in kinds.items() if column in _default_names(kind)), None)


def _default_names(kind: type[BaseFeature]) -> tuple[str, ...]:
    feature = default_feature(kind)
    return () if feature is None else feature.names


def _wish_with_params(wishes: list[_Wish], key: str, params: Mapping[str, Any] | None) -> None:
    if not isinstance(params, Mapping | None):
        raise ConfigError(f"feature '{key}' is given {params!r}; {_ENTRY_CURE}")
    if key not in FEATURES and key in groups():
        raise ConfigError(
            f"the group '{key}' takes no parameters; give them to one of its features: "
            f"{', '.join(groups()[key])}"
        )
    if key in SELECTIONS:
        raise ConfigError(
            f"the selection '{key}' takes no parameters; give them to one of its features, in an "
            "entry of its own"
        )
    full = _Wish(key, params=params or {})
    for i, wish in enumerate(wishes):
        plain = wish.params is None and wish.built is None and not wish.columns
        if wish.key == key and plain:
            wishes[i] = full
            return
    wishes.append(full)


def _grant(wish: _Wish) -> Feature:
    feature = wish.built or make_feature(wish.key, wish.params)
    return Picked(feature, wish.columns) if wish.columns else feature


def _refuse_twins(features: Sequence[Feature]) -> None:
    owners: dict[str, str] = {}
    for feature in features:
        for name in feature.names:
            if name in owners:
                raise ConfigError(
                    f"column '{name}' is selected twice, by '{owners[name]}' and by "
                    f"'{feature.key}'; leave one of them out"
                )
            owners[name] = feature.key


def _explain(kind: type[BaseFeature], problem: ValidationError) -> str:
    """One sentence for the first thing that is wrong with a feature's parameters."""
    first = problem.errors()[0]
    place = f"feature '{kind.key}'"
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    if first["type"] in {"missing", "missing_argument", "missing_keyword_only_argument"}:
        missing = str(first["loc"][0])
        return f"{place} needs its parameter '{missing}'; write '{kind.key}: {{{missing}: ...}}'"
    if first["type"] in {"unexpected_keyword_argument", "extra_forbidden"}:
        return unknown(f"parameter of {place}", str(first["loc"][0]), known)
    name = ".".join(str(part) for part in first["loc"])
    value = f" parameter '{name}' is {first['input']!r}:" if name else ""
    return f"{place}:{value} {first['msg'].removeprefix('Value error, ')}"
