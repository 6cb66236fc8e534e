"""What the file of a component looks like, made from the class that it extends."""

from __future__ import annotations

import inspect
from typing import Any


def example(base: type[Any], name: str) -> str:
    """Return a class called `name` that has all that `base` asks for, and nothing in it."""
    required = [attribute for attribute in inspect.get_annotations(base) if not hasattr(base, attribute)]
    lines = [
        "@dataclass(frozen=True)",
        f"class {name}({base.__name__}):",
        "    weight: float = 1.0  # a field: what a sweep file can set",
        *(f"    {attribute} = …" for attribute in required),
        *(f"    {signature(base, method)}" for method in sorted(base.__abstractmethods__)),
    ]
    return "\n".join(lines)


def signature(cls: type[Any], method: str) -> str:
    """Return the head of a method, e.g. `def compute(self, views: Views) -> CriterionResult: ...`."""
    return f"def {method}{str(inspect.signature(getattr(cls, method))).replace(chr(39), '')}: ..."
