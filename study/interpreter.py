"""Whether this Python can run the framework; if not, one line that says which one can.

Read before anything else, by whichever Python `python` happens to be: this file, `run_sweep.py` and `__main__.py` hold
nothing newer than Python 3.8.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

OLDEST = (3, 11)
NEEDED = (
    "torch", "torchvision", "numpy", "scipy", "sklearn", "threadpoolctl", "PIL", "safetensors", "yaml", "pydantic",
    "optuna", "submitit", "mlflow", "psutil", "rich", "pandas", "pyarrow", "jinja2", "matplotlib",
)  # fmt: skip
_ROOT = Path(__file__).parents[1]
_OWN = _ROOT / ".venv" / "bin" / "python"


def require(*command: str) -> None:
    """Leave with exit code 2 and one line when this Python cannot run `command`, e.g. `-m`, `study`, `status`."""
    wrong = what_is_wrong(command)
    if wrong is not None:
        sys.stderr.write(f"error: {wrong}\n")
        sys.exit(2)


def what_is_wrong(command: Sequence[str] = ()) -> str | None:
    """Say why this Python cannot run `command`, and what to type instead; None when it can."""
    this = f"{sys.executable} (Python {'.'.join(map(str, sys.version_info[:3]))})"
    if sys.version_info < OLDEST:
        newer = ".".join(map(str, OLDEST))
        anew = f"rm -r {_typed(_OWN.parents[1])} && {_make(newer)}"
        advice = f"Make it anew with a newer one: {anew}" if _is_own() else _advice(command, newer)
        return f"{this} is too old: {newer} or newer is needed. {advice}"
    missing = [name for name in NEEDED if find_spec(name) is None]
    if not missing:
        return None
    more = f" and {len(missing) - 3} more packages" if len(missing) > 3 else ""
    return f"{this} has no {', '.join(missing[:3])}{more}. {_advice(command)}"


def _advice(command: Sequence[str], newer: str = "") -> str:
    if _is_own():
        return f"Complete it: {_typed(_OWN)} -m pip install --requirement {_typed(_ROOT / 'requirements.txt')}"
    if not _OWN.exists():
        return f"Make the checkout's own, and run the main job with it: {_make(newer)}"
    if command:
        return f"Use the checkout's own: {' '.join([_typed(_OWN), *map(shlex.quote, command)])}"
    return f"Use the checkout's own, also as the kernel of notebooks: {_typed(_OWN)}"


def _make(newer: str) -> str:
    return f"make -C {_typed(_ROOT)} demo" + (f" PYTHON=python{newer}" if newer else "")


def _is_own() -> bool:
    """Whether we are the Python of the checkout's virtual environment."""
    return Path(sys.prefix).resolve() == _OWN.parents[1].resolve()


def _typed(path: Path) -> str:
    """A path as it can be typed here: relative where that is shorter."""
    return shlex.quote(min(str(path), os.path.relpath(str(path)), key=len))
