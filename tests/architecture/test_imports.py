"""Who may import whom, and what must not be loaded by commands that answer at once."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "torchvision", "sklearn", "pandas", "matplotlib", "mlflow", "optuna", "pydantic")


def test_import_rules_hold():
    script = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run([script], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("statement", "forbidden"),
    [
        ("import study.cli", HEAVY),
        ("import study.orchestration.status", HEAVY),
        ("import study.orchestration.stop", HEAVY),
        ("import study.plan.load", ("torchvision", "mlflow", "optuna", "matplotlib", "torch")),
        ("import study.worker.entry", HEAVY),
        ("import study.pretrained.swav, study.datasets.imagenet", ("torchvision", "PIL", "sklearn")),
        ("import study.backbones.resnet18, study.backbones.resnet50", ("torchvision",)),
        ("import analysis.report", ("torch", "optuna", "mlflow", "pydantic")),
    ],
)
def test_imports_stay_light(statement, forbidden):
    program = f"{statement}\nimport sys\nprint([m for m in {forbidden!r} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_loading_a_sweep_loads_no_more_than_torch():
    program = (
        "from pathlib import Path; from study.plan.load import load_plan\n"
        "load_plan(Path('sweeps/ablation.yaml').read_text(), 'ablation')\n"
        "import sys; heavy = ('torchvision', 'mlflow', 'optuna', 'matplotlib', 'sklearn')\n"
        "print([module for module in heavy if module in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
