"""Configuration by name: symbols, envs and agents from the nearest YAML file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mtquant.config.schema import AgentConfig, EnvConfig
from mtquant.errors import ConfigError, MTQuantError, one_line, shown, unknown
from mtquant.market.configuration import Found, available, find, is_file, read_yaml, validate
from mtquant.market.hours import TradingHours
from mtquant.market.symbols import SymbolSpec, SymbolTable

__all__ = [
    "SYMBOLS",
    "Found",
    "available",
    "env_of_symbol",
    "find",
    "load_agent",
    "load_env",
    "load_symbols",
    "read_yaml",
    "symbols_of",
    "validate",
]

SYMBOLS = "configs/symbols.yaml"


def load_symbols() -> SymbolTable:
    """The symbols of the nearest ``configs/symbols.yaml``."""
    found = find(SYMBOLS)
    if found is None:
        raise ConfigError(f"no {SYMBOLS} here and none in the package; reinstall mtquant")
    return symbols_of(read_yaml(found.path), str(found.path))


def symbols_of(listed: Any, where: str) -> SymbolTable:
    """The symbols of parsed YAML; ``where`` names its place in errors."""
    if not isinstance(listed, dict):
        raise ConfigError(f"'{where}' must map symbol names to their contract data")
    for name in listed:
        if not isinstance(name, str):
            raise ConfigError(f"{where}: the symbol {one_line(repr(name), 60)} must be a text")
    return SymbolTable(_symbol(name, values, where) for name, values in listed.items())


def _symbol(name: str, values: Any, path: str) -> SymbolSpec:
    where = f"{path}: {shown(name)}"
    named = {"name": name, **values} if isinstance(values, dict) else values
    spec = validate(SymbolSpec, named, where)
    try:
        TradingHours.of(spec)
    except MTQuantError as error:
        raise ConfigError(f"{where}: {error}") from None
    return spec


def load_env(name: str) -> tuple[EnvConfig, Found]:
    """The env called ``name``, or the one in the YAML file of that path.

    Raises:
        ConfigError: Unknown name (with the nearest), key or value.
    """
    found = _locate("env", name, "envs")
    values = read_yaml(found.path)
    if isinstance(values, dict):
        values = {"name": found.path.stem, **values}
    return validate(EnvConfig, values, str(found.path)), found


def load_agent(name: str) -> tuple[AgentConfig, Found]:
    """The agent called ``name``, or the one in the YAML file of that path."""
    found = _locate("agent", name, "configs/agents")
    return validate(AgentConfig, read_yaml(found.path), str(found.path)), found


def _locate(kind: str, name: str, folder: str) -> Found:
    if name.endswith((".yaml", ".yml")):
        path = Path(name)
        if not is_file(path):
            raise ConfigError(f"there is no {kind} file '{one_line(name)}'")
        return Found(path, "file")
    if "/" in name or "\\" in name or name.startswith("."):
        raise ConfigError(f"'{one_line(name)}' is neither the name of an {kind} nor a .yaml file")
    found = find(f"{folder}/{name}.yaml")
    if found is None:
        raise ConfigError(unknown(kind, name, available(folder)))
    return found


def env_of_symbol(symbol: str) -> tuple[EnvConfig, Found | None]:
    """The env that trades ``symbol`` alone; the schema's defaults on H1 where no file does."""
    for name in available("envs"):
        env, found = load_env(name)
        if env.symbols == (symbol,):
            return env, found
    return EnvConfig(name=f"{symbol.lower()}_h1", symbols=(symbol,)), None
