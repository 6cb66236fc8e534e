"""Writing YAML that this framework and other readers read back equal: frozen files, and values inside of advice."""

from __future__ import annotations

from typing import Any

import yaml

from study.plan.yaml_text import is_text

_LONG = 1e9  # from here on `1.0e+9` reads better than zeros


class Dumper(yaml.SafeDumper):
    """Small lists and ranges on one line, tuples as lists; text that is a number to `yaml_text.parse` is quoted."""

    def ignore_aliases(self, _data: Any) -> bool:  # noqa: D102 - PyYAML's
        return True

    def represent_sequence(  # noqa: D102 - PyYAML's
        self,
        tag: str,
        sequence: Any,
        flow_style: bool | None = None,  # noqa: ARG002
    ) -> yaml.SequenceNode:
        return super().represent_sequence(tag, sequence, flow_style=True)

    def _text(self, data: str) -> yaml.ScalarNode:
        """`1e3` is a number here and text to PyYAML, which would not quote it."""
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=None if is_text(data) else "'")


Dumper.add_representer(tuple, yaml.SafeDumper.represent_list)
Dumper.add_representer(str, Dumper._text)


def typed(value: Any) -> str:
    """A value as it can be typed into a sweep file, on one line: `0.0003`, `[1, 2]`, `'1e3'`, `{low: 1, high: 10}`."""
    text: str = yaml.dump(
        _short(value), Dumper=Dumper, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**9
    )
    return text.removesuffix("\n").removesuffix("\n...")


def _short(value: Any) -> Any:
    """Numbers without a part behind the point as whole ones, which stand for real ones as well."""
    if isinstance(value, dict):
        return {key: _short(member) for key, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [_short(member) for member in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < _LONG else value
