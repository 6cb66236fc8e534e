"""The weights inside a file: the right part of its nesting, and keys without the wrappers' prefixes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from study.errors import DataError, shown
from study.pretrained.base import Family

_WRAPPER = "module."  # of DistributedDataParallel and DataParallel


def flatten(content: Mapping[str, Any], family: type[Family], where: str) -> dict[str, Tensor]:
    """All weights of a file by one flat set of keys, in the file's order: section prefix, then key without wrappers.

    Raises:
        DataError: the file is nested in another way, or holds something else than tensors where weights should be.
    """
    sections = next((s for s in family.sections if all(_holds_weights(_part(content, name)) for name in s)), None)
    if sections is None:
        ways = " or ".join(" and ".join(name or "the weights themselves" for name in s) for s in family.sections)
        raise DataError(f"{where}: expected {ways} in the outermost dict, but it holds {shown(list(content))}")
    weights: dict[str, Tensor] = {}
    for name, prefix in sections.items():
        for key, value in _part(content, name).items():
            flat = prefix + renamed(key, family)
            if not isinstance(value, Tensor):
                raise DataError(f"{where}: {key} is a {type(value).__name__}, not a tensor")
            if value.layout != torch.strided or value.is_meta or value.is_quantized or value.is_complex():
                raise DataError(f"{where}: {key} is a tensor, but not a dense one of real numbers")
            if flat in weights:
                raise DataError(f"{where}: {flat} stands there twice, with and without {_WRAPPER!r}")
            weights[flat] = value
    return weights


def renamed(key: str, family: type[Family]) -> str:
    """A key without the wrapper's prefix, by its newest name."""
    key = key.removeprefix(_WRAPPER)
    for old, new in family.renames.items():
        if key.startswith(old):
            return new + key.removeprefix(old)
    return key


def _part(content: Mapping[str, Any], name: str) -> Any:
    return content.get(name) if name else content


def _holds_weights(part: object) -> bool:
    """Whether this is a dict by names with at least one tensor."""
    is_dict = isinstance(part, dict) and all(isinstance(key, str) for key in part)
    return is_dict and any(isinstance(value, Tensor) for value in part.values())  # type: ignore[attr-defined]
