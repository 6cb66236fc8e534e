from __future__ import annotations

import hashlib
import itertools
import random

import numpy as np
import pytest
import torch

from study.tensors.streams import (
    global_draws,
    global_states,
    global_stream,
    seed_global_generators,
    stream,
    stream_seed,
)


def test_seed_is_the_documented_hash() -> None:
    digest = hashlib.sha256(b'["order", 3, 0]').digest()
    assert stream_seed("order", 3, 0) == int.from_bytes(digest[:8], "big") // 2


def test_streams_never_change_between_versions() -> None:
    """Stored runs resume on these numbers."""
    assert stream_seed("augment", 1, 2, 3) == 3767193399193224317
    assert torch.randperm(10, generator=stream("order", 1, 2)).tolist() == [6, 3, 9, 5, 8, 1, 2, 7, 0, 4]


def test_equal_keys_give_equal_draws_and_no_global_state_is_touched() -> None:
    before = torch.get_rng_state()
    first, second = (torch.rand(5, generator=stream("x", 1)) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(before, torch.get_rng_state())


DRAWS = {
    "Python's `random`": (random.random, lambda: random.gauss(0, 1)),
    "numpy's `np.random`": (np.random.rand, np.random.randn),
    "torch's global generator": (lambda: torch.rand(1), lambda: torch.randperm(3)),
}


@pytest.mark.parametrize("name", DRAWS)
def test_global_generators_begin_streams_and_tell_of_draws(name: str) -> None:
    for draw in DRAWS[name]:
        seed_global_generators("x", 1)
        before = global_states()
        assert global_draws(before) == []
        first = draw()
        assert global_draws(before) == [name]
        draw()
        seed_global_generators("x", 1)
        assert global_draws(before) == []
        assert np.array_equal(draw(), first)
        seed_global_generators("x", 2)
        assert not np.array_equal(draw(), first)


def test_torchs_generator_has_the_seed_of_the_stream() -> None:
    """Criteria draw from streams of it."""
    seed_global_generators("x", 1)
    assert torch.initial_seed() == stream_seed("x", 1)
    expected = torch.rand(5)
    torch.manual_seed(stream_seed("x", 1))
    assert torch.equal(torch.rand(5), expected)


def test_a_global_stream_leaves_the_generators_as_they_were() -> None:
    before = global_states()
    with global_stream("x", 1):
        seen = [np.asarray(draw()) for draws in DRAWS.values() for draw in draws]
    assert global_draws(before) == []
    with global_stream("x", 1):
        again = [np.asarray(draw()) for draws in DRAWS.values() for draw in draws]
    assert all(map(np.array_equal, seen, again))
    with pytest.raises(KeyError), global_stream("x", 1):
        raise KeyError(random.random())
    assert global_draws(before) == []


def test_order_type_and_boundaries_of_keys_count() -> None:
    keys: list[tuple[int | str, ...]] = [
        (),
        (1,),
        ("1",),
        (1, 23),
        (12, 3),
        (123,),
        ("a", "b"),
        ("b", "a"),
        ("ab",),
    ]
    seeds = [stream_seed(*key) for key in keys]
    assert all(a != b for a, b in itertools.combinations(seeds, 2))
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_neighbouring_streams_are_uncorrelated() -> None:
    draws = torch.stack([torch.randn(1000, generator=stream("seed", i)) for i in range(20)])
    off_diagonal = torch.corrcoef(draws) - torch.eye(20)
    assert off_diagonal.abs().max() < 0.15


@pytest.mark.parametrize("key", [1.0, True, None, (1, 2)])
def test_other_keys_are_refused(key: object) -> None:
    with pytest.raises(TypeError, match="stream keys are int or str, but got"):
        stream_seed("a", key)  # type: ignore[arg-type]
