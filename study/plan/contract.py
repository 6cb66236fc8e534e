"""What a component's class must be: a frozen dataclass whose fields YAML can set, with declarations that fit them.

Checked when a sweep file names the component, all problems of its file at once.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from study import registry
from study.errors import ComponentError, Problem, shown
from study.plan.fields import field_problems, untyped

_METRIC = re.compile(r"[A-Za-z0-9_.-]+")


def checked(family: str, name: str) -> type[Any]:
    """The class of a component, after checking that it is one.

    Raises:
        UserError: there is no such component.
        ComponentError: its file cannot be imported, or its class is no component; all problems at once.
    """
    cls = registry.component(family, name)
    problems = _problems(cls, registry.base_of(family)) if family != "pretrained" else ()  # type: ignore[arg-type]
    if problems:
        is_shapeless = any(not problem.path for problem in problems)
        shape = registry.example(registry.base_of(family), cls.__name__) if is_shapeless else ""
        raise ComponentError(registry.file_of(family, name), _placed(problems, cls), shape)
    return cls


def wrong_metrics(names: object) -> str | None:
    """What is wrong with the names of an evaluation's metrics, which become names in MLflow and columns; else None."""
    if not isinstance(names, tuple) or not names or not all(isinstance(name, str) for name in names):
        return f"metric_names() must return a tuple of names, e.g. ('top1',), but got {shown(names)}"
    wrong = [name for name in names if not _METRIC.fullmatch(name)]
    if wrong:
        return f"the name of a metric may hold letters, digits, _, - and ., but got {', '.join(map(repr, wrong))}"
    return None if len(set(names)) == len(names) else f"metric_names() has a name twice: {shown(names)}"


@cache
def _problems(cls: type[Any], base: type[Any]) -> tuple[Problem, ...]:
    """What is wrong with a class; the path of a problem is the member it is about, or ""."""
    if not dataclasses.is_dataclass(cls) or not cls.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        what = "a dataclass that is not frozen" if dataclasses.is_dataclass(cls) else "no dataclass"
        shape = [Problem("", f"class {cls.__name__} is {what}; write @dataclass(frozen=True) above it")]
    elif _own_settings(cls) and "__dataclass_fields__" not in vars(cls):
        shape = [Problem("", f"class {cls.__name__} adds fields; write @dataclass(frozen=True) above it")]
    else:
        shape = []
    return (*shape, *_lacking(cls, base), *untyped(cls), *field_problems(cls, base))


def _own_settings(cls: type[Any]) -> list[str]:
    """Names that the class itself annotates as fields."""
    return [name for name, hint in inspect.get_annotations(cls).items() if "ClassVar" not in str(hint)]


def _lacking(cls: type[Any], base: type[Any]) -> Iterator[Problem]:
    for name in sorted(getattr(cls, "__abstractmethods__", ())):
        yield Problem("", f"class {cls.__name__} has no method {name}; write {registry.signature(cls, name)}")
    fields = getattr(cls, "__dataclass_fields__", {})
    for name, hint in inspect.get_annotations(base).items():
        if not hasattr(cls, name) and name not in fields:
            yield Problem("", f"class {cls.__name__} has no {name}; write {name} = … ({hint})")


def _placed(problems: tuple[Problem, ...], cls: type[Any]) -> list[Problem]:
    """The problems by lines of the file in place of members."""
    source = Path(inspect.getfile(cls)).read_text(encoding="utf-8")
    classes = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.ClassDef) and n.name == cls.__name__]
    if not classes:  # made by a function
        return [Problem("", problem.message) for problem in problems]
    own, lines = classes[-1], dict[str, int]()
    for node in own.body:
        for target in [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", []):
            lines[getattr(target, "id", "")] = node.lineno
    lines[""] = own.lineno
    at = sorted(((lines.get(p.path, own.lineno), p.message) for p in problems), key=lambda pair: pair[0])
    return [Problem(f"line {line}", message) for line, message in at]
