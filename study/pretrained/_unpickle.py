"""Reading a pickled checkpoint without running anything that stands in it."""

from __future__ import annotations

import pickle
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from study.errors import DataError


class _Inert:
    """Takes any arguments and does nothing."""

    def __init__(self, *arguments: object) -> None:
        del arguments


def _placeholder(name: str) -> type:
    """An inert class by the full name of something that a file mentions.

    `pickle` stores a function as its name. torch's restricted unpickler refuses every name that it was not told; it
    is told those that a family declares, and finds such a class where the file mentions one.
    """
    module, _, own_name = name.rpartition(".")
    return type(own_name, (_Inert,), {"__module__": module})


def read_pickle(path: Path, inert: Sequence[str]) -> dict[str, Any]:
    """Read the outermost dict of a file that `torch.save` wrote, on the CPU.

    Args:
        path: the file, zipped or in the format before torch 1.6.
        inert: full names that may be mentioned, e.g. `__main__.exclude_bias_and_norm`.

    Raises:
        DataError: the file is no such file, truncated, holds something else than a dict, or wants to run something.
    """
    try:
        with torch.serialization.safe_globals([_placeholder(name) for name in inert]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise DataError(_refusal(path, str(error))) from None
    except Exception as error:  # the unpickler runs into anything when the bytes are not what they should be
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise DataError(f"{path}: damaged or truncated, or no checkpoint ({reason}); fetch it again") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: expected a dict of weights, but the file holds a {type(content).__name__}")
    return content


def _refusal(path: Path, message: str) -> str:
    """Which forbidden thing the file mentions, where torch's message says so."""
    found = re.search(r"GLOBAL (\w[\w.]*\.\w+)", message)
    if found:
        return (
            f"{path}: refused: the file wants to load {found.group(1)}, which is not a tensor; nothing of it was run. "
            "No published file does: check where it comes from, or fetch it again if it is truncated"
        )
    reason = re.search(r"Unsupported operand \d+|invalid load key[^\n]*", message)
    return f"{path}: damaged, or no checkpoint ({reason.group(0) if reason else message[:80]}); fetch it again"
