"""The last words of a finished study, repeated at once for as long as nothing has moved since.

`finished.json` says for which sweep text and overrides, and keeps a hash over names, sizes and times of modification of
all that the last words depend on: the code of the framework and of the analysis, the plan, the trials, and the files of
every run and base. Nothing is opened or hashed to find out that nothing has moved. When anything has, the long way
resolves the plan, compares code and runs, and writes new last words.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from study.errors import JournalError
from study.journal.files import read_json_or_none, write_json
from study.paths import HomePaths, RunPaths, StudyPaths

_ROOT = Path(__file__).parents[2]
_CODE, _SUFFIXES = ("study", "analysis"), (".py", ".jinja")
_LIBRARIES = ("torch", "torchvision", "numpy", "pillow", "scipy", "scikit-learn", "pandas")


def code_seen() -> str:
    """Return a hash over what can be seen of all code, the framework's and the analysis's, and of its libraries.

    Asked before anything is loaded: what is edited later is not what the study has executed.
    """
    content = hashlib.sha256()
    for name in _LIBRARIES:
        content.update(f"{name} {_version(name)}\n".encode())
    for folder in _CODE:
        for place, folders, files in os.walk(_ROOT / folder):
            folders[:] = sorted(name for name in folders if not name.startswith((".", "__")))
            for name in sorted(files):
                if name.endswith(_SUFFIXES):
                    _add(content, f"{place}/{name}")
    return content.hexdigest()


def remember(study: StudyPaths, runs: Iterable[RunPaths], words: dict[str, Any]) -> None:
    """Keep the last words of a study that has just finished.

    Args:
        study: its files.
        runs: all runs and bases that it consists of.
        words: `text`, `given`, `block`, `num_blocks` that recognise the command, `code`, what `code_seen` said when it
            began, and the `summary` to repeat.
    """
    names = [os.path.relpath(run.root, study.root) for run in runs]
    write_json(study.finished, {**words, "runs": names, "seen": _seen(study, names)})


def recall(home: HomePaths, text: str, overrides: Sequence[str], code: str) -> list[dict[str, Any]] | None:
    """Return the last words of the studies that this text and these overrides have finished, in their order.

    Args:
        home: where the studies live.
        text: of the sweep file.
        overrides: of the command.
        code: what `code_seen` says now.

    Returns:
        None when some of them are not finished, or left in the middle of the end, or anything has moved since.
    """
    found = []
    for file in sorted(home.root.glob("*/finished.json")):
        try:
            record = read_json_or_none(file) or {}
        except JournalError:
            continue  # the long way finds out what is done, and writes the file anew
        if (record.get("text"), record.get("given")) == (text, list(overrides)):
            study = StudyPaths(file.parent)
            if study.lease.exists():  # its orchestrator publishes the last news, or was killed over that
                return None
            if record.get("code") != code or record["seen"] != _seen(study, record["runs"]):
                return None
            found.append(record)
    if not found or len(found) < found[0]["num_blocks"]:
        return None
    return sorted(found, key=lambda record: int(record["block"]))


def _seen(study: StudyPaths, runs: Sequence[str]) -> str | None:
    """A hash over what can be seen of a study's files; None when something that must be there is not."""
    content = hashlib.sha256()
    try:
        for file in _watched(study, runs):
            _add(content, file)
    except FileNotFoundError:
        return None
    return content.hexdigest() if (study.report / "report.html").exists() else None


def _add(content: hashlib._Hash, file: str) -> None:
    status = os.stat(file)  # noqa: PTH116 - tens of thousands, and a Path for each would cost more
    content.update(f"{file}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())


def _watched(study: StudyPaths, runs: Sequence[str]) -> Iterator[str]:
    yield from (str(study.plan), str(study.plan_yaml))
    for place, folders, files in os.walk(study.search):
        folders.sort()
        yield from (f"{place}/{name}" for name in sorted(files) if name.endswith(".json"))
    for run in runs:
        root = os.path.normpath(f"{study.root}/{run}")
        yield from (f"{root}/spec.json", f"{root}/trained.json", f"{root}/weights.safetensors")
        evaluations = f"{root}/evaluations"
        if os.path.isdir(evaluations):  # noqa: PTH112 - see above; bases have none
            yield from (f"{evaluations}/{name}" for name in sorted(os.listdir(evaluations)) if name.endswith(".json"))  # noqa: PTH208


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
