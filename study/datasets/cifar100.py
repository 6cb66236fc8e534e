"""CIFAR-100: 60,000 colour images of a hundred kinds of things, 32×32."""

from __future__ import annotations

from dataclasses import dataclass

from study.datasets._cifar import CIFAR


@dataclass(frozen=True)
class CIFAR100(CIFAR):
    """CIFAR-100 with its fine labels; the settings are those of `CIFAR`.

    Source: Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images",
    https://www.cs.toronto.edu/~kriz/cifar.html (the Python version).
    """

    num_classes = 100
    title = "CIFAR-100"
    name = "cifar100"
    base_folder = "cifar-100-python"
    train_files = ("train",)
    test_files = ("test",)
    label_key = "fine_labels"

    @property
    def help_text(self) -> str:
        """What helps when the files are not found."""
        return """\
One of these helps:
  - unpack https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz into <root>
  - set STUDY_DATA=<root>, where <root> already holds cifar-100-python"""
