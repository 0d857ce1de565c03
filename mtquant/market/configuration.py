"""Configuration files: where they come from, and what is said when one is wrong.

A file in the working directory wins over the one that ships with the package; ``Found.origin``
lets the console say which was taken. Nothing in a file is ever run, a key that stands twice is
refused (YAML would silently take the later one), and so are keys that no model knows.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import AliasChoices, BaseModel, ValidationError

from mtquant.errors import ConfigError, one_line, shown, unknown

M = TypeVar("M", bound=BaseModel)

MOST_BYTES = 1_000_000
_MOST_LETTERS = 200  # of a wrong value
_MOST_NESTED = 32  # brackets; PyYAML's time grows with their square
# What a constructor of YAML scalars may raise besides its own error, ``!!int x`` among them.
_BROKEN = (ValueError, LookupError, AttributeError, TypeError, RecursionError)


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
        if is_file(path):
            return Found(path, origin)
    return None


def is_file(path: Path) -> bool:
    """Whether there is such a file; a name that no system can store names none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def available(folder: str) -> list[str]:
    """Names (without ending) of the YAML files in ``folder``, over all roots."""
    return sorted({path.stem for root, _ in _roots() for path in (root / folder).glob("*.yaml")})


class _Unclear(yaml.constructor.ConstructorError):
    """YAML that reads otherwise than it looks; ``problem`` says what and the cure."""


class _Loader(yaml.SafeLoader):
    """Plain values only, each written out once where it stands, and each key once.

    What YAML 1.1 reads otherwise than people do is refused: ``010`` is 8 there, ``1:30`` is 90. A
    dozen lines of aliases within aliases would stand for more values than a memory holds.
    """

    def fetch_flow_collection_start(self, token: type[yaml.Token]) -> None:
        if self.flow_level >= _MOST_NESTED:
            raise yaml.scanner.ScannerError(None, None, "nested too deeply", self.get_mark())
        super().fetch_flow_collection_start(token)

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.events.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise _Unclear(
                None, None, f"'*{event.anchor}' repeats a value; write it out", event.start_mark
            )
        node: yaml.Node | None = super().compose_node(parent, index)
        return node

    def construct_number(self, node: yaml.ScalarNode) -> int | float:
        text = str(node.value)
        if ":" in text or re.match(r"[-+]?0[0-9_]", text) or not isinstance(node.value, str):
            # What stands there is not repeated: it may be a secret.
            problem = "a number is not written plainly, as 010 and 1:30 are not; quote a text"
            raise _Unclear(None, None, problem, node.start_mark)
        whole = node.tag.endswith(":int")
        made: int | float = (self.construct_yaml_int if whole else self.construct_yaml_float)(node)
        return made

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[tuple[str, Any]] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and (key.tag, key.value) in seen:
                raise _Unclear(
                    None,
                    None,
                    f"the key '{shown(key.value)}' stands twice; keep one of them",
                    key.start_mark,
                )
            if isinstance(key, yaml.ScalarNode):
                seen.add((key.tag, key.value))
        made: dict[Any, Any] = super().construct_mapping(node, deep)
        return made


for _kind in ("int", "float"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _Loader.construct_number)


def read_yaml(path: Path) -> Any:
    """The content of a YAML file, without running anything.

    Raises:
        ConfigError: Not readable, too large, no YAML, or a key stands twice.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ConfigError(f"'{path}' is larger than {MOST_BYTES:,} bytes; it is no config")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read '{one_line(str(path))}': {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"'{path}' is no valid YAML; save it as UTF-8") from None
    return parse_yaml(text, f"'{path}'")


def parse_yaml(text: str, where: str) -> Any:
    """The content of YAML text; ``where`` names it in errors, which never show its values.

    Raises:
        ConfigError: No YAML, or a key stands twice.
    """
    try:
        loader = _Loader(text)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except (yaml.YAMLError, *_BROKEN) as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        if isinstance(error, _Unclear):
            raise ConfigError(f"{where}{line}: {one_line(str(error.problem))}") from None
        raise ConfigError(f"{where}{line} is no valid YAML; check indentation and colons") from None


def validate(model: type[M], values: Any, where: str) -> M:
    """A model from parsed YAML.

    A model whose ``hide_input_in_errors`` is set may hold secrets: its values are not shown.

    Raises:
        ConfigError: First thing wrong: key or value, place, and the nearest key that exists.
    """
    if not isinstance(values, dict):
        found = "" if _hides(model) else f", found {_short(values)}"
        raise ConfigError(f"{where} must be a mapping of keys to values{found}")
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
        parent = f" under '{shown('.'.join(place[:-1]))}'" if place[:-1] else ""
        return f"{where}: {unknown('key', place[-1], _written(owner))}{parent}"
    if first["type"] == "missing":
        return f"{where}: the key '{shown('.'.join(place))}' is missing"
    message = one_line(first["msg"].removeprefix("Value error, "))
    value = "" if _hides(model) else f" = {_short(first['input'])}"
    return f"{where}: {shown('.'.join(place)) or 'values'}{value}: {message}"


def _short(value: object) -> str:
    return one_line(repr(value), _MOST_LETTERS)


def _hides(model: type[BaseModel]) -> bool:
    return bool(model.model_config.get("hide_input_in_errors"))


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
