"""Components by name, and what is wrong with files that should define one."""

from study.registry.catalogue import base_of, broken, component, file_of, names, path_of, usable
from study.registry.families import FAMILIES
from study.registry.shape import example, signature
from study.registry.trouble import place_of, told

__all__ = [
    "FAMILIES",
    "base_of",
    "broken",
    "component",
    "example",
    "file_of",
    "names",
    "path_of",
    "place_of",
    "signature",
    "told",
    "usable",
]
