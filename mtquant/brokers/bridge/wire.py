"""How calls and answers look on the wire: strict JSON, and raw bytes for arrays. Never pickle.

Results of the module are struct sequences, which cannot be pickled; here they travel as the name of
their type, the names of their fields and their values, and become tuples with the same fields.
Floats keep every bit: Python writes and reads the shortest decimal that names the same double.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import lru_cache
from types import new_class
from typing import Any

import numpy as np

from mtquant.brokers.terminal.records import StructSequence

_MOST_FIELDS = 512
_FLOATS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


class WireError(Exception):
    """Bytes that are no call and no answer, or a value that cannot travel."""


def dump(value: object) -> bytes:
    """Compact JSON in ASCII, so that a lone surrogate in a comment survives."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")


def load(data: bytes) -> Any:
    """JSON without its traps.

    Raises:
        WireError: No JSON, a key given twice, NaN or Infinity, or nested without end.
    """
    try:
        return json.loads(data, parse_constant=_no_constant, object_pairs_hook=_once)
    except (ValueError, RecursionError) as problem:
        raise WireError(f"no JSON: {problem}") from None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number in JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is given twice")
    return found


def pack(value: Any) -> Any:
    """An answer of the module as JSON values.

    Raises:
        WireError: It is nothing that the module returns.
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, np.generic):
        return pack(value.item())
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"float": str(float(value))}
    if hasattr(value, "_asdict"):
        return _pack_structs([value]) | {"one": True}
    if isinstance(value, tuple):
        if value and len({type(item) for item in value}) == 1 and hasattr(value[0], "_asdict"):
            return _pack_structs(value)
        return {"tuple": [pack(item) for item in value]}
    raise WireError(f"a {type(value).__name__} cannot travel")


def _pack_structs(structs: Any) -> dict[str, Any]:
    return {
        "type": type(structs[0]).__name__,
        "names": list(structs[0]._asdict()),
        "rows": [[pack(item) for item in struct] for struct in structs],
    }


def unpack(value: Any) -> Any:
    """What :func:`pack` was given.

    Raises:
        WireError: It is nothing that :func:`pack` makes.
    """
    if not isinstance(value, dict):
        if isinstance(value, list):
            raise WireError("a bare list")
        return value
    try:
        if "float" in value:
            return _FLOATS[value["float"]]
        if "tuple" in value:
            return tuple(unpack(item) for item in value["tuple"])
        kind = struct_type(value["type"], tuple(value["names"]))
        structs = tuple(kind(map(unpack, row)) for row in value["rows"])
        if any(len(struct) != len(value["names"]) for struct in structs):
            raise WireError(f"a {value['type']} has another number of values than fields")
        return structs[0] if value.get("one") else structs
    except (KeyError, TypeError, IndexError, RecursionError) as problem:
        raise WireError(f"no answer: {problem!r}") from None


@lru_cache(64)
def struct_type(name: str, fields: tuple[str, ...]) -> type[StructSequence]:
    """The record of that name with these fields, made where a terminal has newer ones.

    Raises:
        WireError: A name is none of Python's, or stands twice.
    """
    for known in StructSequence.__subclasses__():
        if known.__name__ == name and tuple(known._blank) == fields:
            return known
    plain = all(
        isinstance(field, str) and field.isidentifier() and not field.startswith("_")
        for field in (name, *fields)
    )
    if not plain or len(set(fields)) != len(fields) or not 0 < len(fields) <= _MOST_FIELDS:
        raise WireError(f"no struct can be called {name!r} with fields {fields!r}")
    body = {"__slots__": (), "__doc__": "A result of the terminal."}
    chosen = {"fields": " ".join(fields)}
    return new_class(name, (StructSequence,), chosen, lambda space: space.update(body))


def array_facts(array: Any) -> dict[str, Any]:
    """Type and length of an array, from which :func:`read_array` makes it again.

    Raises:
        WireError: It is no flat record array of plain numbers.
    """
    if array.ndim != 1 or not array.dtype.names or array.dtype.hasobject:
        raise WireError(f"an array of {array.dtype} cannot travel")
    return {"dtype": _columns(array.dtype), "rows": len(array)}


def array_bytes(array: Any) -> bytes:
    """Its rows, little-endian and without gaps."""
    raw: bytes = array.astype([tuple(column) for column in _columns(array.dtype)]).tobytes()
    return raw


def _columns(dtype: np.dtype[Any]) -> list[list[str]]:
    little = dtype.newbyteorder("<")
    return [[name, little[name].str] for name in dtype.names or ()]


def read_array(facts: Any, raw: bytes) -> Any:
    """An array of its facts and bytes, which may be written to.

    Raises:
        WireError: They do not fit each other, or are no numbers.
    """
    try:
        dtype = np.dtype([(_word(name), _number(code)) for name, code in facts["dtype"]])
        rows = np.frombuffer(raw, dtype)
    except (KeyError, TypeError, ValueError) as problem:
        raise WireError(f"no array: {problem}") from None
    if len(rows) != facts.get("rows"):
        raise WireError(f"{len(rows)} rows came where {facts.get('rows')} were announced")
    return rows.copy()


def _word(name: Any) -> str:
    if not isinstance(name, str) or not name.isidentifier():
        raise ValueError(f"no column can be called {name!r}")
    return name


def _number(code: Any) -> str:
    if code not in ("<i8", "<u8", "<i4", "<u4", "<f8", "<f4", "<i2", "<u2", "|i1", "|u1"):
        raise ValueError(f"{code!r} is no type of numbers")
    return str(code)


def json_answer(answer: Any, error: tuple[int, str]) -> bytes:
    """The JSON body of an answer that is no array."""
    return dump({"answer": pack(answer), "last_error": [int(error[0]), str(error[1])]})


def read_error(value: Any) -> tuple[int, str]:
    """Code and text of ``last_error``.

    Raises:
        WireError: It is neither.
    """
    match value:
        case [int() as code, str() as text]:
            return code, text
    raise WireError(f"{value!r} is no last_error")


def read_answer(body: bytes) -> tuple[Any, tuple[int, str]]:
    """Answer and ``last_error`` of a JSON body.

    Raises:
        WireError: It is none.
    """
    found = load(body)
    if not isinstance(found, Mapping) or "answer" not in found:
        raise WireError("the body holds no answer")
    return unpack(found["answer"]), read_error(found.get("last_error"))
