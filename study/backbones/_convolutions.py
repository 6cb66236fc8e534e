"""The convolutional stem that the small encoders share."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn


def downsampling_stages(num_channels: int, widths: Sequence[int]) -> nn.Sequential:
    """Build one stage per width: 3×3 convolution with stride 2, batch normalisation, ReLU.

    Every stage halves the side of the image and rounds up (28 → 14 → 7 → 4).
    """
    layers: list[nn.Module] = []
    for inputs, outputs in zip([num_channels, *widths], widths, strict=False):
        layers += [
            nn.Conv2d(inputs, outputs, kernel_size=3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


def downsampled_size(image_size: int, num_stages: int) -> int:
    """Side of the feature maps after `num_stages` stages."""
    for _ in range(num_stages):
        image_size = (image_size + 1) // 2
    return image_size


def require_widths(widths: Sequence[int]) -> None:
    """Raise ValueError unless there is at least one width and all are positive."""
    if not widths or min(widths) < 1:
        raise ValueError(f"widths must be one or more positive numbers, but got widths={tuple(widths)}")
