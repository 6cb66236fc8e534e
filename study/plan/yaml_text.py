"""YAML as sweep files use it: safe tags only, duplicate keys refused, `1e-3` is a number."""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

import yaml

from study.errors import PlanError, Problem


class _Loader(yaml.SafeLoader):
    """SafeLoader that collects duplicate keys and reads YAML 1.2 floats."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.problems: list[Problem] = []

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: dict[Any, int] = {}
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            line = key_node.start_mark.line + 1
            if isinstance(key, Hashable) and key in seen:
                self.problems.append(
                    Problem(f"line {line}", f"{key!r} stands here again, first on line {seen[key]}; keep one")
                )
            elif isinstance(key, Hashable):
                seen[key] = line
        return super().construct_mapping(node, deep=deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d[\d_]*(\.[\d_]*)?|\.[\d_]+)[eE][-+]?\d+$"),
    list("-+0123456789."),
)


def parse(text: str, source: str) -> dict[str, Any]:
    """Parse a sweep or site file into a mapping.

    Raises:
        PlanError: not YAML, a tag that would run code, duplicate keys, empty, or not a mapping.
    """
    loader = _Loader(text)
    try:
        data = loader.get_single_data()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        what = getattr(error, "problem", None) or str(error)
        raise PlanError(source, [Problem(where, f"not readable as YAML: {what}")]) from None
    finally:
        loader.dispose()
    if loader.problems:
        raise PlanError(source, loader.problems)
    if not isinstance(data, dict):
        found = "empty" if data is None else f"a {type(data).__name__}"
        raise PlanError(source, [Problem("", f"must be a mapping of keys to values, but is {found}")])
    return data


def parse_scalar(text: str) -> Any:
    """Parse the value of a `key=value` override; ValueError when it is not YAML."""
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None
    finally:
        loader.dispose()
