"""The lease of a study: one orchestrator at a time, and a dead one does not block its successor.

A lease on the same host is stale when its process is gone. On another host it is stale after three missed beats, or
when the user says so (`--take-over`). Looking and writing happen under a file lock, or a contender that looked long ago
would replace the lease of one that has just got it. The lock lasts for milliseconds and dies with its process.
"""

from __future__ import annotations

import fcntl
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any

from study.errors import LeaseHeldError
from study.journal.files import read_json_or_none, write_json
from study.journal.process import is_alive, is_on_this_host, this_process
from study.orchestration.typed import manage, same_command

BEAT_EVERY_S = 10.0
_MISSED_BEATS = 3


class Lease:
    """The right to orchestrate one study, held until `release`."""

    def __init__(self, path: Path, token: str, replaced: Mapping[str, Any] | None) -> None:
        self._path = path
        self._token = token
        self._beaten = time.monotonic()
        self._lost: LeaseHeldError | None = None
        self.replaced = replaced

    @classmethod
    def acquire(cls, path: Path, *, take_over: bool = False) -> Lease:
        """Take the lease, or say who holds it.

        Args:
            path: the lease file; its folder exists.
            take_over: take it from a holder on another host without waiting for missed beats.

        Raises:
            LeaseHeldError: somebody else holds it; names host, pid and last beat.
        """
        token = uuid.uuid4().hex
        content = {**this_process(), "token": token, "beat": time.time()}
        with _locked(path):
            holder = read_json_or_none(path)
            if holder is not None and not _is_stale(holder, take_over=take_over):
                raise LeaseHeldError(_refusal(path, holder))
            write_json(path, content)
        return cls(path, token, holder)

    def beat(self) -> None:
        """Renew the lease when it is time to.

        Raises:
            LeaseHeldError: another orchestrator has taken it over.
        """
        if self._lost is None and time.monotonic() - self._beaten >= BEAT_EVERY_S:
            self._beaten = time.monotonic()
            self._renew()
        if self._lost is not None:
            raise self._lost

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Renew it from a thread meanwhile: what an orchestrator does may take longer than a lease lasts."""
        over = Event()

        def keep() -> None:
            while self._lost is None and not over.wait(BEAT_EVERY_S / 2):
                with suppress(OSError):  # a file system in trouble; the next beat may succeed
                    self._renew()

        thread = Thread(target=keep, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _renew(self) -> None:
        with _locked(self._path):
            holder = read_json_or_none(self._path)
            if holder is None or holder.get("token") != self._token:
                message = f"another orchestrator took this study over: {describe(holder or {})}"
                self._lost = LeaseHeldError(message)
            else:
                write_json(self._path, {**holder, "beat": time.time()})

    def release(self) -> None:
        """Give the lease back, if it is still ours."""
        with _locked(self._path):
            holder = read_json_or_none(self._path)
            if holder is not None and holder.get("token") == self._token:
                self._path.unlink(missing_ok=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process at a time; where the file system has no locks, the token alone finds out that two collided."""
    with path.with_name(f"{path.name}.lock").open("a") as file:
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def holder_of(path: Path) -> Mapping[str, Any] | None:
    """Who holds a lease that is not stale."""
    holder = read_json_or_none(path)
    return None if holder is None or _is_stale(holder, take_over=False) else holder


def describe(holder: Mapping[str, Any]) -> str:
    """A holder in words: host, pid, age of the last beat."""
    age = time.time() - float(holder.get("beat", 0))
    return f"pid {holder.get('pid', '?')} on {holder.get('host', '?')}, last beat {age:.0f} s ago"


def _is_stale(holder: Mapping[str, Any], *, take_over: bool) -> bool:
    if is_on_this_host(holder):
        return not is_alive(holder)
    return take_over or time.time() - float(holder.get("beat", 0)) > _MISSED_BEATS * BEAT_EVERY_S


def _refusal(path: Path, holder: Mapping[str, Any]) -> str:
    study = path.parent
    if is_on_this_host(holder):
        advice = f"Stop it first: {manage('stop', study.name, study.parent)}"
    else:
        advice = f"Wait; or, if you know that it is dead: {same_command('--take-over')}"
    return f"{study} is orchestrated by {describe(holder)}. {advice}"
