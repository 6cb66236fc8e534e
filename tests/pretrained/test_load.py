"""What goes wrong with published files, and what is kept of those with which nothing does."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from study.errors import DataError, UserError
from study.fetching import sha256_of
from study.pretrained import load_checkpoint
from tests.fakes import published_checkpoints as published

State = dict[str, Tensor]


@pytest.fixture
def state() -> State:
    """SwAV's weights on a ResNet-18, one number behind each tensor: a small file."""
    with torch.device("meta"):
        model = published.SwAVModel(published.hollow_resnet("resnet18"), hidden=8, output=4, prototypes=6)
    return published.wrapped(published.spread(model))


@pytest.fixture
def file(tmp_path: Path, state: State) -> Path:
    return _save(tmp_path / "swav.pth.tar", state)


def _save(path: Path, content: object, **options: Any) -> Path:
    torch.save(content, path, **options)
    return path


def _load(file: Path | str, family: str = "swav", **options: Any) -> Any:
    return load_checkpoint(file, family, architecture="resnet18", **options)


class TestKeys:
    def test_everything_wrong_is_listed_at_once(self, tmp_path: Path, state: State) -> None:
        del state["module.layer1.0.conv1.weight"], state["module.projection_head.3.bias"]
        state["module.fc.weight"] = torch.zeros(3)
        state["module.prototypes.weight"] = torch.zeros(6, 5)
        state["module.conv1.weight"] = torch.zeros(64, 3, 3, 3)
        with pytest.raises(DataError) as caught:
            _load(_save(tmp_path / "file.pth", state))
        assert str(caught.value).splitlines() == [
            f"{tmp_path / 'file.pth'}: not a complete checkpoint of the family swav",
            "missing (2):",
            "  - layer1.0.conv1.weight (64×64×3×3)",
            "  - projection_head.3.bias (4)",
            "unexpected (1):",
            "  - fc.weight",
            "wrong (2):",
            "  - conv1.weight: shape 64×3×3×3, expected 64×3×7×7",
            "  - prototypes.weight: shape 6×5, expected num_prototypes×4",
        ]

    def test_another_family_is_named(self, tmp_path: Path, file: Path) -> None:
        with torch.device("meta"):
            model = published.VICRegModel(published.hollow_resnet("resnet18"), 8, 512)
        vicreg = published.save_lars(tmp_path / "vicreg.pth", published.spread(model), [list(model.parameters())])
        with pytest.raises(DataError, match="write family: vicreg"):
            _load(vicreg, "swav")
        with pytest.raises(DataError, match=r"expected model in the outermost dict.*\n.*write family: swav"):
            _load(file, "vicreg")

    def test_a_backbone_alone_lacks_the_head_and_has_a_family_of_its_own(self, tmp_path: Path) -> None:
        state = published.spread(published.hollow_resnet("resnet18")).state_dict()
        with pytest.raises(DataError, match=r"(?s)missing \(9\):.*write family: torchvision_resnet"):
            _load(_save(tmp_path / "resnet18.pth", state))
        assert _load(tmp_path / "resnet18.pth", parts="backbone").report.num_head == 0

    def test_the_head_can_be_left_out(self, file: Path) -> None:
        checkpoint = _load(file, parts="backbone")
        assert checkpoint.head == {}
        assert "projection_head.0.weight" in checkpoint.report.ignored

    def test_another_depth(self, file: Path) -> None:
        with pytest.raises(DataError, match=r"(?s)layer1\.0\.conv3\.weight.*wrong"):
            load_checkpoint(file, "swav", architecture="resnet50")

    def test_counters_that_old_files_lack_are_filled(self, tmp_path: Path, state: State) -> None:
        state = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
        checkpoint = _load(_save(tmp_path / "old.pth", state, _use_new_zipfile_serialization=False))
        assert checkpoint.backbone["bn1.num_batches_tracked"] == 0
        assert len(checkpoint.report.filled) == 21
        assert "filled: bn1.num_batches_tracked, " in str(checkpoint.report)

    def test_half_precision_becomes_single(self, tmp_path: Path, state: State) -> None:
        half = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
        assert _load(_save(tmp_path / "half.pth", half)).head["prototypes.weight"].dtype == torch.float32

    @pytest.mark.filterwarnings("ignore:Validating sparse tensor invariants")
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda state: state.update({"module.note": "text"}), "module.note is a str, not a tensor"),
            (
                lambda state: state.update({"module.x": torch.eye(3).to_sparse()}),
                "module.x is a tensor, but not a dense",
            ),
            (lambda state: state.update({"module.x": torch.empty(3, device="meta")}), "module.x is a tensor, but not"),
            (
                lambda state: state.update({"module.bn1.bias": torch.full((64,), torch.nan)}),
                "bn1.bias: holds values that",
            ),
            (lambda state: state.update({"conv1.weight": state["module.conv1.weight"]}), "conv1.weight stands there"),
        ],
    )
    def test_states_that_are_none(
        self, tmp_path: Path, state: State, change: Callable[[State], None], message: str
    ) -> None:
        change(state)
        with pytest.raises(DataError, match=message):
            _load(_save(tmp_path / "file.pth", state))

    def test_unknown_names(self, file: Path) -> None:
        with pytest.raises(UserError, match=r"no 'swaw' in study/pretrained/\. Did you mean 'swav'\?"):
            load_checkpoint(file, "swaw")
        with pytest.raises(UserError, match=r"no ResNet 'resnet51' in torchvision\. Did you mean 'resnet50'\?"):
            load_checkpoint(file, "swav", architecture="resnet51")
        with pytest.raises(DataError, match="optimizer must be keep or reset, but got 'yes'"):
            _load(file, optimizer="yes")
        with pytest.raises(DataError, match="parts must be all or backbone, but got 'head'"):
            _load(file, parts="head")


class TestOptimizer:
    def _content(self, state: State, num_parameters: int) -> dict[str, Any]:
        group = {"lr": 0.1, "params": list(range(num_parameters))}
        return {"state_dict": state, "optimizer": {"state": {}, "param_groups": [group]}}

    def test_there_is_none_to_keep(self, file: Path) -> None:
        assert _load(file).optimizer is None
        with pytest.raises(DataError, match="holds no optimiser state; write optimizer: reset"):
            _load(file, optimizer="keep")

    def test_one_of_another_network(self, tmp_path: Path, state: State) -> None:
        file = _save(tmp_path / "file.pth", self._content(state, 5))
        with pytest.raises(DataError, match="the optimiser has 5 parameters, the weights 67"):
            _load(file, optimizer="keep")
        assert _load(file, optimizer="reset").optimizer is None

    def test_moments_of_another_shape(self, tmp_path: Path, state: State) -> None:
        content = self._content(state, 67)
        content["optimizer"]["state"] = {0: {"momentum_buffer": torch.zeros(2, 2)}}
        with pytest.raises(DataError, match=r"momentum_buffer number 0 has shape \(2, 2\), but conv1\.weight has \(64"):
            _load(_save(tmp_path / "file.pth", content), optimizer="keep")

    def test_what_is_kept_survives_the_conversion(self, tmp_path: Path, state: State) -> None:
        content = self._content(state, 67)
        moments = {"exp_avg": torch.full((64, 3, 7, 7), 0.25), "step": 7, "total": torch.tensor(3.0)}
        content["optimizer"]["state"] = {0: moments}
        file = _save(tmp_path / "file.pth", content)
        for _ in ("converted", "read back"):
            optimizer = _load(file, optimizer="keep", cache=tmp_path / "cache").optimizer
            assert optimizer["param_groups"] == [{"lr": 0.1}]
            assert optimizer["state"].keys() == {"backbone.conv1.weight"}
            kept = optimizer["state"]["backbone.conv1.weight"]
            assert kept["step"] == 7 and kept["total"] == 3 and torch.equal(kept["exp_avg"], moments["exp_avg"])


class _Shell:
    """Unpickled by anything but a restricted unpickler, it runs a command."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


class TestNothingRuns:
    def _bait(self, tmp_path: Path) -> tuple[_Shell, Path]:
        caught = tmp_path / "it-ran"
        return _Shell(f"touch {caught}"), caught

    @pytest.mark.parametrize("is_zip", [True, False])
    def test_a_command_among_the_weights(self, tmp_path: Path, state: State, is_zip: bool) -> None:
        shell, caught = self._bait(tmp_path)
        file = _save(tmp_path / "evil.pth", {**state, "x": shell}, _use_new_zipfile_serialization=is_zip)
        with pytest.raises(DataError, match=r"refused: the file wants to load (posix|nt)\.system"):
            _load(file)
        assert not caught.exists()
        torch.load(file, weights_only=False)  # the bait is a real one
        assert caught.exists()

    def test_a_bare_pickle(self, tmp_path: Path) -> None:
        shell, caught = self._bait(tmp_path)
        (tmp_path / "evil.pth").write_bytes(pickle.dumps(shell))
        with pytest.raises(DataError, match=r"evil\.pth: "):
            _load(tmp_path / "evil.pth")
        assert not caught.exists()

    def test_the_function_that_files_may_mention_is_not_called(self, tmp_path: Path, state: State) -> None:
        calls: list[object] = []

        class Call:
            def __reduce__(self) -> tuple[Any, ...]:
                return function, ("argument",)

        with published.in_main("exclude_bias_and_norm", lambda *arguments: calls.append(arguments)) as function:
            mentioned = _save(tmp_path / "mentioned.pth", {"state_dict": state, "filter": function})
            called = _save(tmp_path / "called.pth", {"state_dict": state, "filter": Call()})
            assert _load(mentioned).report.num_head == _load(called).report.num_head == 9
            assert calls == []
            torch.load(called, weights_only=False)
            assert calls == [("argument",)]

    def test_another_function_of_the_script(self, tmp_path: Path, state: State) -> None:
        with published.in_main("adjust", lambda: None) as function:
            _save(tmp_path / "file.pth", {"state_dict": state, "filter": function})
        with pytest.raises(DataError, match=r"wants to load __main__\.adjust, which is not a tensor"):
            _load(tmp_path / "file.pth")


class TestDamage:
    @pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
    @pytest.mark.parametrize("is_zip", [True, False])
    def test_truncated(self, tmp_path: Path, state: State, share: float, is_zip: bool) -> None:
        whole = io.BytesIO()
        torch.save(state, whole, _use_new_zipfile_serialization=is_zip)
        (tmp_path / "cut.pth").write_bytes(whole.getvalue()[: int(len(whole.getvalue()) * share)])
        with pytest.raises(DataError, match=r"cut\.pth: damaged"):
            _load(tmp_path / "cut.pth")

    @pytest.mark.parametrize("content", [b"<!DOCTYPE html><p>404</p>", b"\x80\x02.", b"\x00" * 64, b"PK\x03\x04"])
    def test_something_else(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "page.pth").write_bytes(content)
        with pytest.raises(DataError, match=r"page\.pth: damaged"):
            _load(tmp_path / "page.pth")

    def test_a_zip_that_is_no_checkpoint(self, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
            archive.writestr("readme.txt", "hello")
        with pytest.raises(DataError, match=r"a\.pth: damaged"):
            _load(tmp_path / "a.pth")

    def test_no_dict(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="expected a dict of weights, but the file holds a list"):
            _load(_save(tmp_path / "list.pth", [torch.zeros(1)]))

    def test_no_file(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"no such file\n(.|\n)*swav_800ep_pretrain\.pth\.tar"):
            _load(tmp_path / "none.pth")
        with pytest.raises(DataError, match="is a folder, not a file"):
            _load(tmp_path)


class TestHash:
    def test_the_first_import_says_which_line_to_add(self, file: Path) -> None:
        checkpoint = _load(file)
        assert checkpoint.sha256 == sha256_of(file)
        assert checkpoint.report.advice.splitlines()[-1] == f"sha256: {sha256_of(file)}"
        assert _load(file, sha256=checkpoint.sha256).report.advice == ""
        assert _load(f"{file.as_uri()}#sha256={checkpoint.sha256}").report.advice == ""

    def test_another_hash_shows_both(self, file: Path, tmp_path: Path) -> None:
        with pytest.raises(DataError) as caught:
            _load(file, sha256="0" * 64, cache=tmp_path / "cache")
        assert "0" * 64 in str(caught.value) and sha256_of(file) in str(caught.value)
        assert not (tmp_path / "cache").exists()


class TestConversion:
    def test_the_second_time_reads_what_the_first_has_written(self, file: Path, tmp_path: Path) -> None:
        first = _load(file, cache=tmp_path / "cache")
        (folder,) = (tmp_path / "cache").iterdir()
        assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "weights.safetensors"]
        manifest = json.loads((folder / "manifest.json").read_text())
        assert (manifest["sha256"], manifest["source"]) == (sha256_of(file), "swav.pth.tar")
        assert manifest["files"] == {"weights.safetensors": sha256_of(folder / "weights.safetensors")}
        written = (folder / "weights.safetensors").stat().st_mtime_ns
        second = _load(file, cache=tmp_path / "cache")
        assert (folder / "weights.safetensors").stat().st_mtime_ns == written
        assert second.report == first.report
        assert second.network.keys() == first.network.keys()
        assert all(torch.equal(tensor, first.network[key]) for key, tensor in second.network.items())

    def test_with_its_hash_it_needs_no_published_file_any_more(self, file: Path, tmp_path: Path) -> None:
        digest = _load(file, cache=tmp_path / "cache").sha256
        file.unlink()
        assert _load(file, cache=tmp_path / "cache", sha256=digest).report.num_head == 9
        with pytest.raises(DataError, match="no such file"):
            _load(file, cache=tmp_path / "cache")

    @pytest.mark.parametrize("name", ["weights.safetensors", "manifest.json"])
    def test_damage_is_noticed(self, file: Path, tmp_path: Path, name: str) -> None:
        _load(file, cache=tmp_path / "cache")
        (folder,) = (tmp_path / "cache").iterdir()
        content = bytearray((folder / name).read_bytes())
        content[len(content) // 2] ^= 0xFF
        (folder / name).write_bytes(content)
        with pytest.raises(DataError, match=r"is damaged \(.*\); delete the folder, it will be written again"):
            _load(file, cache=tmp_path / "cache")

    def test_a_hash_that_begins_alike_is_another_one(self, file: Path, tmp_path: Path) -> None:
        digest = _load(file, cache=tmp_path / "cache").sha256
        alike = digest[:12] + digest[12:][::-1]
        with pytest.raises(DataError, match=f"converted from a file with sha256 {digest}, not {alike}"):
            _load(file, cache=tmp_path / "cache", sha256=alike)

    def test_choices_do_not_share_a_folder(self, file: Path, tmp_path: Path) -> None:
        _load(file, cache=tmp_path / "cache")
        assert _load(file, cache=tmp_path / "cache", parts="backbone").head == {}
        assert len(list((tmp_path / "cache").iterdir())) == 2

    def test_a_cache_that_cannot_be_written(self, file: Path, tmp_path: Path) -> None:
        (tmp_path / "cache").write_text("a file")
        with pytest.raises(DataError, match=r"cannot write the converted checkpoint to .*choose another cache"):
            _load(file, cache=tmp_path / "cache")

    def test_a_file_that_does_not_fit_leaves_nothing(self, tmp_path: Path, state: State) -> None:
        del state["module.conv1.weight"]
        with pytest.raises(DataError):
            _load(_save(tmp_path / "file.pth", state), cache=tmp_path / "cache")
        assert not (tmp_path / "cache").exists()
