"""A copy of the package, to put files of users into; and what one of its processes says about them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def copy_of_checkout(folder: Path) -> Path:
    """Copy all modules into `folder`; this checkout, its caches and its code identity stay as they are."""
    for package in ("study", "analysis"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__", "*.ipynb"))
    return folder


def answer_of(program: str, checkout: Path, given: Any = None, *, timeout_s: float = 120) -> Any:
    """Run a program with the checkout's modules, and those of the tests, and return the JSON of its last line."""
    environment = {**os.environ, "PYTHONPATH": f"{checkout}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=checkout, input=json.dumps(given), env=environment,
        capture_output=True, text=True, timeout=timeout_s, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
