"""One file in a family's folder is one component, and its file name is its YAML name.

Listing a family imports nothing; loading a component imports its module alone. The files may be anyone's: whatever goes
wrong while one is imported is said with its file and line, and stops nothing that does not use it.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from study.errors import ComponentError, Problem, UserError, did_you_mean
from study.registry.families import FAMILIES
from study.registry.shape import example
from study.registry.trouble import import_problem

_STUDY = Path(__file__).parents[1]


def names(family: str) -> list[str]:
    """Names of all components of `family`: its files, without `base` and those that start with `_`."""
    folder = _STUDY / family
    return sorted(f.stem for f in folder.glob("*.py") if f.stem != "base" and not f.stem.startswith("_"))


def path_of(family: str, name: str) -> str:
    """Return the path of the file that defines a component, relative to `study/`.

    Raises:
        UserError: there is no such file; the message names the nearest one.
    """
    if name not in names(family):
        raise UserError(f"no {name!r} in study/{family}/.{did_you_mean(name, names(family))}")
    return f"{family}/{name}.py"


def component(family: str, name: str) -> type[Any]:
    """Return the component class that `study/<family>/<name>.py` defines.

    Raises:
        UserError: there is no such file; the message names the nearest one.
        ComponentError: the file cannot be imported, or does not define exactly one component.
    """
    path_of(family, name)
    base, module = base_of(family), _module(family, name)
    found = [
        cls
        for cls in vars(module).values()
        if inspect.isclass(cls) and issubclass(cls, base) and cls.__module__ == module.__name__
    ]
    if len(found) == 1:
        return found[0]
    if found:
        shown = ", ".join(f"{cls.__name__}{_line(cls)}" for cls in found)
        message = f"it defines {len(found)} components, {shown}; one file is one component: move the others"
    else:
        message = f"it defines no {base.__name__.lower()}"
    shape = "" if found or family == "pretrained" else example(base, "".join(map(str.capitalize, name.split("_"))))
    raise ComponentError(file_of(family, name), [Problem("", message)], shape)


def usable(family: str) -> Iterator[tuple[str, type[Any]]]:
    """Name and class of every component of a family that can be imported."""
    for name in names(family):
        try:
            yield name, component(family, name)
        except ComponentError:
            continue  # it concerns those who name it; `broken` says it


def broken() -> list[str]:
    """Import all components, and say which of them cannot be used, each in one line."""
    found = []
    for family in FAMILIES:
        for name in names(family):
            try:
                component(family, name)
            except ComponentError as error:
                found.append(f"{error.file} cannot be used; this study does not. {error.problems[0]}")
    return found


def base_of(family: str) -> type[Any]:
    """The class that all components of a family extend."""
    cls: type[Any] = getattr(importlib.import_module(f"study.{family}.base"), FAMILIES[family])
    return cls


def file_of(family: str, name: str) -> str:
    """The file of a component, relative to the checkout."""
    return f"study/{family}/{name}.py"


def _line(cls: type[Any]) -> str:
    try:
        return f" (line {inspect.getsourcelines(cls)[1]})"
    except OSError:  # a class that is written nowhere
        return ""


def _module(family: str, name: str) -> ModuleType:
    try:
        return importlib.import_module(f"study.{family}.{name}")
    except (Exception, SystemExit) as error:
        raise ComponentError(file_of(family, name), [import_problem(error, file_of(family, name))]) from error
