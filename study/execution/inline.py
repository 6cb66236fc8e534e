"""Attempts run in the orchestrator's own process, one after the other: for tests and debuggers."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from study.execution.base import Executor
from study.journal.replay import AttemptState
from study.paths import AttemptPaths
from study.worker.process import ENTRY


class InlineExecutor(Executor):
    """Runs an attempt to its end inside `submit`."""

    name = "inline"
    slots = 1

    def __init__(self, entry: str = ENTRY) -> None:
        """`entry` is the module whose `run_attempt` executes an attempt."""
        self._entry = entry

    def submit(self, attempt: AttemptPaths) -> Mapping[str, Any]:
        """Execute the attempt now."""
        return {"exit_code": importlib.import_module(self._entry).run_attempt(str(attempt.root))}

    def is_alive(self, attempt: AttemptState) -> bool:  # noqa: ARG002 - the interface
        """Nothing runs between two submissions."""
        return False

    def stop(self, paths: AttemptPaths, attempt: AttemptState) -> bool:  # noqa: ARG002 - the interface
        """Nothing runs between two submissions."""
        return True

    def kill(self, attempt: AttemptState) -> None:
        """Nothing runs between two submissions."""

    def close(self) -> None:
        """Nothing is held."""
