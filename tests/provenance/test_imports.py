"""What a file imports is read from its text, however the import is written."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from study.provenance import imports
from study.provenance.imports import Source, module_of, source

Parse = Callable[[str], Source]


@pytest.fixture
def parse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Parse:
    """Writes `study/criteria/mine.py` of a small project, and reads it."""
    monkeypatch.setattr(imports, "ROOT", tmp_path)
    for name in ("__init__", "errors", "criteria/__init__", "criteria/_terms", "criteria/e2mc", "tensors/__init__"):
        file = tmp_path / "study" / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    (tmp_path / "my_losses.py").touch()
    source.cache_clear()
    imports._project_files.cache_clear()

    def parsed(text: str) -> Source:
        (tmp_path / "study" / "criteria" / "mine.py").write_text(text)
        source.cache_clear()
        return source("criteria/mine.py")

    yield parsed
    source.cache_clear()
    imports._project_files.cache_clear()


_PACKAGES = {"__init__.py", "criteria/__init__.py"}


@pytest.mark.parametrize(
    "text",
    [
        "import study.criteria._terms",
        "from study.criteria import _terms",
        "from study.criteria._terms import mean",
        "from study.criteria import _terms as terms, nothing",
        "from . import _terms",
        "from ._terms import mean",
        "from ..criteria import _terms",
        "def late():\n    from study.criteria._terms import mean",
        "try:\n    import study.criteria._terms\nexcept ImportError:\n    pass",
        "import importlib\nimportlib.import_module('study.criteria._terms')",
        "class A:\n    __import__('study.criteria._terms')",
    ],
)
def test_ways_to_import_a_module_of_the_project(parse: Parse, text: str) -> None:
    found = parse(text)
    assert found.project == _PACKAGES | {"criteria/_terms.py"}
    assert found.libraries == set()


def test_a_file_beside_the_package_and_libraries(parse: Parse) -> None:
    found = parse("import my_losses, torch.nn, json\nfrom PIL import Image\nfrom geomloss import SamplesLoss\n")
    assert found.project == {"../my_losses.py"}
    assert found.libraries == {"torch", "PIL", "geomloss"}, "Python's own modules have the version of Python"


@pytest.mark.parametrize("test", ["TYPE_CHECKING", "typing.TYPE_CHECKING"])
def test_what_type_checkers_alone_look_at_is_not_executed(parse: Parse, test: str) -> None:
    found = parse(
        f"import typing\nfrom typing import TYPE_CHECKING\nif {test}:\n    import torch\nelse:\n    import numpy\n"
    )
    assert found.libraries == {"numpy"}


def test_the_hash_is_of_the_text_that_was_read_first(parse: Parse, tmp_path: Path) -> None:
    first = parse("x = 1\n")
    (tmp_path / "study" / "criteria" / "mine.py").write_text("x = 2\n")
    assert source("criteria/mine.py") is first
    assert first.sha256 == hashlib.sha256(b"x = 1\n").hexdigest() and first.text == b"x = 1\n"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("criteria/e2mc.py", "study.criteria.e2mc"),
        ("criteria/__init__.py", "study.criteria"),
        ("../my_losses.py", "my_losses"),
        ("../mine/__init__.py", "mine"),
    ],
)
def test_names_of_modules(path: str, name: str) -> None:
    assert module_of(path) == name
