"""Jobs that start tomorrow run the code that was submitted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from study.orchestration.code import snapshot_code
from study.paths import StudyPaths
from study.provenance.identity import training_code
from tests.fakes.tiny_study import pretraining


def test_a_copy_is_complete_and_works_by_itself(tmp_path: Path) -> None:
    study = StudyPaths(tmp_path / "study")
    study.root.mkdir()
    copy = snapshot_code(study)
    training = pretraining(1).training
    code = (
        "import study.worker.preload, study.worker.allocation as a\n"
        "from study.provenance.identity import training_code\n"
        f"print(a.__file__, training_code({training!r}).hash)"
    )
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    file, identity = result.stdout.split()
    assert Path(file).is_relative_to(copy)
    assert identity == training_code(training).hash, "resuming on it mixes nothing"


def test_the_same_code_is_copied_once(tmp_path: Path) -> None:
    study = StudyPaths(tmp_path / "study")
    study.root.mkdir()
    first = snapshot_code(study)
    before = {path: path.stat().st_mtime_ns for path in study.code.rglob("*")}
    assert snapshot_code(study) == first
    assert {path: path.stat().st_mtime_ns for path in study.code.rglob("*")} == before
    assert [path.name for path in study.code.iterdir()] == [first.name]
