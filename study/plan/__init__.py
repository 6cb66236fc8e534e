"""From a sweep file to runs: yaml_text → schema → load → Plan → expand → RunSpec → run directory.

A plan knows components by name alone (`study.registry`), so that a new file is a new choice.
"""
