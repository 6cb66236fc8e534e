"""Finding a study's images before anything is started."""

from __future__ import annotations

import os
from pathlib import Path

from study.datasets.base import Dataset
from study.errors import DataError
from study.paths import HomePaths
from study.plan.components import build
from study.plan.model import Plan


def locate_data(plan: Plan, home: HomePaths) -> Path:
    """The folder with the plan's dataset: in $STUDY_DATA, the home, or the system's datasets, else downloaded.

    Raises:
        DataError: nothing works; names the commands that help.
    """
    dataset: Dataset = build("datasets", plan.dataset)
    chosen = os.environ.get("STUDY_DATA")
    if chosen and not Path(chosen).is_dir():
        raise DataError(
            f"STUDY_DATA={chosen} is not a folder; set it to the folder that holds the dataset, or unset it"
        )
    roots = [*([Path(chosen)] if chosen else []), home.data, Path("/usr/share/datasets")]
    try:
        return dataset.locate(roots)
    except DataError:
        if chosen:
            raise  # the user said where to look; do not download behind their back
        home.data.mkdir(exist_ok=True)
        return dataset.download(home.data)
