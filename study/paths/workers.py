"""Files through which an orchestrator and worker allocations talk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class WorkerPaths:
    """Files of one worker: an allocation of a scheduler that executes one attempt after another."""

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

    def pool(self, name: str) -> PoolPaths:
        """The line that workers of that pool take from."""
        return PoolPaths(self.root.parent / f"pool-{name}")


@dataclass(frozen=True)
class PoolPaths:
    """A line of orders that all workers of a pool take from, whichever is free first.

    Orders are numbered from 1, so that all sides open the next one by its name: listings of folders on network file
    systems are old, and two writers never share a file. A hard link decides who takes an order.
    """

    root: Path

    @property
    def name(self) -> str:
        """What tells this pool from others."""
        return self.root.name.removeprefix("pool-")

    def worker(self, name: str) -> WorkerPaths:
        """A worker that takes from it, by the name of its folder."""
        return WorkerPaths(self.root.parent / name)

    def assigned(self, number: int) -> Path:
        """The orchestrator's message: execute this attempt."""
        return self.root / "assigned" / f"{number:04d}.json"

    def kill(self, number: int) -> Path:
        """The orchestrator's message: kill that attempt's process, which is hung."""
        return self.root / "kill" / f"{number:04d}"

    def taken(self, number: int) -> Path:
        """Names the worker that forks a process for it; or the orchestrator has taken the order back."""
        return self.all_taken / f"{number:04d}.json"

    def ended(self, number: int) -> Path:
        """The worker's answer: that process has ended, and how."""
        return self.all_ended / f"{number:04d}.json"

    @property
    def all_taken(self) -> Path:
        """Folder of the messages `taken`."""
        return self.root / "taken"

    @property
    def all_ended(self) -> Path:
        """Folder of the messages `ended`."""
        return self.root / "ended"

    @property
    def said(self) -> Path:
        """Folder of empty files `<worker>-started` and `<worker>-left`: signs that the worker's own files have news."""
        return self.root / "said"

    def make_folders(self) -> None:
        """Create the folders of all messages."""
        for folder in ("assigned", "kill", "taken", "ended", "said"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
