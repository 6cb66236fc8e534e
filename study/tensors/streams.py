"""Seeded random streams: every draw is a function of named keys, never of what was drawn before.

A resumed run draws what an uninterrupted one would have drawn, and arms with equal keys see equal data.
"""

from __future__ import annotations

import hashlib
import json

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
