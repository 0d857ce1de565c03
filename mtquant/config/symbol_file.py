"""Changes of ``configs/symbols.yaml`` that leave its comments and everything else as they stand."""

from __future__ import annotations

import io
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from ruamel.yaml import YAML

from mtquant.config.load import symbols_of
from mtquant.errors import ConfigError
from mtquant.market.configuration import parse_yaml
from mtquant.market.symbols import SymbolSpec

_WIDE = 10_000  # columns; no line is folded


def changed_symbols(text: str, specs: Mapping[str, SymbolSpec], where: str) -> str:
    """The file's text with the fields of some symbols changed.

    Args:
        text: As it is.
        specs: By standard name, what the file shall say; symbols must stand there already.
        where: Names the file in errors.

    Raises:
        ConfigError: A symbol does not stand there, or the changed text does not say what it should.
    """
    before = symbols_of(parse_yaml(text, where), where)
    round_trip = YAML(typ="rt", pure=True)
    round_trip.preserve_quotes = True
    round_trip.width = _WIDE
    # YAML 1.1 reads 1e-05 as text, and ruamel.yaml would leave the place of null empty.
    round_trip.representer.add_representer(float, _decimal)
    round_trip.representer.add_representer(type(None), _null)
    document = round_trip.load(text)
    for name, spec in specs.items():
        old = before[name]
        for field in type(spec).model_fields:
            value = getattr(spec, field)
            if value != getattr(old, field):
                document[name][field] = _plain(value)
    stream = io.StringIO()
    round_trip.dump(document, stream)
    changed = stream.getvalue()
    after = symbols_of(parse_yaml(changed, where), where)
    for name in before.names:
        if after[name] != specs.get(name, before[name]):
            raise ConfigError(f"{where} cannot be changed by program; edit {name} by hand")
    return changed


def _decimal(representer: Any, value: float) -> Any:
    text = format(Decimal(repr(value)), "f")
    return representer.represent_scalar("tag:yaml.org,2002:float", text)


def _null(representer: Any, value: None) -> Any:
    return representer.represent_scalar("tag:yaml.org,2002:null", "null")


def _plain(value: Any) -> Any:
    """Whole numbers without a decimal point, as people write them."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return int(value)
    return value
