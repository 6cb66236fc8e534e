"""Finding a study's images before anything is started."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from study.errors import DataError
from study.paths import HomePaths, from_user
from study.plan.components import build
from study.plan.model import Plan

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


def locate_data(plan: Plan, home: HomePaths) -> DataFolders:
    """The folders of the plan's datasets: in $STUDY_DATA, the home, or the system's datasets, else downloaded.

    What training and tuning need is read once, because a truncated file had better be found now than after hours (of
    original photographs that are decoded while training, some); the test split stays closed.

    Raises:
        DataError: nothing works, or a file is damaged; names the commands that help, for all datasets at once.
    """
    tuning = {} if plan.tune.dataset is None else {_TUNING: plan.tune.dataset}
    wanted = {"": plan.dataset, **tuning, **{e.name: e.dataset for e in plan.evaluations if e.dataset is not None}}
    found: dict[str, Path] = {}
    problems: list[str] = []
    for name, component in wanted.items():
        try:
            found[name] = _readable(build("datasets", component), home)
        except DataError as error:
            where = {"": "", _TUNING: f"{_TUNING}: "}.get(name, f"evaluation {name}: ")
            problems.append(f"{where}{error}")
    if problems:
        raise DataError("\n".join(dict.fromkeys(problems)))
    training = found.pop("")
    found.pop(_TUNING, None)  # the same dataset, with other settings
    return DataFolders(training, found)


def _readable(dataset: Dataset, home: HomePaths) -> Path:
    """The folder of a dataset, after reading what training and tuning need."""
    folder = _folder(dataset, home)
    try:
        dataset.check(folder)
    except DataError as error:
        raise DataError(f"the images that {_origin(folder)} holds are damaged: {error}") from None
    return folder


def _folder(dataset: Dataset, home: HomePaths) -> Path:
    chosen = _chosen()
    if chosen and not chosen.is_dir():
        raise DataError(
            f"STUDY_DATA={chosen} is not a folder; set it to the folder that holds the dataset, or unset it"
        )
    roots = [*([chosen] if chosen else []), home.data, Path("/usr/share/datasets")]
    try:
        return dataset.locate(roots)
    except DataError:
        if chosen:
            raise  # the user said where to look; do not download behind their back
        home.data.mkdir(parents=True, exist_ok=True)
        return dataset.download(home.data)


def _chosen() -> Path | None:
    value = os.environ.get("STUDY_DATA")
    return from_user(value).absolute() if value else None


def _origin(folder: Path) -> str:
    chosen = _chosen()
    return f"STUDY_DATA={chosen}" if chosen and folder.is_relative_to(chosen) else str(folder)
