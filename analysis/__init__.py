"""Runs → tidy tables → statistics, tables, figures. Table in, table out; the notebooks only call it."""
