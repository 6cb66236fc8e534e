"""Finding a study's images before anything is started."""

from __future__ import annotations

import os
from pathlib import Path

from study.datasets.base import Dataset
from study.errors import DataError
from study.paths import HomePaths, from_user
from study.plan.components import build
from study.plan.model import Plan


def locate_data(plan: Plan, home: HomePaths) -> Path:
    """The folder with the plan's dataset: in $STUDY_DATA, the home, or the system's datasets, else downloaded.

    What training and tuning need is read once, because a truncated file had better be found now than after hours (of
    original photographs that are decoded while training, some); the test split stays closed.

    Raises:
        DataError: nothing works, or a file is damaged; names the commands that help.
    """
    dataset: Dataset = build("datasets", plan.dataset)
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
