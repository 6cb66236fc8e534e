"""What a file of the project imports, read from its text: nothing is executed.

Imports inside functions count as well, because a run can execute them; those for type checkers alone do not.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]  # of the checkout, which is on sys.path
PACKAGE = "study"


@dataclass(frozen=True)
class Source:
    """One file as it was when it was first asked for: later edits are not what this process executes.

    Attributes:
        path: relative to the package `study`, with `/`; a file beside the package begins with `../`.
        sha256: of its bytes (hex).
        text: its bytes.
        project: paths of the files of the project that importing it, or calling what it defines, may execute.
        libraries: top-level names of other modules that it imports, without those of Python itself.
    """

    path: str
    sha256: str
    text: bytes
    project: frozenset[str]
    libraries: frozenset[str]


@cache
def source(path: str) -> Source:
    """Read and parse a file of the project by its path relative to the package.

    Raises:
        FileNotFoundError: there is no such file.
        SyntaxError: it is not Python.
    """
    file = file_of(path)
    text = file.read_bytes()
    project: set[str] = set()
    libraries: set[str] = set()
    for name in _names(ast.parse(text, str(file)), _package_of(path)):
        found = _project_files(name)
        project.update(found)
        top = name.partition(".")[0]
        if not found and top not in (PACKAGE, *sys.stdlib_module_names):
            libraries.add(top)
    project.discard(path)
    return Source(path, hashlib.sha256(text).hexdigest(), text, frozenset(project), frozenset(libraries))


def file_of(path: str) -> Path:
    """The file at a path relative to the package."""
    return ROOT / path[3:] if path.startswith("../") else ROOT / PACKAGE / path


def module_of(path: str) -> str:
    """The dotted name under which a file is imported."""
    parts = path[3:].split("/") if path.startswith("../") else [PACKAGE, *path.split("/")]
    parts[-1] = parts[-1].removesuffix(".py")
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _package_of(path: str) -> str:
    """The package that relative imports of a file start from."""
    name = module_of(path)
    return name if path.endswith("__init__.py") else name.rpartition(".")[0]


def _names(tree: ast.AST, package: str) -> Iterator[str]:
    """Dotted names of everything that a module imports, `a.b.c` also where that may be a name inside of `a.b`."""
    for node in _executed(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node.module or "", node.level, package)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names if alias.name != "*" and base)
        elif isinstance(node, ast.Call) and _is_import_call(node) and isinstance(node.args[0], ast.Constant):
            yield str(node.args[0].value)


def _executed(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those in blocks that type checkers alone look at."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.If) and "TYPE_CHECKING" in (
            getattr(node.test, "id", ""),
            getattr(node.test, "attr", ""),
        ):
            waiting += node.orelse
        else:
            waiting += ast.iter_child_nodes(node)


def _is_import_call(node: ast.Call) -> bool:
    """Whether a call is `import_module("…")` or `__import__("…")`."""
    name = getattr(node.func, "attr", getattr(node.func, "id", ""))
    return name in ("import_module", "__import__") and bool(node.args)


def _absolute(module: str, level: int, package: str) -> str:
    if not level:
        return module
    parts = package.split(".")
    return ".".join(filter(None, [*parts[: len(parts) - level + 1], module]))


@cache
def _project_files(name: str) -> tuple[str, ...]:
    """The files of the project that importing a dotted name executes: the module and the packages above it."""
    parts = name.split(".")
    if not all(part.isidentifier() for part in parts):
        return ()
    found = []
    for end in range(1, len(parts) + 1):
        stem = ROOT.joinpath(*parts[:end])
        file = next((f for f in (stem / "__init__.py", stem.with_suffix(".py")) if f.is_file()), None)
        if file is None:
            break
        found.append(_relative(file))
    return tuple(found)


def _relative(file: Path) -> str:
    inside = file.relative_to(ROOT)
    return "/".join(inside.parts[1:]) if inside.parts[0] == PACKAGE else f"../{inside.as_posix()}"
