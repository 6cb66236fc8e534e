"""Documents tell the truth about the repository: links resolve, commands and files exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("[a-z]*/*.md")])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_resolve(document):
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text())
    local = [target for target in targets if not re.match(r"[a-z]+:", target)]
    assert [target for target in local if not (document.parent / target).exists()] == []


def test_make_targets_in_the_readme_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`make ([a-z-]+)", (ROOT / "README.md").read_text()):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_requirements_name_what_is_imported():
    """Every third-party package that the code imports stands in requirements.txt."""
    names = {"yaml": "PyYAML", "sklearn": "scikit-learn", "threadpoolctl": "scikit-learn", "PIL": "pillow"}
    required = {re.split(r"[><=! #]", line)[0].lower() for line in (ROOT / "requirements.txt").read_text().splitlines()}
    imported = set()
    for file in [*(ROOT / "study").rglob("*.py"), *(ROOT / "analysis").rglob("*.py")]:
        imported |= set(re.findall(r"^\s*(?:from|import) (\w+)", file.read_text(), re.MULTILINE))
    standard = __import__("sys").stdlib_module_names
    foreign = {m for m in imported if m not in standard and m not in ("study", "analysis")}
    missing = sorted(m for m in foreign if names.get(m, m).lower() not in required)
    assert missing == []


def test_every_package_is_in_the_guide():
    """`study/README.md` has a line for each folder, and no line for one that there is not."""
    packages = {path.parent.name for path in (ROOT / "study").glob("*/__init__.py")}
    assert set(re.findall(r"\[(\w+)/\]\(\1\)", (ROOT / "study" / "README.md").read_text())) == packages
