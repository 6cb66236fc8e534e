"""A real browser without a window: Debian's Chromium."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
_ADVICE = "to run them: apt-get install chromium, or as root: STUDY_INSTALL_SYSTEM=1 make test"


def program() -> str:
    """The browser; installed where that is allowed: as root with CI or STUDY_INSTALL_SYSTEM=1; else skip the tests."""
    found = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if found is not None:
        return found
    if os.geteuid() != 0 or not (os.environ.get("CI") or os.environ.get("STUDY_INSTALL_SYSTEM")):
        pytest.skip(f"Chromium is not installed; {_ADVICE}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ("apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium")
    for command in (("apt-get", "update", "-qq"), install):
        result = subprocess.run(command, env=environment, capture_output=True, text=True)
        if result.returncode != 0:
            pytest.skip(f"Chromium cannot be installed: {' '.join(command)}: {result.stderr[-500:]}; {_ADVICE}")
    return program()


def dom(page: Path, profile: Path, width: int = 1280) -> str:
    """The document after its scripts have run, in a window of `width` pixels."""
    command = [
        program(),
        *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"),
        *(f"--user-data-dir={profile}", f"--window-size={width},900", "--virtual-time-budget=5000", "--dump-dom"),
        page.absolute().as_uri(),
    ]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr[-2000:]
    return result.stdout
