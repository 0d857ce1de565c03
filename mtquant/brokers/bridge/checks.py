"""What a call's body may be: one strict model per function, made from the whitelist.

A number with a decimal point is a float and one without is an int, as the module tells them apart;
nothing is converted, and a key that the function does not know is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    create_model,
    model_validator,
)

from mtquant.brokers.bridge.calls import (
    CALLS,
    KILL,
    LONGEST_GROUP,
    LONGEST_TEXT,
    MOST_ROWS,
    REQUEST_KEYS,
    Call,
    Kind,
)
from mtquant.brokers.bridge.wire import WireError, load

_MOST_FINDINGS, _LONGEST_PLACE = 3, 80
_PRINTED = "^[^\\x00-\\x1f]*$"  # the module is C: a NUL would end the text there
_SECONDS = 2**31  # the module's dates are whole seconds in 32 bits


class Refused(Exception):
    """A body is none that the function takes."""


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Past(_Body):
    """A span of dates, or a ticket, or a position; the module takes nothing else."""

    @model_validator(mode="after")
    def _one_way(self) -> _Past:
        given = self.model_fields_set - {"group"}
        if given not in ({"date_from", "date_to"}, {"ticket"}, {"position"}):
            raise ValueError("give date_from and date_to, or ticket, or position")
        return self


def _only_float(value: object) -> object:
    if not isinstance(value, float):
        raise ValueError("must be a float, written with a decimal point")
    return value


def _short(value: str) -> str:
    if len(value.encode("utf-16-le", "surrogatepass")) > 2 * LONGEST_TEXT:
        raise ValueError(f"is longer than {LONGEST_TEXT} characters")
    return value


_INTEGER = Annotated[int, Field(ge=-(2**63), lt=2**64)]
_TYPES: Mapping[Kind, Any] = {
    Kind.TEXT: Annotated[
        str, Field(max_length=LONGEST_TEXT, pattern=_PRINTED), AfterValidator(_short)
    ],
    Kind.GROUP: Annotated[str, Field(max_length=LONGEST_GROUP, pattern=_PRINTED)],
    Kind.INTEGER: _INTEGER,
    Kind.COUNT: Annotated[int, Field(ge=0, lt=2**64)],
    Kind.REAL: Annotated[float, Field(allow_inf_nan=False), BeforeValidator(_only_float)],
    Kind.DATE: Annotated[int, Field(ge=-_SECONDS, lt=_SECONDS)],
    Kind.FLAG: bool,
}
_ROWS = Annotated[int, Field(ge=0, le=MOST_ROWS)]

_KEYS: dict[str, Any] = {key: (_TYPES[kind], None) for key, kind in REQUEST_KEYS.items()}
_Request: type[BaseModel] = create_model("OrderRequest", __base__=_Body, **_KEYS)


def _model(name: str, call: Call) -> type[BaseModel]:
    fields: dict[str, Any] = {}
    for argument in call.arguments:
        kind = _Request if argument.kind is Kind.REQUEST else _TYPES[argument.kind]
        if argument.name == "count":
            kind = _ROWS
        fields[argument.name] = (kind, ... if argument.required else None)
    base = _Past if "position" in fields else _Body
    return create_model(f"{name}_arguments", __base__=base, **fields)


class _Kill(_Body):
    """What lets the switch fall."""

    form: Literal["reduce", "flatten", "hard"]
    reason: Annotated[str, Field(min_length=1, max_length=LONGEST_GROUP, pattern=_PRINTED)]


MODELS: Mapping[str, type[BaseModel]] = {
    **{name: _model(name, call) for name, call in CALLS.items()},
    KILL: _Kill,
}


def check(function: str, body: bytes) -> dict[str, Any]:
    """The arguments in a body, by name.

    Args:
        function: Of the whitelist, or ``kill``.
        body: Of the HTTP request; an empty one is no arguments.

    Raises:
        Refused: No strict JSON object, an unknown key, a wrong type or a value out of range.
    """
    try:
        found = load(body or b"{}")
        model = MODELS[function].model_validate(found)
    except WireError as problem:
        raise Refused(str(problem)) from None
    except ValidationError as problem:
        raise Refused(_told(problem)) from None
    return model.model_dump(exclude_unset=True)


def schema(function: str) -> dict[str, Any]:
    """JSON schema of a body, without references, for the OpenAPI document."""
    made = MODELS[function].model_json_schema()
    shared = made.pop("$defs", {})
    for name, part in shared.items():
        text = json.dumps(made).replace(json.dumps({"$ref": f"#/$defs/{name}"}), json.dumps(part))
        made = json.loads(text)
    plain: dict[str, Any] = _without_defaults(made)
    return plain


def _without_defaults(part: Any) -> Any:
    """A key that is left out is not sent as null, so no default may say so."""
    if isinstance(part, dict):
        return {key: _without_defaults(value) for key, value in part.items() if key != "default"}
    if isinstance(part, list):
        return [_without_defaults(item) for item in part]
    return part


def _told(problem: ValidationError) -> str:
    """Where and why, without the values: they may be anything."""
    found = problem.errors(include_url=False, include_input=False, include_context=False)
    return "; ".join(f"{_place(one['loc'])}: {one['msg']}" for one in found[:_MOST_FINDINGS])


def _place(path: tuple[int | str, ...]) -> str:
    """Of a finding; it may hold a key that somebody made up."""
    return ascii(".".join(map(str, path)) or "body")[1:-1][:_LONGEST_PLACE]
