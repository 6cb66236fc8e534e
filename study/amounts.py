"""Durations, sizes and counts in words, for everything that a person reads: no zero stands for "a little"."""

from __future__ import annotations

_SIZES = (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3))


def duration(seconds: float) -> str:
    """Seconds in words: `0.02 s`, `4.5 s`, `45 s`, `12 min`, `3 h 05 min`, `1,234 h`."""
    if seconds < 90:
        return f"{_short(seconds)} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    if minutes < 6000:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{seconds / 3600:,.0f} h"


def size(num_bytes: float) -> str:
    """Bytes in decimal units: `512 bytes`, `4.7 MB`, `35 GB`, `1.2 TB`."""
    for unit, amount in _SIZES:
        if num_bytes >= 0.9995 * amount:
            return f"{_short(num_bytes / amount)} {unit}"
    return f"{num_bytes:.0f} bytes"


def count(number: int, noun: str, plural: str | None = None) -> str:
    """`1 file`, `1,234 files`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def _short(value: float) -> str:
    """Two digits that mean something below ten, whole numbers above."""
    if value == 0:
        return "0"
    if value < 9.95:
        return f"{float(f'{value:.2g}'):g}" if value >= 1e-4 else f"{value:.0e}"
    return f"{value:,.0f}"
