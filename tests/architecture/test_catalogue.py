"""The extension points: one file is one component, each has tests of its own, and the shipped sweeps load."""

import ast
import dataclasses
from pathlib import Path

import pytest

from study import registry
from study.plan.load import load_plans
from study.plan.schema import ArmIn

ROOT = Path(__file__).parents[2]
FAMILIES = ("augmentations", "backbones", "criteria", "datasets", "evaluations", "methods", "pretrained")


@pytest.mark.parametrize("family", FAMILIES)
def test_every_file_defines_one_component(family):
    names = registry.names(family)
    assert names
    for name in names:
        assert registry.component(family, name)


@pytest.mark.parametrize(
    ("family", "folder"),
    [
        ("criteria", "references"),
        ("evaluations", "references"),
        ("methods", "references"),
        ("augmentations", "augmentations"),
    ],
)
def test_every_component_has_a_test_of_its_own(family, folder):
    """One that imports the component and asserts something; for formulas, against a reference."""
    lacking = []
    for name in registry.names(family):
        file = ROOT / "tests" / folder / f"test_{name}.py"
        text = file.read_text() if file.exists() else ""
        if f"study.{family}.{name}" not in text or "assert" not in text:
            lacking.append(name)
    assert not lacking


def test_every_family_has_a_contract_suite():
    for family in FAMILIES:
        text = (ROOT / "tests" / "contracts" / f"test_{family}.py").read_text()
        assert f'registry.names("{family}")' in text, f"a new file in study/{family} is not found by itself"


@pytest.mark.parametrize("sweep", sorted((ROOT / "sweeps").glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_sweeps_load(sweep):
    for plan in load_plans(sweep.read_text(), sweep.name):
        assert plan.contrasts
        assert plan.question


def test_no_criterion_has_a_field_that_an_arm_means_otherwise():
    """`space: sphere` beside a criterion would be taken for its search space."""
    own = {field.alias or name for name, field in ArmIn.model_fields.items()}
    for name in registry.names("criteria"):
        assert not own & {field.name for field in dataclasses.fields(registry.component("criteria", name))}, name


def test_components_of_a_family_do_not_import_each_other():
    for family in FAMILIES:
        names = set(registry.names(family))
        for name in names:
            tree = ast.parse((ROOT / "study" / family / f"{name}.py").read_text())
            imported = {n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
            assert not imported & {f"study.{family}.{other}" for other in names}, name


def test_modules_stay_readable():
    modules = [*(ROOT / "study").rglob("*.py"), *(ROOT / "analysis").rglob("*.py")]
    long = {str(f.relative_to(ROOT)): n for f in modules if (n := len(f.read_text().splitlines())) > 300}
    assert not long
