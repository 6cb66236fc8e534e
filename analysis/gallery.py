"""Figures as files: where they are written, and the manifest that says what they were drawn from."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from analysis import style
from analysis.asked import require_study
from study.errors import HomeError
from study.journal.files import read_json_or_none, write_json
from study.paths import StudyPaths

MANIFEST = "manifest.json"
_LIBRARIES = ("matplotlib", "numpy", "pandas", "scipy")


@dataclass(frozen=True)
class Shown:
    """Shows a saved figure in a notebook: the bytes that were written."""

    data: bytes

    def _repr_png_(self) -> bytes:
        return self.data


@dataclass(frozen=True)
class Gallery:
    """A folder of figures; equal data and environment give equal bytes, the manifest's included.

    Attributes:
        folder: what `<name>.png`, `<name>.pdf` and `manifest.json` are written to.
        study: the study's name.
        section: which notebook draws.
        runs: the study's runs; see `analysis.frames.runs_frame`.
    """

    folder: Path
    study: str
    section: str
    runs: pd.DataFrame

    @classmethod
    def of(cls, study_root: Path, study: str, section: str, runs: pd.DataFrame) -> Gallery:
        """The folder in the environment variable FIGURES_DIR, or `report/figures` of the study.

        Raises:
            HomeError: `study_root` is not the directory of a study.
        """
        require_study(Path(study_root))
        given = os.environ.get("FIGURES_DIR")
        folder = Path(given).expanduser() if given else StudyPaths(study_root).report / "figures"
        return cls(folder, study, section, runs)

    def add(self, name: str, figure: Figure, run_ids: Iterable[str]) -> Shown:
        """Write a figure and its entry in the manifest; a figure of the same name is replaced, others stay.

        Args:
            name: of the files, without suffix.
            figure: what to write.
            run_ids: the runs that its numbers come from.

        Raises:
            HomeError: the folder cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            files = style.save(figure, self.folder / name)
            entry = self._entry(sorted(set(run_ids)), files)
            manifest = self._others(name)
            manifest["figures"] = dict(sorted({**manifest["figures"], name: entry}.items()))
            write_json(self.folder / MANIFEST, manifest)
        except OSError as error:
            raise HomeError(f"cannot write figure {name!r} to {self.folder}: {error}; set FIGURES_DIR") from error
        return Shown(files[0].read_bytes())

    def _entry(self, run_ids: list[str], files: Iterable[Path]) -> dict[str, Any]:
        own = self.runs[self.runs["run_id"].isin(run_ids)]
        return {
            "section": self.section,
            "run_ids": run_ids,
            "commits": sorted(set(own["commit"]) - {""}),
            "code": sorted(set(own["code"]) - {""}),
            "sha256": {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files},
        }

    def _others(self, name: str) -> dict[str, Any]:
        """The manifest that is there, without entries of another study or whose files are gone."""
        found = read_json_or_none(self.folder / MANIFEST)
        figures: Mapping[str, Any] = {}
        if found is not None and found.get("study") == self.study:
            figures = found.get("figures", {})
        kept = {key: value for key, value in figures.items() if key != name and (self.folder / f"{key}.png").exists()}
        return {"study": self.study, "drawn_with": environment(), "figures": kept}


def environment() -> dict[str, Any]:
    """What the bytes of a figure depend on beside the data: versions, and the sha256 of this package's files."""
    package = Path(__file__).parent
    digest = hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        digest.update(f"{file.relative_to(package).as_posix()}\n".encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    libraries = {name: version(name) for name in _LIBRARIES}
    return {"analysis_sha256": digest.hexdigest(), "python": platform.python_version(), **libraries}
