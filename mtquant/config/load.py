"""Where configuration comes from, and what is said when it is wrong.

A file in the working directory wins over the one that ships with the package; ``Found.origin``
lets the console say which was taken.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import AliasChoices, BaseModel, ValidationError

from mtquant.config.schema import AgentConfig, EnvConfig
from mtquant.errors import ConfigError, MTQuantError, unknown
from mtquant.market.hours import TradingHours
from mtquant.market.symbols import SymbolSpec, SymbolTable

M = TypeVar("M", bound=BaseModel)

SYMBOLS = "configs/symbols.yaml"


@dataclass(frozen=True)
class Found:
    """A configuration file and where it lay.

    Attributes:
        path: The file.
        origin: ``working directory``, ``package`` or ``file``.
    """

    path: Path
    origin: str


def _roots() -> Iterator[tuple[Path, str]]:
    """Folders that may hold ``envs/`` and ``configs/``, nearest first."""
    package = Path(__file__).resolve().parent.parent
    yield Path.cwd(), "working directory"
    yield package / "shipped", "package"
    yield package.parent, "package"  # a source checkout carries them beside the package


def find(relative: str) -> Found | None:
    """The nearest file of that relative name, or None."""
    for root, origin in _roots():
        path = root / relative
        if path.is_file():
            return Found(path, origin)
    return None


def available(folder: str) -> list[str]:
    """Names (without ending) of the YAML files in ``folder``, over all roots."""
    return sorted({path.stem for root, _ in _roots() for path in (root / folder).glob("*.yaml")})


def read_yaml(path: Path) -> Any:
    """The content of a YAML file, without running anything.

    Raises:
        ConfigError: Not readable, or no YAML.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read '{path}': {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        raise ConfigError(
            f"'{path}'{line} is no valid YAML; check indentation and colons"
        ) from None


def validate(model: type[M], values: Any, where: str) -> M:
    """A model from parsed YAML.

    Raises:
        ConfigError: First thing wrong: key or value, place, and the nearest key that exists.
    """
    if not isinstance(values, dict):
        raise ConfigError(f"{where} must be a mapping of keys to values, found {values!r}")
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_explain(model, error, where)) from None


def _explain(model: type[BaseModel], error: ValidationError, where: str) -> str:
    errors = error.errors(include_url=False)
    first = next((e for e in errors if _misspelt(e, errors)), errors[0])
    place = [str(part) for part in first["loc"]]
    if first["type"] == "extra_forbidden":
        owner = _model_at(model, place[:-1])
        parent = f" under '{'.'.join(place[:-1])}'" if place[:-1] else ""
        return f"{where}: {unknown('key', place[-1], _written(owner))}{parent}"
    if first["type"] == "missing":
        return f"{where}: the key '{'.'.join(place)}' is missing"
    message = first["msg"].removeprefix("Value error, ")
    return f"{where}: {'.'.join(place) or 'values'} = {first['input']!r}: {message}"


def _misspelt(error: Mapping[str, Any], errors: Sequence[Mapping[str, Any]]) -> bool:
    """Whether an unknown key looks like one that is missing, and is therefore what is wrong."""
    missing = [str(e["loc"][-1]) for e in errors if e["type"] == "missing"]
    unknown_key = error["type"] == "extra_forbidden"
    return unknown_key and bool(difflib.get_close_matches(str(error["loc"][-1]), missing))


def _written(model: type[BaseModel]) -> list[str]:
    """Keys of a model as a file writes them."""
    names = []
    for name, field in model.model_fields.items():
        alias = field.validation_alias
        names.append(str(alias.choices[0]) if isinstance(alias, AliasChoices) else name)
    return names


def _model_at(model: type[BaseModel], place: list[str]) -> type[BaseModel]:
    for part in place:
        field = model.model_fields.get(part)
        if field is None:
            break
        kinds = get_args(field.annotation) or (field.annotation,)  # of ``X | None`` too
        for kind in kinds:
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                model = kind
    return model


def load_symbols() -> SymbolTable:
    """The symbols of the nearest ``configs/symbols.yaml``."""
    found = find(SYMBOLS)
    if found is None:
        raise ConfigError(f"no {SYMBOLS} here and none in the package; reinstall mtquant")
    listed = read_yaml(found.path)
    if not isinstance(listed, dict):
        raise ConfigError(f"'{found.path}' must map symbol names to their contract data")
    return SymbolTable(_symbol(str(name), values, found.path) for name, values in listed.items())


def _symbol(name: str, values: Any, path: Path) -> SymbolSpec:
    where = f"{path}: {name}"
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
        if not path.is_file():
            raise ConfigError(f"there is no {kind} file '{name}'")
        return Found(path, "file")
    if "/" in name or "\\" in name or name.startswith("."):
        raise ConfigError(f"'{name}' is neither the name of an {kind} nor a .yaml file")
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
