"""Components of a sweep file: names and fields checked against their dataclasses, defaults filled in."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, get_type_hints

from pydantic import ValidationError

from study import registry
from study.errors import ComponentError, Problem, StudyError, did_you_mean
from study.plan.contract import checked
from study.plan.fields import adapter
from study.plan.model import Component
from study.plan.wording import dotted, what_is_wrong

_T = TypeVar("_T")


def resolve(
    family: str, name: str, given: Mapping[str, Any], path: str, problems: list[Problem],
    *, name_path: str | None = None, other_keys: Sequence[str] = (),
) -> tuple[Component, Any] | None:  # fmt: skip
    """Return the component with all its fields and an instance of it, or None after adding to `problems`.

    Args:
        family: folder under `study/`.
        name: component name.
        given: the fields that the sweep file sets.
        path: where in the file the fields stand.
        problems: every problem found is appended here.
        name_path: where the name stands, when not at `path`.
        other_keys: what else may stand beside the fields; mentioned when a key is unknown.
    """
    known = registry.names(family)
    if name not in known:
        problems.append(Problem(name_path or path, f"no {name!r} in study/{family}/.{did_you_mean(name, known)}"))
        return None
    try:
        cls = checked(family, name)
    except ComponentError as error:
        _blame_file(error, name_path or path, problems)
        return None
    hints = get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls)}
    values, before = {}, len(problems)
    for key, value in given.items():
        if key not in fields:
            hint = did_you_mean(key, [*fields, *other_keys])
            problems.append(Problem(_join(path, key), f"{name} has no field {key!r}.{hint}"))
            continue
        try:
            values[key] = adapter(hints[key], value).validate_python(_tuples(value))
        except ValidationError as error:
            problems += _problems(_join(path, key), error)
    missing = [k for k, f in fields.items() if k not in given and _is_required(f)]
    problems += [Problem(path, f"{name} needs a value for {key!r}") for key in missing]
    if len(problems) > before:
        return None
    try:
        instance = asked(lambda: cls(**values), family, name)
    except ValueError as error:
        problems.append(Problem(path, str(error)))
        return None
    except ComponentError as error:
        _blame_file(error, path, problems)
        return None
    return Component(name, {key: _plain(getattr(instance, key)) for key in fields}), instance


def build(family: str, component: Component) -> Any:
    """Instantiate a resolved component (fields that went through JSON become tuples again).

    Raises:
        ValueError: it refuses its fields.
        UserError: there is no such component, or its file is wrong; see `ComponentError`.
    """
    cls = registry.component(family, component.name)
    return asked(lambda: cls(**{k: _tuples(v) for k, v in component.params.items()}), family, component.name)


def asked(answer: Callable[[], _T], family: str, name: str) -> _T:
    """What a component answers.

    Raises:
        ValueError: the component refuses a value.
        ComponentError: anything else went wrong in its file; names the line.
    """
    try:
        return answer()
    except (ValueError, StudyError):
        raise
    except Exception as error:
        place = registry.place_of(error)
        file = registry.file_of(family, name)
        message = f"{registry.told(error)}; to refuse a value, raise ValueError with what would be right"
        raise ComponentError(file, [Problem(place.removeprefix(file).removeprefix(", "), message)]) from error


def _blame_file(error: ComponentError, path: str, problems: list[Problem]) -> None:
    """A file is told about once, however many places name it."""
    message = str(error).replace("\n", "\n    ")
    if not any(message in problem.message for problem in problems):
        problems.append(Problem(path, message))


def _problems(path: str, error: ValidationError) -> list[Problem]:
    """One problem per place; where a field takes several kinds of values, one that names them all."""
    places: dict[str, list[str]] = {}
    for e in error.errors():
        place = path + dotted([part for part in e["loc"] if isinstance(part, int)])
        places.setdefault(place, []).append(what_is_wrong(e))
    return [Problem(place, _joined(messages)) for place, messages in places.items()]


def _joined(messages: Sequence[str]) -> str:
    """`must be A, but got X` and `must be B, but got X` as `must be A, or B, but got X`."""
    parts = [message.partition(", but ") for message in dict.fromkeys(messages)]
    kinds = [before.removeprefix("must be ") for before, _, _ in parts[1:]]
    return ", or ".join([parts[0][0], *kinds]) + "".join(parts[0][1:])


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    return [_plain(v) for v in value] if isinstance(value, tuple) else value


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
