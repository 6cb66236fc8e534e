"""Finding a study's images before anything is started."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from study.errors import DataError
from study.paths import HomePaths, from_user
from study.plan.components import build
from study.plan.model import Component, Plan

if TYPE_CHECKING:
    from study.datasets.base import Dataset

_TUNING = "tune.overrides"  # no evaluation has a dot in its name


@dataclass(frozen=True)
class DataFolders:
    """Where the images of a plan lie.

    Attributes:
        training: folder of the plan's dataset.
        evaluations: folders of evaluations that have a dataset of their own, by name.
    """

    training: Path
    evaluations: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class FoundData:
    """What there is of a plan's images.

    Attributes:
        folders: where they lie; None when some are not there or cannot be used.
        problems: all that is wrong.
        notes: what a user should know: files that are skipped or read in a way that may surprise.
        room: bytes that decoded images will still take, by the folder that keeps them.
    """

    folders: DataFolders | None
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    room: Mapping[Path, int] = field(default_factory=dict)


class DataSearch:
    """Looks for the datasets of plans in $STUDY_DATA, the home and the system's datasets; at each of them once.

    What training and tuning need is read, because a truncated file had better be found now than after hours; of the
    test split, names and sizes are looked at alone.
    """

    def __init__(self, home: HomePaths, *, may_download: bool, patience_s: float | None = None) -> None:
        """Look at nothing yet.

        Args:
            home: where downloaded datasets lie.
            may_download: whether what is not there is fetched.
            patience_s: None: everything is looked at, and decoded where that is kept; else as much as fits into so many
                seconds per dataset, and nothing is written.
        """
        self._home, self._may_download, self._patience_s = home, may_download, patience_s
        self._seen: dict[str, FoundData] = {}

    def find(self, plan: Plan) -> FoundData:
        """The folders of the plan's datasets, with everything that is wrong with any of them."""
        tuning = {} if plan.tune.dataset is None else {_TUNING: plan.tune.dataset}
        wanted = {"": plan.dataset, **tuning, **{e.name: e.dataset for e in plan.evaluations if e.dataset is not None}}
        found = {name: self._look_at(component) for name, component in wanted.items()}
        problems = [
            f"{_place(name)}{problem}"
            for name, one in found.items()
            for problem in one.problems
            if not name or problem not in found[""].problems
        ]
        notes = dict.fromkeys(note for one in found.values() for note in one.notes)
        room = {folder: size for one in found.values() for folder, size in one.room.items()}
        folders = {name: one.folders.training for name, one in found.items() if one.folders is not None}
        if problems or len(folders) < len(found):
            return FoundData(None, tuple(problems), tuple(notes), room)
        training = folders.pop("")
        folders.pop(_TUNING, None)  # the same dataset, with other settings
        return FoundData(DataFolders(training, folders), (), tuple(notes), room)

    def _look_at(self, component: Component) -> FoundData:
        key = json.dumps(asdict(component), sort_keys=True)
        if key not in self._seen:
            self._seen[key] = self._found(build("datasets", component))
        return self._seen[key]

    def _found(self, dataset: Dataset) -> FoundData:
        try:
            folder = self._folder(dataset)
        except DataError as error:
            if _chosen() or self._may_download or not dataset.can_be_downloaded:
                return FoundData(None, error.problems)
            what = str(error).partition(". Looked in")[0]
            return FoundData(None, notes=(f"{what}; a start tries to download it into {self._home.data}",))
        here = FoundData(DataFolders(folder))
        try:
            if self._patience_s is None:
                return replace(here, notes=tuple(dataset.check(folder) or ()))
            keeps, size = dataset.room_needed(folder)
            notes = tuple(dataset.glance(folder, self._patience_s))
            return replace(here, notes=notes, room={keeps: size} if size else {})
        except DataError as error:
            return FoundData(None, tuple(_with_origin(error, folder)))

    def _folder(self, dataset: Dataset) -> Path:
        chosen = _chosen()
        if chosen and not chosen.is_dir():
            raise DataError(
                f"STUDY_DATA={chosen} is not a folder; set it to the folder that holds the dataset, or unset it"
            )
        roots = [*([chosen] if chosen else []), self._home.data, Path("/usr/share/datasets")]
        try:
            return dataset.locate(roots)
        except DataError:
            if chosen or not self._may_download:
                raise  # the user said where to look; do not download behind their back
            if dataset.can_be_downloaded:
                self._home.data.mkdir(parents=True, exist_ok=True)
            return dataset.download(self._home.data)


def _place(name: str) -> str:
    return {"": "", _TUNING: f"{_TUNING}: "}.get(name, f"evaluation {name}: ")


def _chosen() -> Path | None:
    value = os.environ.get("STUDY_DATA")
    return from_user(value).absolute() if value else None


def _with_origin(error: DataError, folder: Path) -> Iterator[str]:
    """The folder stands in every message; say why it was looked at where the user chose it."""
    chosen = _chosen()
    origin = f"images of STUDY_DATA={chosen}: " if chosen and folder.is_relative_to(chosen) else ""
    yield from (f"{origin}{problem}" for problem in error.problems)
