"""The real command on the tiny study, in a process that can be interrupted and killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from study.journal.files import read_json
from study.paths import AttemptPaths, HomePaths, RunPaths, StudyPaths
from tests.fakes.tiny_study import SWEEP, data_folder, events_of, is_running, wait_for

_TWO_EVALUATIONS = "evaluations: {linear_probe: {label_percent: [100]}, knn: {}}\nprimary: linear_probe/top1_mean\n"
_ONE_EVALUATION = "evaluations: {knn: {}}\nprimary: knn/top1\n"
ONE_EVALUATION = SWEEP.replace(_TWO_EVALUATIONS, _ONE_EVALUATION)
ONE_MORE_EVALUATION = SWEEP.replace(_TWO_EVALUATIONS, _TWO_EVALUATIONS.replace("linear_probe/top1_mean", "knn/top1"))
_ROOT = Path(__file__).parents[2]


class Command:
    """A started command; its output goes to a file, so that no pipe ties it to its children."""

    def __init__(self, arguments: Sequence[str | Path], log: Path, environment: dict[str, str]) -> None:
        self._log = log
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                [sys.executable, *map(str, arguments)],
                cwd=log.parent, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
                env={**os.environ, **environment}, start_new_session=True,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def output(self) -> str:
        return self._log.read_text(encoding="utf-8")

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def wait(self, timeout_s: float = 300) -> int:
        return self._process.wait(timeout_s)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal to this process alone."""
        os.kill(self.pid, number)

    def press_ctrl_c(self) -> None:
        """As a terminal does: every process of the foreground group gets the signal."""
        os.killpg(self.pid, signal.SIGINT)


@dataclass
class Sweep:
    """The tiny sweep file, with overrides, in a home."""

    folder: Path
    home_root: Path
    store: str
    overrides: Sequence[str] = ()
    text: str = ONE_EVALUATION
    options: Sequence[str] = ()
    checkout: Path = _ROOT
    _commands: list[Command] = field(default_factory=list)

    @property
    def home(self) -> HomePaths:
        return HomePaths(self.home_root)

    @property
    def study(self) -> StudyPaths:
        names = [o.removeprefix("study=") for o in self.overrides if o.startswith("study=")]
        return self.home.study(names[0] if names else "tiny")

    def arguments(self) -> list[str | Path]:
        """What the command line holds after `run_sweep.py`; writes the sweep file."""
        file = self.folder / "tiny.yaml"
        file.write_text(self.text, encoding="utf-8")
        return [file, *self.overrides, *self.options]

    def start(self, *options: str) -> Command:
        """Start `run_sweep.py` in the background."""
        return self._start([self.checkout / "study" / "run_sweep.py", *self.arguments(), *options])

    def manage(self, command: str, *options: str) -> Command:
        """Run `python -m study` to its end."""
        done = self._start(["-m", "study", command, self.study.root.name, *options])
        done.wait()
        return done

    @property
    def environment(self) -> dict[str, str]:
        """What a command of this sweep is told."""
        return {
            "PYTHONPATH": str(self.checkout),
            "MLFLOW_TRACKING_URI": self.store,
            "STUDY_DATA": str(data_folder()),
            "STUDY_HOME": str(self.home_root),
        }

    def _start(self, arguments: Sequence[str | Path]) -> Command:
        self._commands.append(
            Command(arguments, self.folder / f"{self.study.root.name}-{len(self._commands)}.txt", self.environment)
        )
        return self._commands[-1]

    def runs(self) -> list[RunPaths]:
        """Every base and run that has a spec."""
        bases = sorted(self.home.bases.iterdir()) if self.home.bases.is_dir() else []
        return [*map(RunPaths, bases), *self.study.existing_runs()]

    def attempts(self) -> list[AttemptPaths]:
        """Every attempt at any of them."""
        return [attempt for run in self.runs() for attempt in run.existing_attempts()]

    def wait_until_claimed(self, count: int) -> list[AttemptPaths]:
        """Wait until so many attempts have a process, which has not got far yet."""

        def claimed() -> list[AttemptPaths]:
            found = list(filter(self._runs, self.attempts()))
            return found if len(found) >= count else []

        found: list[AttemptPaths] = wait_for(claimed, f"{count} attempts with a process")
        return found

    def wait_until_training(self) -> AttemptPaths:
        """Wait until a run of the study is in the middle of its training."""

        def training() -> AttemptPaths | None:
            for run in self.study.existing_runs():
                for attempt in run.existing_attempts()[-1:]:
                    events = events_of(attempt)
                    if events and events[-1]["event"] == "step" and self._runs(attempt):
                        return attempt
            return None

        found: AttemptPaths = wait_for(training, "a run that trains")
        return found

    def wait_until_quiet(self) -> None:
        """Wait until no worker runs."""
        wait_for(lambda: not any(map(self._runs, self.attempts())), "the end of all workers")

    def clean_up(self) -> None:
        """Kill what still runs."""
        for command in self._commands:
            if command.is_running:
                command.kill()
                command.wait()
        for attempt in filter(self._runs, self.attempts()):
            os.kill(pid_of(attempt), signal.SIGKILL)

    @staticmethod
    def _runs(attempt: AttemptPaths) -> bool:
        return attempt.claim.exists() and is_running(pid_of(attempt))


def pid_of(attempt: AttemptPaths) -> int:
    """The process that claimed an attempt."""
    return int(read_json(attempt.claim)["pid"])
