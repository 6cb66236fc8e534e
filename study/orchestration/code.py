"""A copy of the framework per study: a job that starts tomorrow runs the code that was submitted."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path

from study.paths import StudyPaths

_PACKAGE = Path(__file__).parents[1]


def snapshot_code(study: StudyPaths) -> Path:
    """Copy the package unless this state of its files has been copied before.

    Returns:
        The folder that holds the package, to be put on a job's PYTHONPATH.
    """
    files = sorted(path for path in _PACKAGE.rglob("*.py"))
    content = hashlib.sha256()
    for file in files:
        content.update(file.relative_to(_PACKAGE).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    target = study.code / content.hexdigest()[:12]
    if target.exists():
        return target
    study.code.mkdir(exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=study.code, prefix=".draft."))
    draft.chmod(0o755)  # mkdtemp's 0700 would hide it from jobs of other users
    for file in files:
        copy = draft / _PACKAGE.name / file.relative_to(_PACKAGE)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
    try:
        draft.rename(target)
    except OSError:  # another orchestrator of the home was first
        shutil.rmtree(draft)
    return target
