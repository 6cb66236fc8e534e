"""What an idle turn of the orchestrator costs on a file system does not depend on how much runs: counted by strace."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TURNS = 50


def operations(folder: Path, mode: str, num: int, strace: str) -> Counter[str]:
    """System calls on files of the study in so many idle turns, by their names."""
    folder.mkdir()
    log = folder / "calls"
    command = [sys.executable, "-m", "tests.fakes.idle_turns", folder, mode, num, TURNS]
    tracer = [strace, "-f", "--seccomp-bpf", "-qq", "-y", "-e", "trace=%file,%desc", "-e", "signal=none", "-o", log]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([*map(str, [*tracer, *command])], cwd=ROOT, check=True, env=environment)
    lines = log.read_text(errors="replace").splitlines()
    marks = [next(i for i, line in enumerate(lines) if f'"{folder / name}"' in line) for name in ("begin", "end")]
    within = [line for line in lines[marks[0] + 1 : marks[1]] if f"{folder / 'home'}" in line]
    return Counter(re.sub(r"^\d+ +", "", line).partition("(")[0] for line in within)


@pytest.mark.parametrize("mode", ["workers", "jobs"])
def test_idle_turns_cost_the_same_with_four_and_with_sixty_four(tmp_path: Path, mode: str) -> None:
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    few, many = (operations(tmp_path / str(num), mode, num, strace) for num in (4, 64))
    assert few == many
    assert sum(few.values()) <= TURNS * 60
