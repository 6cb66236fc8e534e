"""Observe (snapshot) → decide (a pure function) → act (idempotent steps), until nothing is left to do."""
