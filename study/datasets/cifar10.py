"""CIFAR-10: 60,000 colour images of ten kinds of animals and vehicles, 32×32."""

from __future__ import annotations

from dataclasses import dataclass

from study.datasets._cifar import CIFAR


@dataclass(frozen=True)
class CIFAR10(CIFAR):
    """CIFAR-10; the settings are those of `CIFAR`.

    Source: Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images",
    https://www.cs.toronto.edu/~kriz/cifar.html (the Python version).
    """

    num_classes = 10
    title = "CIFAR-10"
    name = "cifar10"
    base_folder = "cifar-10-batches-py"
    train_files = tuple(f"data_batch_{i}" for i in range(1, 6))
    test_files = ("test_batch",)
    label_key = "labels"

    @property
    def help_text(self) -> str:
        """What helps when the files are not found."""
        return """\
One of these helps:
  - unpack https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz into <root>
  - set STUDY_DATA=<root>, where <root> already holds cifar-10-batches-py"""
