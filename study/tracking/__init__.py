"""Tracking: journals are copied to MLflow, which may be down, wiped or rebuilt.

    publisher        one pass: copies what is new
    follow           pass after pass, beside an orchestrator
    describe         what is said about a run
    progress         how far which store has got
    base             what a tracker must offer
    mlflow_tracker   MLflow offers it
    reader           what was published comes back
    store            where the store is

No module but `mlflow_tracker` and `reader` imports mlflow.
"""
