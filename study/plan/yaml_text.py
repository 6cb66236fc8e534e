"""YAML as sweep files use it: plain values of YAML 1.2's core schema, so that nothing is converted silently.

`1e-3` is a number, `010` is ten, `no` and `2024-12-01` are text; keys are always text. Every tag that is not plain data
is refused, and so are a key that stands twice and an anchor that holds itself.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

import yaml

from study.errors import PlanError, Problem, shown

_PREFIX = "tag:yaml.org,2002:"
_NO_KEYS = tuple(_PREFIX + kind for kind in ("null", "bool", "int", "float"))


class _Loader(yaml.SafeLoader):
    """Reads plain values and collects duplicate keys."""

    yaml_implicit_resolvers: ClassVar[dict[Any, Any]] = {}  # type: ignore[misc]  # what the stub says
    yaml_constructors: ClassVar[dict[Any, Any]] = {
        _PREFIX + kind: yaml.SafeLoader.yaml_constructors[_PREFIX + kind]
        for kind in ("null", "bool", "float", "str", "seq", "map")
    }

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.problems: list[Problem] = []
        self.deep_construct = True  # an anchor that holds itself is noticed

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        first_lines: dict[tuple[str, str], int] = {}
        kept = []
        for key, value in node.value:
            if key.tag in _NO_KEYS:
                key.tag = f"{_PREFIX}str"  # a key is what is written: an arm `1e3` is not called 1000.0
            line, name = key.start_mark.line + 1, (key.tag, str(key.value))
            if name in first_lines:
                message = f"{key.value!r} stands here again, first on line {first_lines[name]}; keep one"
                self.problems.append(Problem(f"line {line}", message))
            else:
                first_lines[name] = line
                kept.append((key, value))
        node.value = kept
        return node

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Resolve `<<`: own keys go before merged ones, and earlier mappings of a list before later ones.

        Not left to PyYAML, whose 6.0.4 lets a mapping that is merged itself lose the keys that it overrides.
        """
        own: dict[tuple[str, str], tuple[yaml.Node, yaml.Node]] = {}
        merged: dict[tuple[str, str], tuple[yaml.Node, yaml.Node]] = {}
        for key, value in node.value:
            if key.tag != f"{_PREFIX}merge":
                own[key.tag, str(key.value)] = (key, value)
                continue
            for source in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                if not isinstance(source, yaml.MappingNode):
                    message = f"<< merges mappings, but got {shown(source.value)}"
                    raise yaml.constructor.ConstructorError(None, None, message, source.start_mark)
                self.flatten_mapping(source)
                for pair in source.value:
                    merged.setdefault((pair[0].tag, str(pair[0].value)), pair)
        node.value = list({**merged, **own}.values())

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, KeyError) as error:  # `!!int x`, `!!bool x`
            message = f"{shown(node.value)} is no {node.tag.removeprefix(_PREFIX)} ({shown(str(error))})"
            raise yaml.constructor.ConstructorError(None, None, message, node.start_mark) from None

    def _whole_number(self, node: yaml.ScalarNode) -> int:
        return int(node.value)

    def _refuse(self, node: yaml.Node) -> Any:
        tag = node.tag.replace(_PREFIX, "!!")
        message = f"the tag {tag} is refused: a sweep file holds plain values and runs no code; leave the tag out"
        raise yaml.constructor.ConstructorError(None, None, message, node.start_mark)


_Loader.add_constructor(f"{_PREFIX}int", _Loader._whole_number)
_Loader.add_constructor(None, _Loader._refuse)
_DIGITS = r"[0-9][0-9_]*"
_FLOAT = rf"[-+]?(\.{_DIGITS}|{_DIGITS}(\.[0-9_]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
for _kind, _pattern, _first in (
    ("null", "~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", "true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", rf"[-+]?{_DIGITS}", list("-+0123456789")),
    ("float", _FLOAT, list("-+0123456789.")),
    ("merge", "<<", ["<"]),
):
    _Loader.add_implicit_resolver(_PREFIX + _kind, re.compile(rf"^(?:{_pattern})$"), _first)


def parse(text: str, source: str, problems: list[Problem], *, example: str = "sweeps/ablation.yaml") -> dict[str, Any]:
    """Parse a sweep or site file into a mapping; a key that stands twice is a problem, and its first value counts.

    Raises:
        PlanError: not YAML, a tag that would run code, empty, or not a mapping: nothing more can be said about it.
    """
    try:
        data = _read(text, problems)
    except _UnreadableError as error:
        raise PlanError(source, [*problems, Problem(error.where, f"not readable as YAML: {error.what}")]) from None
    if not isinstance(data, dict):
        found = "is empty" if data is None else f"holds {shown(data)}"
        message = f"must be a mapping of keys to values, but {found}; see {example} for an example"
        raise PlanError(source, [*problems, Problem("", message)])
    return data


def parse_scalar(text: str) -> Any:
    """Parse the value of a `key=value` override; ValueError when it is not YAML or holds a key twice."""
    problems: list[Problem] = []
    value = _read(text, problems)
    if problems:
        raise ValueError(problems[0].message)
    return value


def is_text(scalar: str) -> bool:
    """Whether an unquoted scalar is text, and no number, constant or merge key."""
    return not any(pattern.match(scalar) for _, pattern in _Loader.yaml_implicit_resolvers.get(scalar[:1], []))


class _UnreadableError(ValueError):
    """Text that is not YAML; `where` may be empty."""

    def __init__(self, where: str, what: str) -> None:
        super().__init__(what)
        self.where, self.what = where, what


def _read(text: str, problems: list[Problem]) -> Any:
    try:
        loader = _Loader(text)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise _UnreadableError(f"line {line}", f"character {chr(error.character)!r} is not allowed in text") from None
    try:
        return loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise _UnreadableError(where, _what(error)) from None
    except RecursionError:
        raise _UnreadableError("", "it is nested too deeply") from None
    finally:
        problems += loader.problems
        loader.dispose()


def _what(error: yaml.MarkedYAMLError) -> str:
    what = ", ".join(filter(None, (error.context, error.problem)))
    return f"{what}; indent with spaces" if r"'\t'" in what else what
