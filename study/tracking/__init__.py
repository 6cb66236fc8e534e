"""Tracking: journals are copied to MLflow, which may be down, wiped, shared, changed behind our back, or rebuilt.

    publisher            one pass over a study and its bases
    follow, process      pass after pass, beside an orchestrator
    study_pass           the study: its experiment, the run that stands for it (parent), the runs below (groups)
    runs                 one run; journals reads on where the last pass ended
    tracked              the tracked run for something of ours: found, brought back, created, or superseded
    census               is everything still there?
    identity             whose is it?
    describe, summary    what is said in the tracker, and to the user
    progress, ledger, glance    how far which store has got, and what tells that there is news
    base                 what a tracker must offer; mlflow_tracker and the other mlflow_… modules offer it
    reader               what was published comes back
    store                where the store is

The home is the truth. What was deleted in MLflow is restored or published anew; what another home has published is
never written to; and a tracked run is about one training: another one gets its own, and the old one is marked.
No module but `reader` and the `mlflow_…` ones imports mlflow.
"""
