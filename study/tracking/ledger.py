"""What was published of each run, as far as a pass without news needs it; in memory while the files are the same."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import NamedTuple

from study.plan.model import SCHEMA_VERSION
from study.tracking.glance import glance_of_earlier_code, short_hash, version

_FILE = "published.json"
_RUN_ID = re.compile(r"(.+-)?[0-9a-f]{12}")


class Entry(NamedTuple):
    """What a run's published.json says; see `RunProgress`."""

    store: str
    home: str
    tracked_run: str
    parent: str
    seen: str
    sent: str

    def is_about(self, store: str, home: str) -> bool:
        """Whether this home published it to this store."""
        return self.store == store and self.home in ("", home)

    def has_news(self, root: str, seen: str) -> bool:
        """Whether the files of the run in `root`, which are now `seen`, are others than those that were published."""
        by_earlier_code = self.seen[:2] != seen[:2]
        return self.seen != (glance_of_earlier_code(root) if by_earlier_code else seen)


class Ledger:
    """Entries by the directory of the run."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, Entry]] = {}

    def entry(self, root: str) -> Entry | None:
        """What was published of the run in `root`; None when nothing is known."""
        file = f"{root}/{_FILE}"
        age = version(file)
        known = self._known.get(root)
        if known is not None and known[0] == age:
            return known[1]
        entry = None if age == "-" else _read(file)
        if entry is None:
            self._known.pop(root, None)
        else:
            self._known[root] = (age, entry)
        return entry


def state_of(entries: Mapping[str, Entry]) -> str:
    """Stands for all that was published of some runs, by directory; "" for none."""
    lines = sorted(f"{root.rpartition('/')[2]}:{entry.sent}" for root, entry in entries.items())
    return short_hash("\n".join(lines)) if lines else ""


def runs_in(folder: str) -> list[str]:
    """Directories of the runs in a folder, in alphabetical order; copies under other names are none."""
    try:
        return [f"{folder}/{name}" for name in sorted(os.listdir(folder)) if _RUN_ID.fullmatch(name)]  # noqa: PTH208
    except FileNotFoundError:
        return []


def _read(file: str) -> Entry | None:
    try:
        with open(file, "rb") as opened:  # noqa: PTH123 (thousands)
            content = json.loads(opened.read())
        if content["schema_version"] != SCHEMA_VERSION:
            return None
        return Entry(*(str(content.get(name, "")) for name in Entry._fields))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
