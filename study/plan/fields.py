"""The fields of a component, which YAML can set, and what the component declares about them."""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, get_args, get_origin

from pydantic import ConfigDict, TypeAdapter, ValidationError

from study import registry
from study.errors import Problem, did_you_mean, shown
from study.plan.schema import ArmIn
from study.plan.space import FloatRange

_STRICT = ConfigDict(strict=True, allow_inf_nan=False)
_SCALARS = (bool, int, float, str, types.NoneType)
_KINDS = "bool, int, float, str, Literal[…], tuple[…] of these, or one of them | None"
_WORD = re.compile(r"[A-Za-z0-9_-]+")
_Good = Mapping[str, Any]  # names of fields whose types are right → types


def adapter(hint: Any, value: Any) -> TypeAdapter[Any]:
    """Validator of a field; `X | None` is X once something stands there, so that errors are about X alone."""
    kinds = [kind for kind in get_args(hint) if kind is not types.NoneType]
    is_optional = isinstance(hint, types.UnionType) and len(kinds) == 1
    return TypeAdapter(kinds[0] if is_optional and value is not None else hint, config=_STRICT)


def untyped(cls: type[Any]) -> Iterator[Problem]:
    """Settings without a type are no fields: no sweep file could set them, and no identity would hold them."""
    known = {name for other in cls.__mro__[1:] for name in (*vars(other), *inspect.get_annotations(other))}
    for name, value in vars(cls).items():
        is_setting = isinstance(value, (bool, int, float, str, tuple, list, dict)) and name not in known
        if is_setting and name not in inspect.get_annotations(cls) and name == name.lower() and name[0] != "_":
            kind = type(value).__name__
            advice = f"write {name}: {kind} = {shown(value)}, or {name}: ClassVar[{kind}] = … for what is no setting"
            yield Problem(name, f"{name} has no type, so it is no field; {advice}")


def field_problems(cls: type[Any], base: type[Any]) -> Iterator[Problem]:
    """Fields that YAML can set, and declarations about them."""
    if not dataclasses.is_dataclass(cls):
        return
    try:
        hints = typing.get_type_hints(cls)
    except Exception as error:  # noqa: BLE001 - annotations are anyone's code
        yield Problem("", f"the types of its fields cannot be read ({registry.told(error)})")
        return
    declared = {name for name, hint in inspect.get_annotations(base).items() if "ClassVar" in str(hint)}
    good = {}
    for field in dataclasses.fields(cls):
        problem = _wrong_field(field, hints[field.name], declared)
        if problem is None:
            good[field.name] = hints[field.name]
        else:
            yield Problem(field.name, problem)
    names = {field.name for field in dataclasses.fields(cls)}
    for kind, check in (("search_space", _wrong_range), ("components", _wrong_values), ("presets", _wrong_values)):
        yield from _declared(cls, kind, check, good, names)
    for name in getattr(cls, "reported_fields", ()):
        if name not in names:
            yield Problem(
                "reported_fields", f"reported_fields names {name!r}, which is no field.{did_you_mean(name, names)}"
            )
    if base is registry.base_of("criteria"):
        own = {field.alias or name for name, field in ArmIn.model_fields.items()}
        for name in sorted(names & own):
            yield Problem(name, f"{name} means something else in an arm of a sweep file; call the field otherwise")


def _wrong_field(field: dataclasses.Field[Any], hint: Any, declared: set[str]) -> str | None:
    name = field.name
    if name in declared:
        return f"{name} is no setting, but what the class declares; write {name}: ClassVar = …"
    if not _is_supported(hint):
        is_list = get_origin(hint) is list and all(map(_is_supported, get_args(hint)))
        use = f"tuple[{', '.join(map(_shown_type, get_args(hint)))}, ...]" if is_list else _KINDS
        return f"{name} has a type that YAML cannot give, {_shown_type(hint)}; use {use}"
    if not field.init:
        return f"{name} has init=False, so that no sweep file could set it; make it a property"
    default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    if default is dataclasses.MISSING:
        return None
    try:
        TypeAdapter(hint, config=_STRICT).validate_python(default)
    except ValidationError:
        return f"the default of {name} is {shown(default)}, which is no {_shown_type(hint)}; change one of them"
    return None


def _is_supported(hint: Any) -> bool:
    if hint in _SCALARS:
        return True
    kind, parts = get_origin(hint), get_args(hint)
    if kind is Literal:
        return all(type(part) in _SCALARS for part in parts)
    if kind is tuple:
        return all(_is_supported(part) for part in parts if part is not ...)
    return kind in (types.UnionType, typing.Union) and all(map(_is_supported, parts))


def _declared(
    cls: type[Any], kind: str, check: Callable[[str, Any, Mapping[str, Any]], str | None], good: Mapping[str, Any],
    names: set[str],
) -> Iterator[Problem]:  # fmt: skip
    """Problems of what a criterion declares about its fields; `good` are the types of those that are right."""
    given = getattr(cls, kind, {})
    if not isinstance(given, Mapping):
        yield Problem(kind, f"{kind} must be a mapping, but is {shown(given)}")
        return
    groups = {"": given} if check is _wrong_range else given
    for group, values in groups.items():
        where = f"{kind}[{group!r}]" if group else kind
        if group and not _WORD.fullmatch(group):
            yield Problem(kind, f"{where}: a name may hold letters, digits, _ and -")
        for name, value in values.items() if isinstance(values, Mapping) else ():
            if name not in names:
                yield Problem(kind, f"{where} names {name!r}, which is no field.{did_you_mean(name, names)}")
            elif name in good and (wrong := check(name, value, good)):
                yield Problem(kind, f"{where}: {wrong}")
        if not isinstance(values, Mapping):
            yield Problem(kind, f"{where} must map fields to values, but is {shown(values)}")


def _wrong_range(name: str, value: Any, good: Mapping[str, Any]) -> str | None:
    if float not in (good[name], *get_args(good[name])):
        return f"{name} is no float but {_shown_type(good[name])}; a search samples real numbers alone: leave it out"
    return None if isinstance(value, FloatRange) else f"{name} must have a FloatRange, but has {shown(value)}"


def _wrong_values(name: str, value: Any, good: Mapping[str, Any]) -> str | None:
    try:
        adapter(good[name], value).validate_python(value)
    except ValidationError:
        return f"{name} is {_shown_type(good[name])}, but the value is {shown(value)}"
    return None


def _shown_type(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) else str(hint).replace("typing.", "").replace("ellipsis", "…")
