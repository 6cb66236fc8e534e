"""Components by name: one file in a family's folder is one component, and its file name is its YAML name.

Listing a family imports nothing; loading a component imports its module alone.
"""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import Any

from study.errors import UserError, did_you_mean

FAMILIES = {
    "augmentations": "Augmentation",
    "backbones": "Backbone",
    "criteria": "Criterion",
    "datasets": "Dataset",
    "evaluations": "Evaluation",
    "methods": "Method",
    "pretrained": "Family",
}


def names(family: str) -> list[str]:
    """Names of all components of `family`: its files, without `base` and those that start with `_`."""
    folder = Path(__file__).parent / family
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
        TypeError: the file does not define exactly one component.
    """
    path_of(family, name)
    base = getattr(importlib.import_module(f"study.{family}.base"), FAMILIES[family])
    module = importlib.import_module(f"study.{family}.{name}")
    found = [
        cls
        for cls in vars(module).values()
        if inspect.isclass(cls) and issubclass(cls, base) and cls.__module__ == module.__name__
    ]
    if len(found) != 1:
        raise TypeError(f"{module.__name__} must define exactly one {base.__name__}, found {found}")
    return found[0]
