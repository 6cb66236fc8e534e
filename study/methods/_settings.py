"""Ranges of settings that several methods have."""

from __future__ import annotations

import math


def require_at_least(settings: object, least: int, *names: str) -> None:
    """Raise ValueError unless the named fields are at least `least`."""
    for name in names:
        if getattr(settings, name) < least:
            raise ValueError(f"{name} must be >= {least}, but got {name}={getattr(settings, name)}")


def require_positive(settings: object, *names: str) -> None:
    """Raise ValueError unless the named fields are finite and positive."""
    for name in names:
        if not 0 < (value := getattr(settings, name)) < math.inf:
            raise ValueError(f"{name} must be finite and > 0, but got {name}={value:g}")


def require_weights(settings: object, *names: str) -> None:
    """Raise ValueError unless the named fields are finite and not negative."""
    for name in names:
        if not 0 <= (value := getattr(settings, name)) < math.inf:
            raise ValueError(f"{name} must be finite and >= 0, but got {name}={value:g}")


def require_momentum(settings: object, *names: str) -> None:
    """Raise ValueError unless the named fields lie in [0, 1]."""
    for name in names:
        if not 0 <= (value := getattr(settings, name)) <= 1:
            raise ValueError(f"{name} must lie in [0, 1], but got {name}={value:g}")
