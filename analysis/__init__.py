"""Runs → tidy tables → statistics, tables, figures. Table in, table out; the notebooks only call it."""

from study import interpreter as _interpreter

if _wrong := _interpreter.what_is_wrong():  # a notebook's kernel may be any Python
    raise ImportError(_wrong)
