"""Durations, sizes and counts as a person reads them."""

from __future__ import annotations

import pytest

from study.amounts import count, duration, size


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"), (0.0004, "0.0004 s"), (1e-5, "1e-05 s"), (0.0234, "0.023 s"), (0.5, "0.5 s"), (1.96, "2 s"),
        (9.94, "9.9 s"), (9.96, "10 s"), (45.2, "45 s"), (89.4, "89 s"), (89.6, "90 s"), (90, "2 min"),
        (600, "10 min"), (5369, "89 min"), (5371, "1 h 30 min"), (11100, "3 h 05 min"), (359_000, "99 h 43 min"),
        (360_000, "100 h"), (44_442_000, "12,345 h"),
    ],
)  # fmt: skip
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("num_bytes", "text"),
    [
        (0, "0 bytes"), (512, "512 bytes"), (999, "999 bytes"), (1000, "1 kB"), (18_000, "18 kB"), (999_600, "1 MB"),
        (1_178_000, "1.2 MB"), (23_600_000, "24 MB"), (999_400_000, "999 MB"), (4.7e9, "4.7 GB"), (35.2e9, "35 GB"),
        (208.6e9, "209 GB"), (1.25e12, "1.2 TB"),
    ],
)  # fmt: skip
def test_sizes(num_bytes: float, text: str) -> None:
    assert size(num_bytes) == text


def test_nothing_small_is_shown_as_zero() -> None:
    for exponent in range(-8, 8):
        assert not duration(10.0**exponent).startswith("0 ") and not size(10.0 ** max(0, exponent)).startswith("0 ")


def test_counts() -> None:
    assert (count(1, "file"), count(0, "file"), count(1234, "file")) == ("1 file", "0 files", "1,234 files")
    assert count(2, "class", "classes") == "2 classes"
