"""Seeded random streams: every draw is a function of named keys, never of what was drawn before.

A resumed run draws what an uninterrupted one would have drawn, and arms with equal keys see equal data.

What is shipped draws from generators of its own. Code that draws from the global generators of Python, numpy or torch,
as much code around PIL does, becomes a function of keys as well where these are seeded before it is called.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache

import numpy as np
import torch


def stream_seed(*keys: int | str) -> int:
    """Hash keys to a seed: the first 63 bits of the sha256 of their JSON list.

    Order and type count: `(1, 23)`, `(12, 3)` and `("1", 23)` are three different streams.

    Args:
        keys: what the stream belongs to, e.g. `"order", seed, epoch`.

    Returns:
        A seed in [0, 2^63).

    Raises:
        TypeError: a key is neither an int nor a str.
    """
    for key in keys:
        if isinstance(key, bool) or not isinstance(key, (int, str)):
            raise TypeError(f"stream keys are int or str, but got {key!r} of type {type(key).__name__}")
    digest = hashlib.sha256(json.dumps(keys).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def stream(*keys: int | str) -> torch.Generator:
    """Return a fresh CPU generator that stands at the beginning of the stream of `keys`.

    Torch's CPU generator keeps the low 32 bits of a seed: among n streams, two coincide with probability
    about n² / 2^33.

    Args:
        keys: see `stream_seed`.
    """
    generator = torch.Generator(device="cpu")
    generator.manual_seed(stream_seed(*keys))
    return generator


def seed_global_generators(*keys: int | str) -> None:
    """Seed the global generators of Python, numpy and torch, on all devices.

    They belong to the process: where several threads draw from them, which thread gets which number is chance.

    Args:
        keys: see `stream_seed`. Torch's generator gets that seed, numpy's its low 32 bits.
    """
    seed = stream_seed(*keys)
    random.seed(seed)
    np.random.seed(seed & 0xFFFF_FFFF)  # noqa: NPY002 - the generator that others draw from
    if _has_accelerator():
        torch.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)  # all that the call above would do here, in a hundredth of its time


@cache
def _has_accelerator() -> bool:
    return torch.accelerator.is_available()


@contextmanager
def global_stream(*keys: int | str) -> Iterator[None]:
    """Inside, the global generators are seeded; afterwards, those of the CPU are as they were before."""
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=[]):
        seed_global_generators(*keys)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy)  # noqa: NPY002


def global_states() -> Mapping[str, object]:
    """Where the global generators stand, by name: two calls give equal values when nothing was drawn between them."""
    legacy = np.random.get_state(legacy=False)  # noqa: NPY002
    numbers = legacy["state"]
    states: dict[str, object] = {
        "Python's `random`": random.getstate(),
        "numpy's `np.random`": (numbers["key"].tobytes(), numbers["pos"], legacy["has_gauss"]),
        "torch's global generator": torch.get_rng_state().numpy().tobytes(),
    }
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        states["torch's generator of the GPU"] = torch.cuda.get_rng_state().numpy().tobytes()
    return states


def global_draws(before: Mapping[str, object]) -> list[str]:
    """The global generators from which something was drawn since `global_states` gave `before`."""
    return [name for name, state in global_states().items() if state != before.get(name, state)]
