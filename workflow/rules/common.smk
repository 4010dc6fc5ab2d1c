"""Shared by all rules: the study, the results folder, and the params that a rule tracks besides its inputs."""

import re
import sys
from functools import lru_cache

from snakemake.exceptions import WorkflowError
from snakemake.io import is_flagged

from retscale import paths
from retscale.common.canonical import canonical
from retscale.encoder.config import GIVEN
from retscale.errors import UserError
from retscale.provenance import code_cache
from retscale.study import load, overview, preflight, rule_groups, source_files, specs

# Given --configfile twice, Snakemake silently uses the last one.
options = [option.partition("=")[0] in ("--configfile", "--configfiles") for option in sys.argv]
if sum(options) > 1 or len(workflow.configfiles) > 1 or workflow.config_settings.config:
    raise WorkflowError(
        "a study is one file: give one --configfile and no --config (also in a profile); to change a key, edit the file"
    )
try:
    study = load.study(Path(workflow.configfiles[-1]))
    preflight.check_wheels(study)
    preflight.check_tracker(study)
    preflight.check_tables(study)
except UserError as error:
    raise WorkflowError(str(error))

results = paths.Results(str(paths.folder(study.name)))
out = results.root
logs = str(paths.logs(study.name))


@lru_cache(8)  # both params of a job, at least
def job_spec(cut, *ids):
    return cut(study, *ids)


def spec(cut, *names):
    """The params function of a rule: the spec that `cut` makes for the wildcards `names`, as one JSON string."""
    return lambda wildcards: canonical(job_spec(cut, *(wildcards[name] for name in names)))


def files(stage, cut, *names):
    """The params function of a rule: a digest of the files on this machine that a job reads and that no job makes.

    They are no inputs, since Snakemake takes {braces} in the names of inputs for wildcards, and compares times where a
    file is large: here only contents count.
    """
    return lambda wildcards: source_files.digest(
        *source_files.files(stage, job_spec(cut, *(wildcards[name] for name in names)))
    )


def given_first(wildcards):
    """The priority of what an encoder made elsewhere needs: it waits for no training, and may be larger than all others."""
    return 2 if wildcards.recipe == GIVEN else 0


def digest(stage):
    return code_cache.digest(f"retscale.{stage}.run")[0]


def only(group):
    """The wildcard constraints that limit a rule to the encoders of `group`.

    The recipe suffices, unless several groups have encoders of one recipe: then the checkpoint must be followed by its
    recipe in the path.
    """
    if group.whole:
        return {"recipe": "|".join(map(re.escape, group.recipes))}
    encoders = "|".join(re.escape(f"{checkpoint}/{recipe}/") for checkpoint, recipe in group.encoders)
    return {"checkpoint": f"(?={encoders})[^/]+"}


def one_of(tasks):
    """A constraint of the wildcard `task`, which matches nothing if there are no tasks."""
    return "|".join(map(re.escape, tasks)) or "(?!)"


def remove_forced():
    """Remove the outputs that are to be made again by force: a batch would keep those that their records vouch for."""
    forced = [] if workflow.touch else [job for job in workflow.dag.needrun_jobs() if workflow.dag.reason(job).forced]
    for output in (output for job in forced for output in job.output):
        if is_flagged(output, "update"):
            Path(output).unlink(missing_ok=True)


wildcard_constraints:
    checkpoint="[a-z0-9][a-z0-9._-]*",
    encoder="[a-z0-9][a-z0-9._-]*",
    pairs="[a-z0-9][a-z0-9._-]*",
    recipe="[a-z0-9][a-z0-9._-]*",
    reference="[a-z0-9][a-z0-9._-]*",
    step="[0-9]+",
    task="[a-z0-9][a-z0-9._-]*",
