"""Files through which an orchestrator and a worker allocation talk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class WorkerPaths:
    """Mailbox of one worker: an allocation of a scheduler that executes one attempt after another.

    Messages are numbered from 1, so that both sides open the next one by its name: listings of folders on network
    file systems are old, and two writers never share a file.
    """

    root: Path

    @property
    def job(self) -> Path:
        """Intent and, once submitted, acknowledgement; written by the orchestrator."""
        return self.root / "job.json"

    @property
    def log(self) -> Path:
        """Folder of the scheduler's logs."""
        return self.root / "log"

    @property
    def stop(self) -> Path:
        """Asks the worker to take nothing more and to leave when what runs has ended."""
        return self.root / "stop"

    @property
    def started(self) -> Path:
        """Where and when the worker began, and for which time."""
        return self.root / "started.json"

    @property
    def beat(self) -> Path:
        """When the worker last said that it lives."""
        return self.root / "beat"

    @property
    def left(self) -> Path:
        """Written when the worker takes nothing more; says why."""
        return self.root / "left.json"

    def assigned(self, number: int) -> Path:
        """The orchestrator's message: execute this attempt."""
        return self.root / "assigned" / f"{number:04d}.json"

    def kill(self, number: int) -> Path:
        """The orchestrator's message: kill that attempt's process, which is hung."""
        return self.root / "kill" / f"{number:04d}"

    def taken(self, number: int) -> Path:
        """The worker's answer: a process for it has been forked."""
        return self.root / "taken" / f"{number:04d}.json"

    def ended(self, number: int) -> Path:
        """The worker's answer: that process has ended, and how."""
        return self.root / "ended" / f"{number:04d}.json"

    def make_folders(self) -> None:
        """Create the folders of all messages."""
        for folder in ("assigned", "kill", "taken", "ended", "log"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
