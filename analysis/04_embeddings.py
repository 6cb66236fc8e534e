# %% [markdown]
# # Embeddings
#
# How the projections of the test images are distributed before and after continuing; no label is read.
# Nothing but figures is written: to `FIGURES_DIR`, or `report/figures` of the study. Set `STUDY_DIR` to the directory
# of another study; a study that is still running shows what it has.

# %%
import os
import sys
from pathlib import Path

sys.path.insert(0, str(next(f for f in (Path.cwd() / "_").parents if (f / "analysis/frames.py").is_file())))

from analysis import style
from analysis.embeddings import EVALUATION, correlations_frame, marginals_frame
from analysis.figures.correlations import correlations
from analysis.figures.marginals import marginals
from analysis.frames import load_plan, runs_frame
from analysis.gallery import Gallery
from analysis.reasons import why_no_embeddings

study_root = Path(sys.path[0]) / os.environ.get("STUDY_DIR", "studies/fashion-mnist-ablation")
plan, runs = load_plan(study_root), runs_frame(study_root)
gallery = Gallery.of(study_root, plan.study, "04_embeddings", runs)
colours = style.arm_colours(plan)
confirmed = runs.loc[runs["phase"] == "confirm", "run_id"]
before = next((arm.name for arm in plan.arms if not arm.continued), None)
print(f"{plan.study}: {plan.question}")

# %%
histograms = marginals_frame(study_root, runs, plan)
nothing = why_no_embeddings(runs, plan, EVALUATION)
gallery.add("marginals", marginals(histograms, before=before, colours=colours, nothing=nothing), confirmed)

# %%
matrices = correlations_frame(study_root, runs, plan)
gallery.add("correlations", correlations(matrices, colours=colours, nothing=nothing), matrices["run_id"])
