"""What tells without reading any file that there is news.

Below `pathlib`, whose objects cost more than asking the system: there are thousands of runs.
"""

# ruff: noqa: PTH116, PTH208

from __future__ import annotations

import hashlib
import os


def short_hash(text: str) -> str:
    """A hash that stands for a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def glance(root: str) -> str:
    """Text that changes whenever there is news of the run in a directory."""
    attempts = sorted((int(name), name) for name in _names(f"{root}/attempts") if name.isdigit())
    parts = ["2"]
    for number, name in attempts:
        sizes = (_size(f"{root}/attempts/{name}/{file}") for file in ("claim", "events.jsonl", "verdict.json"))
        parts.append(f"{number}:{':'.join(map(str, sizes))}")
    return " ".join([*parts, _age(f"{root}/trained.json"), _age(f"{root}/evaluations")])


def glance_of_earlier_code(root: str) -> str:
    """What `RunProgress.seen` is when earlier code wrote it."""
    attempts = sorted((int(name), name) for name in _names(f"{root}/attempts") if name.isdigit())
    folder = f"{root}/attempts"
    parts = [f"{n}:{_size(f'{folder}/{name}/claim')}:{_size(f'{folder}/{name}/events.jsonl')}" for n, name in attempts]
    trained = ["trained"] if _size(f"{root}/trained.json") >= 0 else []
    keys = sorted(name[:-5] for name in _names(f"{root}/evaluations") if name.endswith(".json") and name[0] != ".")
    return " ".join([*parts, *trained, *keys])


def version(path: str) -> str:
    """Text that changes when a file is replaced; "-" when it is missing."""
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return "-"
    return f"{found.st_ino}-{found.st_size}-{found.st_mtime_ns}"


def _age(path: str) -> str:
    """Size and time of a file, or of a folder; both survive that a home is moved."""
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return "-"
    return f"{found.st_size}-{found.st_mtime_ns}"


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return -1


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
