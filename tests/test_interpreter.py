"""Started with the wrong Python, a command says in one line which one to use."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from study import interpreter

ROOT = Path(__file__).parents[1]
LAUNCHERS = (
    "study/run_sweep.py",
    "study/__main__.py",
    "study/__init__.py",
    "study/interpreter.py",
    "analysis/__init__.py",
)


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python without any package."""
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    return folder / "bin" / "python"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what is read before the check, without a virtual environment."""
    for name in LAUNCHERS:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    return tmp_path


def told(python: Path, *arguments: str, folder: Path) -> str:
    """The one line that a command says."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run([python, *arguments], cwd=folder, capture_output=True, text=True, env=kept, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {python} (Python 3.")
    assert "has no torch, torchvision, numpy and " in line
    return line


@pytest.mark.parametrize(
    "arguments", [("study/run_sweep.py", "a b.yaml", "x=[1, 2]"), ("-m", "study", "status", "a b")]
)
def test_the_checkouts_own_python_is_named(bare_python: Path, checkout: Path, arguments: tuple[str, ...]) -> None:
    """What to type is the same command; without a virtual environment, how to make one."""
    assert told(bare_python, *arguments, folder=checkout).endswith(": make -C . demo")
    own = checkout / ".venv" / "bin" / "python"
    own.parent.mkdir(parents=True)
    own.symlink_to(sys.executable)
    line = told(bare_python, *arguments, folder=checkout)
    assert shlex.split(line.partition("Use the checkout's own: ")[2]) == [".venv/bin/python", *arguments]


def test_a_virtual_environment_that_lacks_packages_is_completed(bare_python: Path, checkout: Path) -> None:
    (checkout / ".venv").symlink_to(bare_python.parents[1])
    line = told(checkout / ".venv/bin/python", "study/run_sweep.py", "x.yaml", folder=checkout)
    assert line.endswith("Complete it: .venv/bin/python -m pip install --requirement requirements.txt")


def test_notebooks_say_it_too(bare_python: Path, checkout: Path) -> None:
    done = subprocess.run([bare_python, "-c", "import analysis.frames"], cwd=checkout, capture_output=True, text=True)
    assert re.fullmatch(r"ImportError: .* has no torch, .* demo", done.stderr.splitlines()[-1])


@pytest.mark.parametrize(
    ("has_own", "expected"), [(True, "/.venv/bin/python x.yaml"), (False, " demo PYTHON=python3.11")]
)
def test_a_python_that_is_too_old(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, has_own: bool, expected: str
) -> None:
    own = tmp_path / ".venv" / "bin" / "python"
    if has_own:
        own.parent.mkdir(parents=True)
        own.touch()
    monkeypatch.setattr(interpreter, "_OWN", own)
    monkeypatch.setattr(sys, "version_info", (3, 9, 2, "final", 0))
    message = interpreter.what_is_wrong(["x.yaml"])
    assert message is not None
    assert "(Python 3.9.2) is too old: 3.11 or newer is needed. " in message
    assert message.endswith(expected)
    monkeypatch.setattr(sys, "prefix", str(own.parents[1]))
    message = interpreter.what_is_wrong(["x.yaml"])
    assert message is not None
    assert "rm -r " in message


@pytest.mark.parametrize("name", LAUNCHERS)
def test_an_old_python_reads_what_comes_before_the_check(name: str) -> None:
    ast.parse((ROOT / name).read_text(), feature_version=(3, 8))


def test_this_python_will_do_and_nothing_that_is_imported_is_forgotten() -> None:
    assert interpreter.what_is_wrong() is None
    imported: set[str] = set()
    for file in [*(ROOT / "study").rglob("*.py"), *(ROOT / "analysis").rglob("*.py")]:
        imported |= set(re.findall(r"^\s*(?:from|import) (\w+)", file.read_text(), re.MULTILINE))
    assert imported - set(sys.stdlib_module_names) - {"study", "analysis"} == set(interpreter.NEEDED)
