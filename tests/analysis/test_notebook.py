import ast
from pathlib import Path

import jupytext
import nbformat
import pytest
from nbclient import NotebookClient

from study.paths import StudyPaths
from study.plan.model import Confirm
from tests.fakes.study_home import StudyHome, make_plan

ANALYSIS = Path(__file__).parents[2] / "analysis"
NOTEBOOKS = sorted(ANALYSIS.glob("*.ipynb"))


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def test_pair_is_in_step(notebook: Path) -> None:
    content = jupytext.read(notebook)
    content.metadata = nbformat.from_dict({"jupytext": {"notebook_metadata_filter": "-all"}})
    assert jupytext.writes(content, fmt="py:percent") == notebook.with_suffix(".py").read_text(encoding="utf-8")


def test_is_stored_without_outputs(notebook: Path) -> None:
    content = nbformat.read(notebook, as_version=4)
    nbformat.validate(content)
    assert set(content.metadata) == {"kernelspec"}
    for cell in content.cells:
        assert not cell.metadata
        assert cell.cell_type != "code" or (not cell.outputs and cell.execution_count is None)


def test_defines_nothing(notebook: Path) -> None:
    tree = ast.parse(notebook.with_suffix(".py").read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef, ast.Lambda)
    assert not [node for node in ast.walk(tree) if isinstance(node, kinds)]


def test_runs_from_a_deeper_folder_and_writes_nothing(
    notebook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan(confirm=Confirm((1, 2, 3), (1,)))
    home = StudyHome(tmp_path / "toy", plan, lambda arm, base, metric: 70.0 + base * len(arm) % 7).build()
    monkeypatch.setenv("STUDY_DIR", str(home.root))
    before = {path: path.stat().st_mtime_ns for path in home.root.rglob("*")}
    content = nbformat.read(notebook, as_version=4)
    client = NotebookClient(content, timeout=60, resources={"metadata": {"path": str(Path(__file__).parent)}})
    client.execute()
    shown = [kind for cell in content.cells for out in cell.get("outputs", []) for kind in out.get("data", {})]
    assert "image/png" in shown
    assert shown.count("text/html") == 5
    assert {path: path.stat().st_mtime_ns for path in home.root.rglob("*")} == before
    assert not StudyPaths(home.root).report.exists()
