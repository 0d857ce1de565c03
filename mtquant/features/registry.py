"""Features by name: what a YAML file may ask for, and what it then gets.

An entry of a selection is a group (``technical``), a feature (``rsi``), one column (``rsi_14``) or
a feature with parameters (``{"rsi": {"period": 7}}``), a preset among them
(``{"quantum_state": {"preset": "seed"}}``); code may also hand in a built one. Parameters are checked by the feature's own constructor, and a name that does not exist is answered
with the nearest that does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from pydantic import ValidationError

from mtquant.errors import ConfigError, unknown
from mtquant.features.base import BaseFeature, Feature, Picked
from mtquant.features.calendar import Hour, Session, Weekday
from mtquant.features.returns import EmaDistance, Returns
from mtquant.features.spread import SpreadRatio
from mtquant.features.technical import (
    Adx,
    Atr,
    BollingerPosition,
    EmaGap,
    InternalBarStrength,
    MacdHistogram,
    Rsi,
    StochasticK,
)
from mtquant.features.volatility import RealisedVolatility

#: One entry of a selection: a name, a feature's name with its parameters, or a built feature.
Entry: TypeAlias = str | Mapping[str, Mapping[str, Any] | None] | Feature

_KINDS: tuple[type[BaseFeature], ...] = (
    Returns,
    Rsi,
    MacdHistogram,
    BollingerPosition,
    Atr,
    EmaGap,
    Adx,
    StochasticK,
    InternalBarStrength,
    EmaDistance,
    RealisedVolatility,
    SpreadRatio,
    Hour,
    Weekday,
    Session,
)

#: Every feature by its name, in the order in which a group lists them.
FEATURES: Mapping[str, type[BaseFeature]] = {kind.key: kind for kind in _KINDS}

_ENTRY_CURE = "an entry is a name, or a name with parameters such as 'rsi: {period: 7}'"


@dataclass(frozen=True)
class _Wish:
    """One feature asked for: by name with its defaults, by columns of these, in full, or built."""

    key: str
    columns: tuple[str, ...] = ()
    params: Mapping[str, Any] | None = None
    built: Feature | None = None


def groups() -> dict[str, tuple[str, ...]]:
    """Names of the features in each group, in order."""
    found: dict[str, tuple[str, ...]] = {}
    for key, kind in FEATURES.items():
        found[kind.group] = (*found.get(kind.group, ()), key)
    return found


def make_feature(key: str, params: Mapping[str, Any] | None = None) -> Feature:
    """One feature from its name and parameters.

    Raises:
        ConfigError: No such feature or parameter (names the nearest), or a value out of range.
    """
    kind = FEATURES.get(key)
    if kind is None:
        raise ConfigError(unknown("feature", key, FEATURES))
    given = dict(params or {})
    preset = given.pop("preset", None)
    if preset is not None:
        if preset not in kind.presets:
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


def restore_feature(key: str, params: Mapping[str, Any], columns: Sequence[str]) -> Feature:
    """The feature that a manifest describes: its parameters, and its columns in use.

    Raises:
        ConfigError: The feature, a parameter or a column does not exist.
    """
    feature = make_feature(key, params)
    return feature if feature.names == tuple(columns) else Picked(feature, tuple(columns))


def build_features(selection: Sequence[Entry]) -> list[Feature]:
    """The features that a selection asks for.

    A name that is already covered adds nothing. Parameters take the place of the defaults which a
    group or a bare name brought in; the same feature twice with parameters stands twice.

    Args:
        selection: Groups, features, columns, features with parameters, and built features.

    Returns:
        In the order of the selection.

    Raises:
        ConfigError: A name, a parameter or a value is wrong, a column would stand twice, or
            nothing is selected.
    """
    wishes: list[_Wish] = []
    for entry in selection:
        if isinstance(entry, str):
            _wish_by_name(wishes, entry)
        elif isinstance(entry, Mapping):
            for key, params in entry.items():
                _wish_with_params(wishes, key, params)
        elif isinstance(entry, Feature):
            wishes.append(_Wish(entry.key, built=entry))
        else:
            raise ConfigError(f"the feature selection holds {entry!r}; {_ENTRY_CURE}")
    features = [_grant(wish) for wish in wishes]
    if not features:
        raise ConfigError(f"no features are selected; choose among {', '.join(groups())}")
    _refuse_twins(features)
    return features


def _wish_by_name(wishes: list[_Wish], name: str) -> None:
    if name in FEATURES or name in groups():
        for key in groups().get(name, (name,)):
            if not any(wish.key == key and not wish.columns for wish in wishes):
                wishes[:] = [wish for wish in wishes if wish.key != key]
                wishes.append(_Wish(key))
        return
    owner = next((k for k in FEATURES if name in make_feature(k).names), None)
    if owner is None:
        columns = {column for k in FEATURES for column in make_feature(k).names}
        raise ConfigError(unknown("feature", name, {*columns, *FEATURES, *groups()}))
    for i, wish in enumerate(wishes):
        if wish.key == owner:
            if wish.columns and name not in wish.columns:
                wishes[i] = _Wish(owner, (*wish.columns, name))
            return
    wishes.append(_Wish(owner, (name,)))


def _wish_with_params(wishes: list[_Wish], key: str, params: Mapping[str, Any] | None) -> None:
    if not isinstance(params, Mapping | None):
        raise ConfigError(f"feature '{key}' is given {params!r}; {_ENTRY_CURE}")
    if key not in FEATURES and key in groups():
        raise ConfigError(
            f"the group '{key}' takes no parameters; give them to one of its features: "
            f"{', '.join(groups()[key])}"
        )
    full = _Wish(key, params=params or {})
    for i, wish in enumerate(wishes):
        if wish.key == key and wish.params is None and wish.built is None:
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
    known = list(make_feature(kind.key).parameters())
    if first["type"] in {"unexpected_keyword_argument", "extra_forbidden"}:
        return unknown(f"parameter of {place}", str(first["loc"][0]), known)
    name = ".".join(str(part) for part in first["loc"])
    value = f" parameter '{name}' is {first['input']!r}:" if name else ""
    return f"{place}:{value} {first['msg'].removeprefix('Value error, ')}"
