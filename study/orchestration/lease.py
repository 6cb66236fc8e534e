"""The lease of a study: one orchestrator at a time, and a dead one does not block its successor.

A lease on the same host is stale when its process is gone. On another host it is stale after three missed beats, or
when the user says so (`--take-over`). Stale leases are renamed away, which only one contender can do.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from study.errors import LeaseHeldError
from study.journal.files import create_once, read_json, read_json_or_none, write_json
from study.journal.process import is_alive, is_on_this_host, this_process

BEAT_EVERY_S = 10.0
_MISSED_BEATS = 3


class Lease:
    """The right to orchestrate one study, held until `release`."""

    def __init__(self, path: Path, token: str, replaced: Mapping[str, Any] | None) -> None:
        self._path = path
        self._token = token
        self._beaten = time.monotonic()
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
        replaced = None
        while not create_once(path, content):
            try:
                holder = read_json(path)
            except FileNotFoundError:
                continue
            if not _is_stale(holder, take_over=take_over):
                raise LeaseHeldError(_refusal(path, holder))
            aside = path.with_name(f"{path.name}.{token}")
            try:
                path.rename(aside)
            except FileNotFoundError:
                continue
            replaced = read_json_or_none(aside)
            aside.unlink()
        return cls(path, token, replaced)

    def beat(self) -> None:
        """Renew the lease when it is time to.

        Raises:
            LeaseHeldError: another orchestrator has taken it over.
        """
        if time.monotonic() - self._beaten < BEAT_EVERY_S:
            return
        self._beaten = time.monotonic()
        holder = read_json_or_none(self._path)
        if holder is None or holder.get("token") != self._token:
            raise LeaseHeldError(f"another orchestrator took this study over: {describe(holder or {})}")
        write_json(self._path, {**holder, "beat": time.time()})

    def release(self) -> None:
        """Give the lease back, if it is still ours."""
        holder = read_json_or_none(self._path)
        if holder is not None and holder.get("token") == self._token:
            self._path.unlink(missing_ok=True)


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
    advice = (
        "Stop it first: python -m study stop " + path.parent.name
        if is_on_this_host(holder)
        else "Wait, or start again with --take-over if you know that it is dead"
    )
    return f"{path.parent} is orchestrated by {describe(holder)}. {advice}"
