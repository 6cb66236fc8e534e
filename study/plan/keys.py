"""Which keys the schema knows at a place of a sweep file."""

from __future__ import annotations

import types
import typing
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from study.plan.schema import BaseIn, ComponentIn, ImportedBaseIn, SweepIn


def kind_at(location: Sequence[Any]) -> Any:
    """The model or type that the schema has at a place; None where it has none."""
    kind: Any = SweepIn
    for part in location:
        kind = child(kind, part)
    return kind


def child(kind: Any, part: Any) -> Any:
    """What stands under `part` in a model, mapping or list; an index into anything else changes nothing."""
    if is_model(kind):
        named = {field.alias or name: field.annotation for name, field in kind.model_fields.items()}
        return _inner(named.get(part)) if isinstance(part, str) else kind
    if typing.get_origin(kind) is dict:
        return _inner(typing.get_args(kind)[1])
    return _inner(typing.get_args(kind)[0]) if typing.get_origin(kind) is list else None


def known_keys(kind: Any) -> list[str]:
    """Keys of a model; empty for mappings, whose keys are free."""
    kinds = (BaseIn, ImportedBaseIn) if kind is BaseIn else (kind,) if is_model(kind) else ()
    return list(dict.fromkeys(field.alias or name for k in kinds for name, field in k.model_fields.items()))


def takes_any_key(kind: Any) -> bool:
    """Whether keys are judged later, by the component they configure or the place of the file that they name."""
    if is_model(kind):
        return bool(kind.model_config.get("extra") == "allow")
    return maps_to_lists(kind) or (typing.get_origin(kind) is dict and typing.get_args(kind)[1] is Any)


def maps_to_lists(kind: Any) -> bool:
    """Whether keys name places of the file and values are lists, as in `blocks`."""
    return typing.get_origin(kind) is dict and typing.get_origin(typing.get_args(kind)[1]) is list


def default(kind: Any, key: Any) -> Any:
    """The component that the schema takes for a section which a file leaves out, as keys of a file; else None."""
    field = kind.model_fields.get(key) if is_model(kind) and isinstance(key, str) else None
    value = field.default if field is not None else None
    return {"name": value.name} if isinstance(value, ComponentIn) else None


def is_model(kind: Any) -> bool:
    """Whether a kind is one of the schema's models."""
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _inner(kind: Any) -> Any:
    """The model or container inside `X | None` and `Annotated[X, …]`."""
    if typing.get_origin(kind) is typing.Annotated:
        return _inner(typing.get_args(kind)[0])
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        options = [_inner(k) for k in typing.get_args(kind) if k is not types.NoneType]
        return next(filter(is_model, options), options[0])
    return kind
