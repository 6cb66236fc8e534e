# %% [markdown]
# # Main results
#
# The tables and the figure of one study, read from its journals. Nothing is written. Set `STUDY_DIR` to the
# directory of another study; a study that is still running shows what it has.

# %%
import os
import sys
from pathlib import Path

sys.path.insert(0, str(next(f for f in (Path.cwd() / "_").parents if (f / "analysis/frames.py").is_file())))

from analysis import style
from analysis.contrasts import confirm_status, declared_contrasts
from analysis.figures.paired_differences import paired_differences
from analysis.findings import caveats, findings
from analysis.frames import load_plan, runs_frame, trials_frame
from analysis.tables import budget_table, comparison_table, contrasts_table, winners_table

study_root = Path(sys.path[0]) / os.environ.get("STUDY_DIR", "studies/fashion-mnist-ablation")
plan, runs, trials = load_plan(study_root), runs_frame(study_root), trials_frame(study_root)
print(f"{plan.study}: {plan.question}")

# %% [markdown]
# ## How far the confirm runs have got

# %%
confirm_status(runs, plan)

# %% [markdown]
# ## Test accuracy (%)
#
# Mean ± half-width of the 95 % t interval over units.

# %%
comparison_table(runs, plan)

# %% [markdown]
# ## Declared contrasts on the primary metric
#
# Paired differences per unit; p after Holm's correction over the whole family.

# %%
contrasts = declared_contrasts(runs, plan)
colours = style.arm_colours(plan)
style.Picture(
    paired_differences(
        contrasts, metric=plan.primary, colours=colours, margin_pp=plan.equivalence_margin_pp, unit=plan.unit
    )
)

# %%
contrasts_table(runs, plan)

# %%
print(*findings(contrasts, plan), *caveats(runs, trials, plan), sep="\n")

# %% [markdown]
# ## What was tuned, and what it cost

# %%
winners_table(trials, plan)

# %%
budget_table(runs, trials, plan)
