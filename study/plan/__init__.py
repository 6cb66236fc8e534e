"""From a sweep file to runs: yaml_text → overrides → salvage → load → Plan → expand → RunSpec → run directory.

Loading collects problems instead of stopping at the first: `salvage` keeps what the `schema` accepts of a wrong file,
so that `components`, `arms` and `checks` can judge the rest. A plan knows components by name alone
(`study.registry`), so that a new file is a new choice.
"""
