"""Moving results aside so that they are made anew: nothing is deleted, and what was moved is on record.

Accepting results of other code moves nothing, and is on record here, too.

::

    <study>/aside/0001.json     an `Aside`: what was moved, why, by whom, and what the runs had been worth
    <study>/aside/0001/…        the folders and files, under the names that they had in the home

The record is written before anything moves, and a move that was killed in the middle is finished by whoever comes next.
Whoever calls this holds the study's lease.
"""

from __future__ import annotations

import getpass
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from study.journal.files import create_once, read_json, write_json
from study.paths import StudyPaths

REDO, REPLACED, ACCEPTED = "redo", "plan replaced", "code change accepted"


@dataclass(frozen=True)
class Aside:
    """One occasion.

    Attributes:
        kind: `REDO`: the runs are to be made anew; `REPLACED`: another plan took the name of one that had trained
            nothing; `ACCEPTED`: results of other code were kept.
        t: when, seconds since the epoch.
        by: `user@host`.
        why: in the user's words, or "".
        what: what the user named, or which code had changed.
        runs: of every run that was moved, or lost an evaluation: `run_id`, `phase`, `arm`, `base_seed`,
            `continuation_seed`, `code` and `metrics` (`<split>/<evaluation>/<metric>` → value).
        moves: names relative to the home, of what is moved below the occasion's folder.
        is_done: all of them are there.
    """

    kind: str
    t: float
    by: str
    why: str
    what: str
    runs: tuple[Mapping[str, Any], ...] = ()
    moves: tuple[str, ...] = ()
    is_done: bool = field(default=False)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Aside:
        """What `asdict` has become on the way through JSON."""
        return cls(**{**data, "runs": tuple(data["runs"]), "moves": tuple(data["moves"])})


def occasions(study: StudyPaths) -> list[Aside]:
    """Return what is on record, the oldest first."""
    return [Aside.from_json(read_json(file)) for file in _records(study)]


def set_aside(
    study: StudyPaths, paths: Iterable[Path], *, kind: str, what: str, why: str = "",
    runs: Sequence[Mapping[str, Any]] = (),
) -> Path:  # fmt: skip
    """Move files and folders of a home aside, and keep a record of it; of `ACCEPTED` the record alone.

    Args:
        study: keeps them.
        paths: what to move, in the study's home; what is not there is left out.
        kind: see `Aside`.
        what: what the user named.
        why: the user's reason.
        runs: see `Aside`.

    Returns:
        The folder that they are in now.
    """
    moves = tuple(path.relative_to(study.root.parent).as_posix() for path in paths if path.exists())
    aside = Aside(kind, time.time(), f"{_user()}@{socket.gethostname()}", why, what, tuple(runs), moves)
    study.aside.mkdir(exist_ok=True)
    number = len(_records(study)) + 1
    while not create_once(study.aside / f"{number:04d}.json", asdict(aside)):
        number += 1
    finish_moves(study)
    return study.aside / f"{number:04d}"


def finish_moves(study: StudyPaths) -> None:
    """Finish what a kill has left half-moved."""
    for file in _records(study):
        aside = Aside.from_json(read_json(file))
        if aside.is_done:
            continue
        for name in aside.moves:
            source, target = study.root.parent / name, file.with_suffix("") / name
            if source.exists() and not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                source.rename(target)
        write_json(file, {**asdict(aside), "is_done": True})


def _records(study: StudyPaths) -> list[Path]:
    return sorted(study.aside.glob("[0-9]*.json"))


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # an id without a name, as in some containers
        return "?"
