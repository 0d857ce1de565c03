"""What all configuration models share: they cannot change, and refuse what they do not know."""

from __future__ import annotations

import re
from typing import Annotated, Any

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
Finite = Annotated[float, Field(allow_inf_nan=False)]

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


class Frozen(BaseModel):
    """A model that cannot change, refuses keys that it does not know, and takes no yes for a 1."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @field_validator("*", mode="before")
    @classmethod
    def _yes_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        annotation = cls.model_fields[str(info.field_name)].annotation
        values = value if isinstance(value, list | tuple) else [value]
        if annotation not in (bool, Any) and any(isinstance(one, bool) for one in values):
            raise ValueError("true or false stands where another kind of value must")
        return value
