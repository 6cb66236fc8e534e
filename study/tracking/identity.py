"""Whose is what is published: an identity for each home, and one for each folder of a study.

The identity of a home is a random number in a file, which stays when the home is moved or mounted elsewhere. A copy of
a home has a copy of the file: it gets an identity of its own as soon as it sees the original. Where it cannot, because
both lie on different machines, the one that finds the other's marks in the store takes a new identity.
"""

from __future__ import annotations

import socket
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from study.errors import JournalError, StudyError
from study.journal.files import create_once, read_json, read_json_or_none, write_json
from study.paths import HomePaths, StudyPaths

_SHORT, _NUM_PLACES = 6, 20


class TwinError(StudyError):
    """A copy of this home has published under the same identity; says where it lies."""


class Place(NamedTuple):
    """Where a home was seen: host, path, and the number of its folder in the file system."""

    host: str
    path: str
    inode: int


@dataclass(frozen=True)
class Home:
    """Who publishes.

    Attributes:
        id: random, hexadecimal.
        here: where the home is seen now.
        places: where it has been seen, `here` among them.
        copied_from: where the original lies, when this is a copy that has just been told from it; else "".
    """

    id: str
    here: Place
    places: tuple[Place, ...]
    copied_from: str = ""

    @property
    def short(self) -> str:
        """Enough of the identity for a suffix."""
        return self.id[:_SHORT]

    def was_at(self, host: str, path: str) -> bool:
        """Whether it has been seen there."""
        return any((place.host, place.path) == (host, path) for place in self.places)

    def is_seen_elsewhere_as(self, path: str) -> bool:
        """Whether another machine sees the very same folder under `path`, and this one sees nothing there."""
        return any(
            (place.path, place.inode) == (path, self.here.inode) and place.host != self.here.host
            for place in self.places
        )


def identify(home: HomePaths) -> Home:
    """The identity of a home, made if it has none.

    Raises:
        JournalError: its file is damaged.
    """
    here = Place(socket.gethostname(), str(home.root.resolve()), home.root.stat().st_ino)
    if not home.identity.exists():
        create_once(home.identity, _content(uuid.uuid4().hex, (here,)))
    content = read_json(home.identity)
    recorded = _places(content, home.identity)
    known = Home(str(content["id"]), here, (*(place for place in recorded if place[:2] != here[:2]), here))
    if here in recorded:
        return known
    if len(known.places) > len(recorded) and (original := _original(home, known)) is not None:
        return renewed(home, known, str(original))
    write_json(home.identity, _content(known.id, known.places))
    return known


def renewed(home: HomePaths, before: Home, original: str) -> Home:
    """Give a home another identity, because `original` has the same one."""
    renewed = Home(uuid.uuid4().hex, before.here, (before.here,), original)
    write_json(home.identity, {**_content(renewed.id, renewed.places), "copy_of": before.id})
    return renewed


def instance_of(study: StudyPaths) -> str:
    """The identity of a study's folder, made if it has none."""
    if not study.identity.exists():
        create_once(study.identity, {"id": uuid.uuid4().hex})
    return str(read_json(study.identity)["id"])


def _original(home: HomePaths, copy: Home) -> Path | None:
    """Another folder with the same identity where this home is said to have been."""
    for place in copy.places:
        other = HomePaths(Path(place.path))
        with suppress(OSError, JournalError):
            if not other.root.samefile(home.root) and (read_json_or_none(other.identity) or {}).get("id") == copy.id:
                return other.root
    return None


def _content(identity: str, places: tuple[Place, ...]) -> dict[str, Any]:
    return {"id": identity, "places": [place._asdict() for place in places[-_NUM_PLACES:]]}


def _places(content: Mapping[str, Any], file: Path) -> tuple[Place, ...]:
    try:
        return tuple(Place(p["host"], p["path"], p["inode"]) for p in content["places"] if content["id"])
    except (KeyError, TypeError) as error:
        raise JournalError(f"{file} is damaged ({error!r}); move it away: the home then gets a new identity") from error
