"""What an idle turn of a real orchestrator asks of the file system does not depend on how much there is."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TURNS = 12


def operations(folder: Path, num_seeds: int, num_active: int, strace: str) -> tuple[list[Counter[str]], str]:
    """System calls on files, turn by turn, by their names; and what the orchestrator says of its runs."""
    folder.mkdir()
    log = folder / "calls"
    command = [sys.executable, "-m", "tests.fakes.idle_orchestrator", folder, num_seeds, num_active, TURNS]
    tracer = [strace, "--seccomp-bpf", "-f", "-qq", "-e", "trace=%file,%desc", "-e", "signal=none", "-o", log]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*map(str, [*tracer, *command])], cwd=ROOT, check=True, env=environment, stdout=subprocess.PIPE, text=True
    )
    lines = [re.sub(r"^\d+ +", "", line) for line in log.read_text(errors="replace").splitlines()]
    marks = [i for i, line in enumerate(lines) if f'"{folder}"' in line]
    assert len(marks) == TURNS
    return [Counter(line.partition("(")[0] for line in lines[a + 1 : b]) for a, b in pairwise(marks)], done.stdout


def test_an_idle_turn_costs_the_same_with_seventy_runs_and_with_five_hundred(tmp_path: Path) -> None:
    """Of whatever kind: over, waiting, and active, of which both studies have more than are looked at in a turn."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    few, counts = operations(tmp_path / "few", 7, 18, strace)
    assert counts.split() == ["waiting=10", "active=18", "completed=41", "infeasible=0", "failed=0"]
    many, counts = operations(tmp_path / "many", 57, 60, strace)
    assert counts.split() == ["waiting=143", "active=60", "completed=266", "infeasible=0", "failed=0"]
    assert all(turn == few[0] for turn in (*few, *many)), (few, many)
    assert 0 < sum(few[0].values()) <= 500
