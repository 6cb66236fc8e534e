"""What went wrong in the file of a component, in one line with its place."""

from __future__ import annotations

import ast
import re
import sys
import traceback
from pathlib import Path

from study.errors import Problem, did_you_mean
from study.registry.families import FAMILIES

_HERE = Path(__file__).parent
_STUDY, _ROOT = _HERE.parent, _HERE.parents[1]
_MUTABLE = re.compile(r"mutable default <class '(?P<kind>.*)'> for field (?P<field>\w+) is not allowed")


def import_problem(error: BaseException, file: str) -> Problem:
    """What went wrong while a component was imported, at its line.

    Args:
        error: what was raised.
        file: of the component, relative to the checkout; another file of ours that it imports is named in the problem.
    """
    if isinstance(error, SyntaxError) and error.filename:
        where, line = Path(error.filename), error.lineno
    else:
        frames = [(Path(f.filename), f.lineno) for f in traceback.extract_tb(error.__traceback__)]
        ours = [(path, line) for path, line in frames if path.is_relative_to(_STUDY) and path.parent != _HERE]
        where, line = ours[-1] if ours else (_ROOT / file, None)
    message = _what(error)
    if mutable := _MUTABLE.search(str(error)):
        line = _line_of(where, mutable["field"]) or line
    place = "" if line is None else f"line {line}"
    named = where.relative_to(_ROOT) if where.is_relative_to(_ROOT) else where
    return Problem(place if where == _ROOT / file else f"{named}, {place}", message)


def place_of(error: BaseException) -> str:
    """Where in a component's file an exception came up, e.g. `study/criteria/mine.py, line 12, in compute`; else "".

    The innermost frame of a component counts, not what it calls: a wrong shape is noticed somewhere inside torch.
    """
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        is_ours = path.parent.parent == _STUDY
        if is_ours and path.parent.name in FAMILIES and path.stem != "base" and not path.stem.startswith("_"):
            return f"{path.relative_to(_ROOT)}, line {frame.lineno}, in {frame.name}"
    return ""


def told(error: BaseException) -> str:
    """An exception in one line, e.g. `ZeroDivisionError: division by zero`."""
    return " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")


def _what(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return f"this is not Python ({error.msg}): {(error.text or '').strip()}"
    if isinstance(error, ModuleNotFoundError) and error.name is not None:
        return _missing(error.name)
    if mutable := _MUTABLE.search(str(error)):
        field, kind = mutable["field"], mutable["kind"]
        advice = f"write a tuple, {field}: tuple[float, ...] = (), or {field}: ClassVar = … for what is no setting"
        return f"the default of {field} is a {kind}, which runs would share; {advice}"
    if isinstance(error, SystemExit):
        return "it ends Python while it is imported; move what it does on the command line out of it"
    return f"{told(error)}, while it was imported"


def _missing(module: str) -> str:
    package, _, rest = module.partition(".")
    if package != "study":
        advice = f"{sys.executable} -m pip install {package} (the package that has it may be called otherwise)"
        return f"it imports {package}, which is not installed; install it: {advice}"
    folder = _STUDY.joinpath(*rest.split(".")[:-1])
    known = [
        f"{'.'.join(module.split('.')[:-1])}.{file.stem}" for file in folder.glob("*.py") if file.stem != "__init__"
    ]
    return f"it imports {module}, which does not exist.{did_you_mean(module, known)}"


def _line_of(file: Path, field: str) -> int | None:
    """The line in which a class declares `field`."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == field:
            return node.lineno
    return None
