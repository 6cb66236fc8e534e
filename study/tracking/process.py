"""The publisher as a process beside the orchestrator: what it waits for never delays a run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType

from study.paths import HomePaths

_ROOT = Path(__file__).parents[2]


class PublisherProcess:
    """Publishes until its standard input closes, then once more: it ends by itself when the orchestrator is killed."""

    def __init__(self, home: HomePaths, study: str) -> None:
        """Start it; what it has to say goes to `<study>/publisher.log`."""
        command = [sys.executable, "-m", "study", "publish", study, "--home", str(home.root), "--follow"]
        path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
        with (home.study(study).root / "publisher.log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": path},
                start_new_session=True,  # Ctrl-C is for the orchestrator
            )

    def __enter__(self) -> PublisherProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close_input()

    def finish(self, timeout_s: float) -> bool:
        """Let it make its last pass; whether everything has arrived within `timeout_s`."""
        self._close_input()
        try:
            return self._process.wait(timeout=timeout_s) == 0
        except subprocess.TimeoutExpired:
            return False

    def _close_input(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
