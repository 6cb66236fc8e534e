import ast
import hashlib
import json
import shutil
from pathlib import Path

import jupytext
import nbformat
import pytest
from jupyter_client.manager import KernelManager, start_new_kernel
from nbclient import NotebookClient

from study.paths import StudyPaths
from study.plan.model import Confirm
from tests.fakes.folders import times_of
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


@pytest.mark.parametrize("is_repeated", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["once", "twice"])
def test_all_draw_the_same_bytes_and_write_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_repeated: bool
) -> None:
    """All in one kernel, from a deeper folder; names do not pass from one notebook to the next."""
    plan = make_plan(confirm=Confirm((1, 2, 3), (1,)))
    home = StudyHome(tmp_path / "toy", plan, lambda arm, base, metric: 70.0 + base * len(arm) % 7).build()
    folder = tmp_path / "figures"
    monkeypatch.setenv("STUDY_DIR", str(home.root))
    monkeypatch.setenv("FIGURES_DIR", str(folder))
    before = times_of(home.root)
    manager, _ = start_new_kernel(cwd=str(Path(__file__).parent))
    try:
        first = draw_all(manager, folder)
        if is_repeated:
            shutil.rmtree(folder)
            assert draw_all(manager, folder) == first
    finally:
        manager.shutdown_kernel(now=True)
    assert times_of(home.root) == before
    assert not StudyPaths(home.root).report.exists()
    manifest = json.loads(first["manifest.json"])
    assert {entry["section"] for entry in manifest["figures"].values()} == {path.stem for path in NOTEBOOKS}
    listed = {name: sha for entry in manifest["figures"].values() for name, sha in entry["sha256"].items()}
    assert listed == {n: hashlib.sha256(data).hexdigest() for n, data in first.items() if n != "manifest.json"}
    assert manifest["figures"]["slopes"]["commits"] == ["c0ffee"]
    assert len(manifest["figures"]["slopes"]["run_ids"]) == 3 * len(plan.arms)


def draw_all(manager: KernelManager, folder: Path) -> dict[str, bytes]:
    """Execute every notebook; return the files in `folder`."""
    for notebook in NOTEBOOKS:
        content = nbformat.read(notebook, as_version=4)
        content.cells.insert(0, nbformat.v4.new_code_cell("%reset -f"))
        NotebookClient(content, timeout=60, km=manager).execute(reset_kc=False)
        shown = [kind for cell in content.cells for out in cell.get("outputs", []) for kind in out.get("data", {})]
        assert "image/png" in shown, notebook
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
