"""Features of other packages, found by entry point.

An installed distribution names its feature classes in the entry-point group ``mtquant.features``
(name = key, value = the class). Nothing is imported before it is asked for, a built-in name is
never overridden, and no text of a user's or a bundle's is ever taken for a path to code.
"""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from mtquant.errors import ConfigError
from mtquant.features.base import BaseFeature

GROUP = "mtquant.features"


@dataclass(frozen=True)
class Plugin:
    """One feature that an installed distribution offers.

    Attributes:
        key: Name of the feature.
        distribution: Who offers it.
        version: Of the distribution.
        entry: Where its class is.
    """

    key: str
    distribution: str
    version: str
    entry: EntryPoint

    @property
    def label(self) -> str:
        """``distribution==version``, for manifests and sentences."""
        return f"{self.distribution}=={self.version}"

    def load(self) -> type[BaseFeature]:
        """Import the class and check that it is a feature.

        Raises:
            ConfigError: It cannot be imported, or is no feature of that key.
        """
        where = f"plug-in feature '{self.key}' of {self.label}"
        try:
            kind = self.entry.load()
        except Exception as problem:
            reason = " ".join(f"{type(problem).__name__}: {problem}".split())
            raise ConfigError(
                f"{where} cannot be imported ({reason}); repair or reinstall it, or remove it with "
                f"`pip uninstall {self.distribution}`"
            ) from problem
        if fault := _fault(kind, self.key):
            raise ConfigError(f"{where} cannot be used: {self.entry.value} {fault}")
        found: type[BaseFeature] = kind
        _sources_digest(found)  # now, while the files are those that were imported
        return found

    def code_digest(self) -> str:
        """Hash of the sources of the package that the class stands in; empty without sources."""
        return _sources_digest(self.load())

    def record(self) -> dict[str, str]:
        """What a manifest keeps of it."""
        return {"plugin": self.label, "plugin_code": self.code_digest()}


@cache
def installed_plugins(reserved: frozenset[str]) -> Mapping[str, Plugin]:
    """Plug-in features by key; none of them is imported.

    Args:
        reserved: Names that mtquant keeps for itself.

    Raises:
        ConfigError: A distribution claims a reserved or malformed name, or two claim the same.
    """
    found: dict[str, Plugin] = {}
    for entry in entry_points(group=GROUP):
        dist = entry.dist
        name, version = (dist.name, dist.version) if dist else ("an unknown distribution", "?")
        plugin = Plugin(entry.name, name, version, entry)
        _refuse_name(plugin, reserved, found)
        found[plugin.key] = plugin
    return {key: found[key] for key in sorted(found)}


def stored_plugin(record: Mapping[str, Any]) -> dict[str, str]:
    """The part of a feature's stored record that :meth:`Plugin.record` made; empty without one.

    Raises:
        KeyError: Half of it is missing.
    """
    if "plugin" not in record:
        return {}
    return {name: str(record[name]) for name in ("plugin", "plugin_code")}


def require_plugin(key: str, stored: Mapping[str, str], installed: Mapping[str, Plugin]) -> None:
    """Refuse a stored feature whose plug-in is not here exactly as it was.

    Args:
        key: Name of the feature.
        stored: What :meth:`Plugin.record` returned when it was stored.
        installed: See :func:`installed_plugins`.

    Raises:
        ConfigError: The plug-in is missing, of another version, or of other code.
    """
    label, here = stored["plugin"], installed.get(key)
    cure = f"install it with `pip install '{label}'`, or train again"
    if here is None or here.label != label:
        found = f"{here.label} is installed" if here else "no installed distribution offers it"
        raise ConfigError(f"feature '{key}' comes from the plug-in {label} and {found}; {cure}")
    if here.code_digest() != stored["plugin_code"]:
        raise ConfigError(
            f"feature '{key}' comes from the plug-in {label}, whose installed code is not the code "
            f"that was trained with; {cure}"
        )


@cache
def _sources_digest(kind: type[BaseFeature]) -> str:
    digest = hashlib.sha256()
    try:
        top = file = Path(inspect.getfile(kind))
        while (top.parent / "__init__.py").is_file():
            top = top.parent
        for path in sorted({file, *top.rglob("*.py")} if top.is_dir() else {file}):
            digest.update(path.relative_to(top.parent).as_posix().encode() + b"\0")
            digest.update(path.read_bytes().replace(b"\r\n", b"\n"))
    except (OSError, TypeError):
        return ""
    return digest.hexdigest()


def _refuse_name(plugin: Plugin, reserved: Collection[str], claimed: Mapping[str, Plugin]) -> None:
    if plugin.key in reserved:
        fault = "is a name of mtquant's own"
    elif not re.fullmatch(r"[a-z][a-z0-9_]*", plugin.key):
        fault = "is not made of small letters, digits and '_'"
    elif plugin.key in claimed:
        fault = f"is also offered by {claimed[plugin.key].label}"
    else:
        return
    raise ConfigError(
        f"the distribution {plugin.label} offers a feature '{plugin.key}', which {fault}; rename "
        f"it there, or remove it with `pip uninstall {plugin.distribution}`"
    )


def _fault(kind: object, key: str) -> str:
    """What keeps an object from being the feature class of that key; empty if nothing does."""
    if not (isinstance(kind, type) and issubclass(kind, BaseFeature)):
        return "is no class derived from mtquant.features.base.BaseFeature or SymbolFeature"
    if inspect.isabstract(kind):
        missing = ", ".join(sorted(kind.__abstractmethods__))
        return f"does not define {missing}"
    if not dataclasses.is_dataclass(kind):
        return "is no dataclass; its fields are its parameters"
    if getattr(kind, "key", None) != key:
        return f"has the key {getattr(kind, 'key', None)!r}; give it the entry point's name"
    if not isinstance(getattr(kind, "group", None), str):
        return "names no group"
    return ""
