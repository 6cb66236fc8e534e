"""The optimiser's moments by names of parameters: `torch.optim` stores them by position."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from study.errors import DataError
from study.pretrained._coverage import KeyMap
from study.pretrained._sections import renamed
from study.pretrained.base import Family

_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


def named_moments(
    content: Mapping[str, Any], family: type[Family], weights: Mapping[str, Tensor], keys: KeyMap, where: str
) -> dict[str, Any]:
    """Translate the optimiser's `state_dict`: position → name of a parameter in the network.

    Moments of parameters that the network does not have (folded biases) are left out, and so are settings that are no
    numbers. Shapes prove that names and positions belong together.

    Returns:
        `{"state": {name: {moment: tensor or number}}, "param_groups": [settings]}`.

    Raises:
        DataError: the file has no optimiser, or one that does not belong to its weights.
    """
    stored = content.get(family.optimizer or "")
    if not isinstance(stored, dict) or not {"state", "param_groups"} <= stored.keys():
        raise DataError(f"{where}: the file holds no optimiser state; write optimizer: reset")
    groups: list[dict[str, Any]] = stored["param_groups"]
    positions = [position for group in groups for position in group["params"]]
    names = _names(content, family, weights, len(positions), len(groups))
    if len(names) != len(positions):
        raise DataError(f"{where}: the optimiser has {len(positions)} parameters, the weights {len(names)}")
    state = {}
    for position, name in zip(positions, names, strict=True):
        moments = stored["state"].get(position, {})
        shape = weights[name].shape
        for key, value in moments.items():
            if isinstance(value, Tensor) and value.ndim and value.shape != shape:
                raise DataError(
                    f"{where}: the optimiser's {key} number {position} has shape {tuple(value.shape)}, "
                    f"but {name} has {tuple(shape)}"
                )
        if moments and name in keys.targets:
            state[keys.targets[name]] = {
                family.moments.get(key, key): value.detach().clone() if isinstance(value, Tensor) else value
                for key, value in moments.items()
                if isinstance(value, Tensor) or _is_plain(value)
            }
    settings = [{k: v for k, v in group.items() if k != "params" and _is_plain(v)} for group in groups]
    return {"state": state, "param_groups": settings}


def _names(
    content: Mapping[str, Any], family: type[Family], weights: Mapping[str, Tensor], expected: int, num_groups: int
) -> Sequence[str]:
    """Names of the parameters in the optimiser's order; a state dict has them in the model's."""
    prefix = next((s[family.trained] for s in family.sections if family.trained in s), "")
    section = content.get(family.trained, {})
    names = [prefix + renamed(key, family) for key in section if not key.endswith(_BUFFERS)]
    if len(names) != expected:
        names = [name for name in names if name.removeprefix(prefix) not in family.untrained]
    if family.sorts_vectors_last and num_groups > 1:
        names.sort(key=lambda name: weights[name].ndim == 1)
    return names


def _is_plain(value: object) -> bool:
    """Numbers, strings, nothing, and lists of such; not the functions of the authors' script."""
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)
