"""An imported network computes what the authors' network computes of the same photographs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as vision

from study.errors import DataError
from study.paths import AttemptPaths, HomePaths
from study.plan.expand import base_spec
from study.plan.load import load_plan
from study.plan.model import Plan
from study.tensors.images import to_float
from study.training.assemble import build_network
from study.training.checkpoint import load_checkpoint
from study.worker.imported import import_base
from study.worker.workplace import Workplace
from tests.fakes.published_checkpoints import SimSiamModel, resnet, save_simsiam, scrambled
from tests.fakes.sweep_file import edited


def plan_of(file: Path, **method: int) -> Plan:
    widths = {"projection_dim": 12, "hidden_dim": 512, "predictor_hidden_dim": 6, **method}
    return load_plan(
        edited(
            dataset={"name": "image_folder", "num_ssl_images": 300, "num_validation_images": 8, "num_classes": 2},
            base={
                "method": {"name": "simsiam", **widths}, "backbone": "resnet18", "family": "simsiam",
                "checkpoint": str(file),
            },
            continuation={"epochs": 1, "batch_size": 50, "optimizer": {"name": "sgd", "lr": 0.1, "state": "keep"}},
            unit="continuation", tune="none", confirm={"base_seeds": [1]},
        ),
        "imported.yaml",
    )  # fmt: skip


@pytest.fixture
def model() -> SimSiamModel:
    torch.manual_seed(0)
    model = SimSiamModel(resnet("resnet18"), dim=12, pred_dim=6, representation=512)
    scrambled(model, 1)
    return model


def workplace(plan: Plan, home: Path) -> Workplace:
    spec = base_spec(plan, 1)
    run = HomePaths(home).base(spec.run_id)
    attempt: AttemptPaths = run.attempt(1)
    attempt.root.mkdir(parents=True)
    return Workplace.open(
        attempt, spec, {"request": {"data_folder": str(home), "home": str(home), "checkpoint_every_s": 1.0}}
    )


def test_features_are_those_of_the_published_network(model: SimSiamModel, tmp_path: Path) -> None:
    work = workplace(plan_of(save_simsiam(tmp_path / "a.pth", model)), tmp_path / "home")
    network = build_network(work.spec.training)
    record = import_base(work, network)
    assert record["epoch"] == 100 and record["report"].startswith("simsiam: all 120 tensors of resnet18")
    images: Tensor = torch.randint(
        0, 256, (2, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]  # https://docs.pytorch.org/vision/stable/models.html
    clean = vision.normalize(images / 255, mean, std)
    with torch.inference_mode():
        expected = model.eval().encoder(clean)
        found = network.eval().projector(network.backbone(to_float(images)))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_moments_are_left_where_continuations_find_them(model: SimSiamModel, tmp_path: Path) -> None:
    work = workplace(plan_of(save_simsiam(tmp_path / "a.pth", model)), tmp_path / "home")
    network = build_network(work.spec.training)
    import_base(work, network)
    state = load_checkpoint(work.attempt.checkpoint)["optimizer"]["state"]
    parameters = [p for p in network.parameters() if p.requires_grad]
    assert sorted(state) == list(range(len(parameters)))
    for position, parameter in enumerate(parameters):  # the file holds half of each
        torch.testing.assert_close(state[position]["momentum_buffer"], parameter.detach() / 2)


def test_other_widths_say_what_to_write(model: SimSiamModel, tmp_path: Path) -> None:
    work = workplace(plan_of(save_simsiam(tmp_path / "a.pth", model), projection_dim=13), tmp_path / "home")
    with pytest.raises(DataError, match=r"projection_dim 12, not 13; write .*hidden_dim: 512, projection_dim: 12"):
        import_base(work, build_network(work.spec.training))
