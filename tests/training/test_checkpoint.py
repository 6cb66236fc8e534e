"""A checkpoint is whole or refused."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import torch

from study.errors import CheckpointError
from study.training.checkpoint import load_checkpoint, save_checkpoint

STATE: dict[str, Any] = {
    "step": 7,
    "network": {"weight": torch.arange(6.0).reshape(2, 3), "num_batches_tracked": torch.tensor(7)},
    "optimizer": {
        "state": {0: {"step": torch.tensor(7.0), "exp_avg": torch.ones(2, 3)}},
        "param_groups": [{"lr": 1e-3}],
    },
}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "checkpoint.pt", STATE)
    return tmp_path / "checkpoint.pt"


def test_it_comes_back_as_it_was(checkpoint: Path) -> None:
    state = load_checkpoint(checkpoint)
    assert state["step"] == 7 and state["optimizer"]["param_groups"] == [{"lr": 1e-3}]
    assert torch.equal(state["network"]["weight"], STATE["network"]["weight"])
    assert [path.name for path in checkpoint.parent.iterdir()] == ["checkpoint.pt"]


def test_memory_format_survives(tmp_path: Path) -> None:
    weight = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(0)).to(memory_format=torch.channels_last)
    save_checkpoint(tmp_path / "c.pt", {"w": weight})
    loaded = load_checkpoint(tmp_path / "c.pt")["w"]
    assert torch.equal(loaded, weight) and loaded.stride() == weight.stride()


def test_truncation_anywhere_is_noticed(checkpoint: Path) -> None:
    content = checkpoint.read_bytes()
    for length in (*range(200), *range(200, len(content), 97), len(content) - 1):
        checkpoint.write_bytes(content[:length])
        with pytest.raises(CheckpointError, match=r"checkpoint\.pt is truncated or damaged"):
            load_checkpoint(checkpoint)


def test_a_changed_byte_anywhere_is_noticed(checkpoint: Path) -> None:
    content = checkpoint.read_bytes()
    for position in (*range(100), *range(100, len(content), 7)):
        damaged = bytearray(content)
        damaged[position] ^= 0x01
        checkpoint.write_bytes(damaged)
        with pytest.raises(CheckpointError):
            load_checkpoint(checkpoint)


def test_bytes_after_the_end_are_noticed(checkpoint: Path) -> None:
    checkpoint.write_bytes(checkpoint.read_bytes() + b"\0")
    with pytest.raises(CheckpointError):
        load_checkpoint(checkpoint)


def test_a_missing_checkpoint_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_checkpoint(tmp_path / "checkpoint.pt")


def test_the_old_one_stays_when_a_new_one_cannot_be_made(checkpoint: Path) -> None:
    with pytest.raises((AttributeError, TypeError)):
        save_checkpoint(checkpoint, {"step": 8, "unpicklable": io.BytesIO().getbuffer()})
    assert load_checkpoint(checkpoint)["step"] == 7


class Trap:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("sprung"),))


def test_no_code_is_run_on_loading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_checkpoint(tmp_path / "checkpoint.pt", {"step": 1, "trap": Trap()})
    with pytest.raises(Exception, match=r"(?i)weights_only|unsupported|global"):
        load_checkpoint(tmp_path / "checkpoint.pt")
    assert not (tmp_path / "sprung").exists()
