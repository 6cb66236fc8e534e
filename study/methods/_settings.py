"""Checks of settings that several methods have in common."""

from __future__ import annotations

import math


def require_weights(settings: object, *names: str) -> None:
    """Raise ValueError unless the named fields are finite and not negative."""
    for name in names:
        if not 0 <= (value := getattr(settings, name)) < math.inf:
            raise ValueError(f"{name} must be finite and >= 0, but got {name}={value:g}")


def require_positive(settings: object, *names: str) -> None:
    """Raise ValueError unless the named fields are finite and positive."""
    for name in names:
        if not 0 < (value := getattr(settings, name)) < math.inf:
            raise ValueError(f"{name} must be finite and > 0, but got {name}={value:g}")
