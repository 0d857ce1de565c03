"""What all configuration models share: they cannot change, and refuse what they do not know."""

from __future__ import annotations

import math
import re
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
)

from mtquant.errors import shown

Fraction = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
# Of ticks, points or ATR: the product with a price must be a count that kernels can hold.
Multiple = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]

LARGEST = 2**63 - 1  # whole number, for kernels and files count in 64 bits
RESERVED = re.compile(r"CON|PRN|AUX|NUL|COM\d|LPT\d")  # devices of Windows


def folder_name(name: str) -> str:
    """``name``, if every system can store a folder of that name.

    Raises:
        ValueError: It cannot be one; says what can.
    """
    plain = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", name)
    if not plain or name.endswith(".") or RESERVED.fullmatch(name.split(".")[0].upper()):
        raise ValueError(
            f"name '{shown(name)}' must be 1 to 64 letters, digits, '.', '_' or '-', begin with a "
            "letter or digit, end with no dot and be no device of Windows"
        )
    return name


Name = Annotated[str, AfterValidator(folder_name)]


DEEPEST = 16


def plain(value: Any, depth: int = 0) -> Any:
    """``value``, if JSON can hold it: what a model keeps without knowing what it means.

    Raises:
        ValueError: It is or holds something else, or is nested too deeply.
    """
    if depth > DEEPEST:
        raise ValueError(f"lists and mappings are nested more than {DEEPEST} deep")
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise ValueError("a key must be a text; put it in quotes")
        for one in value.values():
            plain(one, depth + 1)
    elif isinstance(value, list | tuple):
        for one in value:
            plain(one, depth + 1)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is no number")
    elif not isinstance(value, str | int | float | None):
        raise ValueError(f"a {type(value).__name__} is neither text nor number, list nor mapping")
    return value


Plain = Annotated[Any, AfterValidator(plain)]


class Frozen(BaseModel):
    """A model that cannot change, refuses keys that it does not know, and takes no yes for a 1."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @field_validator("*", mode="before")
    @classmethod
    def _no_other_kind(cls, value: Any, info: ValidationInfo) -> Any:
        """A number in quotes, a yes for a 1 or a set for a list would pass, and mean another."""
        if fault := misfit(value, cls.model_fields[str(info.field_name)].annotation):
            raise ValueError(fault)
        return value


def misfit(value: Any, annotation: Any) -> str:
    """What pydantic would silently turn into another kind of value; empty if nothing."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return misfit(value, inner[0])
    if origin in (Union, UnionType):
        faults = [misfit(value, one) for one in inner if one is not NoneType]
        return "" if value is None or not all(faults) else faults[0]
    if origin in (tuple, list):
        if not isinstance(value, list | tuple):
            return "a list must stand here" if isinstance(value, set | frozenset) else ""
        kinds = inner if origin is tuple and inner[-1] is not ... else (inner[0],) * len(value)
        return next(filter(None, map(misfit, value, kinds)), "")
    if origin is dict and isinstance(value, dict):
        kinds = inner[1:] * len(value)
        return next(filter(None, map(misfit, value.values(), kinds)), "")
    return _misfit(value, annotation)


def _misfit(value: Any, kind: Any) -> str:
    if isinstance(value, bool) and kind not in (bool, Any):
        return "true or false stands where another kind of value must"
    if kind in (int, float) and not isinstance(value, int | float):
        return "a number must stand here, without quotes"
    if kind is int and isinstance(value, int) and abs(value) > LARGEST:
        return f"a whole number of at most {LARGEST:,} must stand here"
    if kind is bool and not isinstance(value, bool):
        return "true or false must stand here, without quotes"
    if kind is str and not isinstance(value, str):
        return "a text must stand here; put it in quotes"
    return "binary data stands where another kind of value must" if isinstance(value, bytes) else ""
