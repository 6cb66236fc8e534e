"""A run's hashes are those of what its training saw, can differ, and do not depend on interruptions."""

from __future__ import annotations

import hashlib
import os
import struct
import subprocess
import sys
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from analysis.pairing import ROUNDING
from study.augmentations.base import Augmentation
from study.plan.components import build
from study.plan.expand import run_spec
from study.plan.model import Phase
from study.training import feed
from study.training.add_on import AddOn
from study.training.assemble import build_network, component, set_numerics
from study.training.checkpoint import load_checkpoint, save_checkpoint
from study.training.loop import Trainer
from study.training.pairing import has_hashed_views
from study.training.seen import Seen, network_sha256
from tests.fakes.planted import GLOBAL, OTHER, Brightness, Drawing, plant
from tests.fakes.tiny_study import data_folder, tiny_plan

PLAN = tiny_plan("continuation.epochs=2", "tune=none", "arms.uniformity={criterion: uniformity, weight: 0.5}")
STEPS, PER_EPOCH, BATCH = 20, 10, 50
SEEN = ("loaded_weights", "loaded_moments", "rows", "views", "sketch", "first_step", "last_step", "num_view_steps")


@pytest.fixture(scope="module")
def images() -> Tensor:
    found: Tensor = build("datasets", PLAN.dataset).unlabelled(data_folder())
    return found[:].clone()


@pytest.fixture(scope="module")
def whole(images: Tensor) -> dict[str, Any]:
    """What the reference arm sees from the first step to the last."""
    return trained(trainer(images))


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)


def trainer(
    images: Tensor, augmentation: Augmentation | None = None, arm: str = "continued", base: int = 1, seed: int = 1,
    criterion: Any = None, **optimizer: Any,
) -> Trainer:  # fmt: skip
    training: dict[str, Any] = dict(run_spec(PLAN, PLAN.arm(arm), {}, base, seed, Phase.CONFIRM).training)
    training["optimizer"] = {**training["optimizer"], **optimizer}
    set_numerics(training["numerics"])
    add_on = AddOn(criterion or component(training, "criteria", "criterion"))
    return Trainer(
        training, network=build_network(training), add_on=add_on,
        augmentation=augmentation or component(training, "augmentations", "augmentation"), images=images,
        device=torch.device("cpu"),
    )  # fmt: skip


def trained(made: Trainer, until: int | None = None) -> dict[str, Any]:
    """What a trainer has seen up to a step, or to the end."""
    for _ in made.run(flush_every=5, must_stop=lambda: made.step == until):
        pass
    return {name: made.pairing()[name] for name in SEEN}


def differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> set[str]:
    return {name for name in a if a[name] != b[name]} - {"sketch"}


def distance(a: Mapping[str, Any], b: Mapping[str, Any]) -> float:
    return float(np.abs(np.subtract(a["sketch"], b["sketch"])).max())


def hex_of_sums(digests: list[bytes]) -> str:
    """The sums of the eight 32-bit words, each modulo 2^32, computed as whole numbers."""
    sums = [sum(struct.unpack("<8I", digest)[i] for digest in digests) % 2**32 for i in range(8)]
    return struct.pack("<8I", *sums).hex()


def test_hashes_are_of_what_the_network_is_shown(images: Tensor, tmp_path: Path) -> None:
    """Against what a hook in the network sees, and what an augmentation is given."""
    shown: list[list[Tensor]] = []
    given: list[Tensor] = []

    class Recorder(Brightness):
        def __call__(self, images: Tensor, generator: torch.Generator, view: int = 0, part: Any = None) -> Tensor:
            given.extend([images.clone()] if view == 0 else [])
            return super().__call__(images, generator, view, part)

    made = trainer(images, Recorder())
    made.loaded_from = tmp_path / "weights.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in made.network.state_dict().items()}, made.loaded_from)
    made.network.register_forward_pre_hook(lambda _, inputs: shown.append([view.clone() for view in inputs[0]]))
    found = trained(made)

    looked_up = {image.numpy().tobytes(): row for row, image in enumerate(images)}
    assert len(looked_up) == len(images) and len(shown) == len(given) == STEPS
    rows, views = [], []
    for step, (batch, of_step) in enumerate(zip(given, shown, strict=True), start=1):
        for place, image in enumerate(batch):
            rows.append(hashlib.sha256(struct.pack("<3q", step, place, looked_up[image.numpy().tobytes()])).digest())
            if step in (1, 10, 11, 20):
                pixels = b"".join(view[place].contiguous().numpy().tobytes() for view in of_step)
                header = struct.pack("<3q", step, place, 2 * 28 * 28)
                views.append(hashlib.sha256(header + pixels).digest())
    assert (found["rows"], found["views"]) == (hex_of_sums(rows), hex_of_sums(views))
    assert found["loaded_weights"] == hashlib.sha256(made.loaded_from.read_bytes()).hexdigest()
    assert (found["first_step"], found["last_step"], found["num_view_steps"]) == (1, STEPS, 4)


def test_which_views_are_hashed() -> None:
    assert [i for i in range(7) if has_hashed_views(i, 7)] == [0, 6]
    assert has_hashed_views(0, 1)


def test_arms_are_paired_whatever_their_criterion_and_parameters(images: Tensor, whole: dict[str, Any]) -> None:
    assert trained(trainer(images, arm="uniformity", lr=0.01)) == whole and len(set(whole["sketch"])) == 4


@pytest.mark.parametrize("seeds", [{"base": 2}, {"seed": 2}])
def test_other_seeds_see_something_else(images: Tensor, seeds: dict[str, int]) -> None:
    ours, theirs = trained(trainer(images), 1), trained(trainer(images, **seeds), 1)  # type: ignore[arg-type]
    assert differing(ours, theirs) == {"rows", "views"} | ({"loaded_weights"} if "base" in seeds else set())


@pytest.mark.parametrize("is_like_a_file", [True, False])
def test_every_tensor_of_a_network_counts(tmp_path: Path, is_like_a_file: bool) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).to(memory_format=torch.channels_last)
    network.register_buffer("rough", torch.ones(3, dtype=torch.bfloat16))
    network.register_buffer("flag", torch.tensor(True))
    file = tmp_path / "weights.safetensors"
    save_file({name: t.contiguous() for name, t in network.state_dict().items()}, file, {"from": "elsewhere"})
    like = file if is_like_a_file else None
    seen = [network_sha256(network, like)]
    assert (seen[0] == hashlib.sha256(file.read_bytes()).hexdigest()) is is_like_a_file
    assert network_sha256(network.to(memory_format=torch.contiguous_format), like) == seen[0]
    for tensor in network.state_dict().values():
        tensor.detach().copy_(~tensor if tensor.dtype == torch.bool else tensor + 1)
        seen.append(network_sha256(network, like))
    assert len(set(seen)) == len(seen) == 10


class TestWhatDiffers:
    """Each of these is planted in one of two trainings, and is found where it is."""

    def test_a_weight_flipped_after_loading(self, images: Tensor) -> None:
        made = trainer(images)
        weight = next(made.network.parameters()).data.view(-1).view(torch.int32)
        weight[0] ^= 1
        assert differing(trained(trainer(images), 1), trained(made, 1)) == {"loaded_weights"}

    def test_moments_that_were_carried_over(self, images: Tensor) -> None:
        ones, others = trainer(images), trainer(images)
        for made, value in ((ones, 0.0), (others, 1.0)):
            for parameter in made.network.parameters():
                made.optimizer.state[parameter] = {
                    "step": torch.tensor(0.0), "exp_avg": torch.full_like(parameter, value),
                    "exp_avg_sq": torch.ones_like(parameter),
                }  # fmt: skip
        found = [trained(made, 1) for made in (trainer(images), ones, others)]
        assert found[0]["loaded_moments"] == "" and differing(found[1], found[2]) == {"loaded_moments"}

    def test_two_images_that_changed_places_in_one_batch(
        self, images: Tensor, whole: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        order = feed.Feed._own

        def swapped(self: Any, rows: Tensor, seen: count[int] = count()) -> Tensor:  # noqa: B008
            own = order(self, rows).clone()
            return own[[1, 0, *range(2, len(own))]] if next(seen) == 6 else own

        monkeypatch.setattr(feed.Feed, "_own", swapped)
        assert differing(whole, trained(trainer(images))) == {"rows"}, "its views are not among those hashed"

    def test_one_pixel_of_one_image(self, images: Tensor) -> None:
        seen = trainer(images)
        row = int(next(seen._feed.batches(seen._batches())).rows[7])
        other = images.clone()
        other[row, 0, 14, 14] ^= 64
        assert differing(trained(seen, 1), trained(trainer(other), 1)) == {"views"}

    @pytest.mark.parametrize(("index", "is_seen"), [(0, True), (5, False), (9, True)])
    def test_views_of_one_step(
        self, images: Tensor, whole: dict[str, Any], monkeypatch: pytest.MonkeyPatch, index: int, is_seen: bool
    ) -> None:
        keys = feed.view_keys
        monkeypatch.setattr(feed, "view_keys", lambda k, e, i, v: keys(k, e, i, v + 9 * (i == index)))
        found = trained(trainer(images))
        assert differing(whole, found) == ({"views"} if is_seen else set())
        assert (distance(whole, found) > 10 * ROUNDING) is is_seen


class TestGlobalGenerators:
    """Augmentations that draw from them are paired and reproducible, because they are seeded for every view."""

    @pytest.mark.parametrize("source", GLOBAL)
    def test_they_are_seeded(self, images: Tensor, source: Any) -> None:
        ours = trained(trainer(images, Brightness(source)))
        torch.manual_seed(7)
        theirs = trained(trainer(images, Brightness(source), "uniformity", criterion=Drawing()))
        assert ours == theirs
        assert trained(trainer(images, Brightness(source), seed=2))["views"] != ours["views"]

    @pytest.mark.parametrize("source", GLOBAL)
    def test_without_that_the_hashes_differ(self, images: Tensor, source: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(feed, "seed_global_generators", lambda *keys: None)
        ours = trained(trainer(images, Brightness(source)))
        theirs = trained(trainer(images, Brightness(source), criterion=Drawing()))
        assert differing(ours, theirs) == {"views"} and distance(ours, theirs) > ROUNDING

    @pytest.mark.parametrize("source", OTHER)
    def test_what_cannot_be_seeded_is_found(self, images: Tensor, source: Any) -> None:
        ours, theirs = (trained(trainer(images, Brightness(source)), 1) for _ in range(2))
        assert differing(ours, theirs) == {"views"} and distance(ours, theirs) > ROUNDING

    def test_what_criteria_leave_behind_is_found_at_the_end_of_an_epoch(self, images: Tensor) -> None:
        found = {
            until: [trained(trainer(images, Brightness("criterion"), criterion=c), until) for c in (None, Drawing())]
            for until in (1, PER_EPOCH)
        }
        assert differing(*found[1]) == set(), "nothing has been left behind yet"
        assert differing(*found[PER_EPOCH]) == {"views"}

    def test_draws_of_a_criterion_are_the_same_whatever_the_augmentation_draws(self, images: Tensor) -> None:
        ours, theirs = (trainer(images, a, criterion=Drawing()) for a in (Brightness("python"), Brightness("torch")))
        seen = []
        for made in (ours, theirs):
            trained(made, 3)
            seen.append((np.random.rand(), float(torch.rand(()))))  # noqa: NPY002
        assert seen[0] == seen[1]


class TestInterruptions:
    @pytest.mark.parametrize("stops", [(1,), (10,), (4, 10, 11, 19)], ids=str)
    def test_hashes_are_those_of_an_uninterrupted_training(
        self, images: Tensor, whole: dict[str, Any], stops: tuple[int, ...], tmp_path: Path
    ) -> None:
        made = trainer(images)
        for stop in stops:
            trained(made, stop)
            save_checkpoint(tmp_path / "checkpoint.pt", made.state())
            made = trainer(images)
            made.load_state(load_checkpoint(tmp_path / "checkpoint.pt"))
        assert trained(made) == whole

    def test_a_checkpoint_of_earlier_code_covers_what_comes_after_it(
        self, images: Tensor, whole: dict[str, Any], tmp_path: Path
    ) -> None:
        found = []
        for _ in range(2):
            first, second = trainer(images), trainer(images)
            trained(first, 4)
            save_checkpoint(tmp_path / "checkpoint.pt", {k: v for k, v in first.state().items() if k != "seen"})
            second.load_state(load_checkpoint(tmp_path / "checkpoint.pt"))
            found.append(trained(second))
        late = found[0]
        assert late == found[1], "two such runs can be compared"
        assert (late["loaded_weights"], late["first_step"], late["last_step"]) == ("", 5, STEPS)
        assert late["num_view_steps"] == 3 and late["rows"] != whole["rows"]


class TestRounding:
    """Sketches tell the rounding of another processor from other views."""

    def test_other_last_bits_are_near(self, images: Tensor) -> None:
        class Other(Brightness):
            def __call__(self, images: Tensor, generator: torch.Generator, view: int = 0, part: Any = None) -> Tensor:
                return super().__call__(images, generator, view, part) * (1 + 1e-6)

        ours, theirs = (trained(trainer(images, kind("torch"))) for kind in (Brightness, Other))
        assert ours["views"] != theirs["views"] and distance(ours, theirs) < ROUNDING / 10

    def test_another_processor_is_near(self) -> None:
        lines = (
            "import torch",
            "from study.augmentations.small_images import SmallImages",
            "from study.training.seen import Seen",
            "seeded, cpu = torch.Generator().manual_seed, torch.device('cpu')",
            "images = torch.randint(0, 256, (50, 1, 28, 28), dtype=torch.uint8, generator=seeded(0))",
            "seen = Seen(cpu)",
            "views = [SmallImages()(images, seeded(view), view) for view in (0, 1)]",
            "seen.add(1, torch.arange(50), views, batch_size=50, with_views=True)",
            "print(torch.backends.cpu.get_cpu_capability(), seen.hashes()['views'], *seen.hashes()['sketch'])",
        )
        found = []
        for level in ("default", "avx2"):
            environment = {**os.environ, "ATEN_CPU_CAPABILITY": level}
            command, root = [sys.executable, "-c", "\n".join(lines)], Path(__file__).parents[2]
            done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root, env=environment)
            found.append(done.stdout.split())
        (first, ours, *sketch), (second, theirs, *other) = found
        if first == second:
            pytest.skip(f"this processor knows only {first}")
        assert ours != theirs, "views of another processor have other bits"
        assert np.abs(np.subtract([*map(float, sketch)], [*map(float, other)])).max() < ROUNDING / 10

    def test_views_that_are_not_finite_are_hashed_all_the_same(self) -> None:
        seen = Seen(torch.device("cpu"))
        views = [torch.full((2, 1, 4, 4), value) for value in (torch.inf, torch.nan)]
        seen.add(1, torch.tensor([3, 4]), views, batch_size=2, with_views=True)
        assert len(seen.hashes()["views"]) == 64
