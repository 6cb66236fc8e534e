"""What a worker has to say to its orchestrator, kept for as long as a full or broken disk takes nothing."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from study.journal.files import write_json
from study.journal.trouble import OF_A_DISK

_PATIENCE_S = 600.0
_AGAIN_AFTER_S = 1.0


class Messages:
    """Files that are written in their order.

    Attributes:
        waiting: file → content of those that could not be written yet.
    """

    def __init__(self) -> None:
        self.waiting: dict[Path, Mapping[str, Any]] = {}
        self._since = self._next = 0.0

    def say(self, file: Path, message: Mapping[str, Any]) -> None:
        """Write a message, or keep it."""
        if not self.waiting:
            self._since = time.monotonic()
        self.waiting[file] = message
        self.repeat()

    def repeat(self) -> None:
        """Try again to write what waits, if some time has passed."""
        if time.monotonic() < self._next:
            return
        for file, message in list(self.waiting.items()):
            try:
                write_json(file, message)
            except OSError as error:
                if error.errno not in OF_A_DISK:
                    raise
                self._next = time.monotonic() + _AGAIN_AFTER_S
                return
            del self.waiting[file]

    @property
    def may_arrive(self) -> bool:
        """Whether something waits for which somebody may yet make room: a worker that would leave stays for minutes."""
        return bool(self.waiting) and time.monotonic() - self._since < _PATIENCE_S
