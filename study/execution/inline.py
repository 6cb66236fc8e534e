"""Attempts run in the orchestrator's own process, one after the other: for tests and debuggers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from study.execution.base import Executor
from study.journal.replay import AttemptState
from study.paths import AttemptPaths


class InlineExecutor(Executor):
    """Runs an attempt to its end inside `submit`."""

    name = "inline"
    slots = 1

    def submit(self, attempt: AttemptPaths) -> Mapping[str, Any]:
        """Execute the attempt now."""
        from study.worker.entry import run_attempt

        return {"exit_code": run_attempt(str(attempt.root))}

    def is_alive(self, attempt: AttemptState) -> bool:  # noqa: ARG002 - the interface
        """Nothing runs between two submissions."""
        return False

    def stop(self, attempt: AttemptState) -> None:
        """Nothing runs between two submissions."""

    def close(self) -> None:
        """Nothing is held."""
