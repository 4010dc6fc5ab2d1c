"""What all rules share: the study, the results folder, and what a rule tracks beside its inputs."""

import re
import sys
from functools import lru_cache
from operator import attrgetter

from snakemake.exceptions import WorkflowError
from snakemake.io import is_flagged
from snakemake.logging import get_event, logger
from snakemake_interface_logger_plugins.common import LogEvent

from retscale import paths
from retscale.cluster import launch as cluster_launch
from retscale.cluster import resources as cluster
from retscale.cluster import site as sites
from retscale.cluster.needs import needs
from retscale.errors import UserError
from retscale.plan.costs import Costs
from retscale.provenance import code
from retscale.study import check, load, preflight, source_files, specs

# Before each command: what it prints goes to its log, which keeps all attempts, each below a header, until one ends well.
# Snakemake removes the log before an attempt, so it has a second name, LOG~, which also says that the job is unfinished.
shell.prefix("""
set -euo pipefail
attempt() {{
    log=$1
    ln -f "$log~" "$log" 2> /dev/null || :
    exec >> "$log" 2>&1
    echo "--- attempt $(($(grep -c '^--- attempt ' "$log" || :) + 1)), $(date -u +%FT%TZ),"\\
        "$HOSTNAME${{SLURM_JOB_ID:+, Slurm job $SLURM_JOB_ID}}"
    ln -f "$log" "$log~" 2> /dev/null || : > "$log~"
}}
""")
shell.suffix('&& rm -f "$log~"')

# Of two options --configfile Snakemake itself takes the last and says nothing.
options = [option.partition("=")[0] in ("--configfile", "--configfiles") for option in sys.argv]
if sum(options) > 1 or len(workflow.configfiles) > 1 or workflow.config_settings.config:
    raise WorkflowError(
        "a study is one file: give one --configfile and no --config (also in a profile); to change a key, edit the file"
    )
try:
    study = load.study(Path(workflow.configfiles[-1]))
    preflight.check_wheels(study)
    preflight.check_tables(study)
    # A cluster's profile names its site file as a resource of every job, so the jobs know it too.
    site_file = (workflow.resource_settings.default_resources or {}).get("site")
    site = site_file and sites.read(Path(site_file.raw))
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
    return lambda wildcards: specs.dump(job_spec(cut, *(wildcards[name] for name in names)))


def files(stage, cut, *names):
    """The params function of a rule: a digest of the files on this machine that a job reads and that no job makes.

    They are no inputs, since Snakemake takes {braces} in the names of inputs for wildcards, and compares times where a
    file is large: here only contents count.
    """
    return lambda wildcards: source_files.digest(
        *source_files.files(stage, job_spec(cut, *(wildcards[name] for name in names)))
    )


costs = Costs(study, Path(out))
LAUNCH_HERE = cluster_launch.command(1, 1, False, False)


@lru_cache(None)
def allotted(stage, *name, attempt):
    return cluster.resources(needs(costs, stage, name), site, attempt)


def of_job(read, stage, names, about=()):
    """The function of a rule's resource: what `read` says of what the job about the wildcards `names` and `about` gets."""
    return lambda wildcards, attempt: read(
        allotted(stage, *(wildcards[name] for name in names), *about, attempt=attempt)
    )


def threads(stage, *names, about=()):
    return of_job(attrgetter("cores"), stage, names, about) if site else 1


def resources(stage, *names, about=()):
    """On a cluster everything that Slurm asks for; on this machine a job just runs."""
    return {key: of_job(read, stage, names, about) for key, read in cluster.SNAKEMAKE.items()} if site else {}


def launch(*names):
    """The start of a training's command. As a resource it belongs to the machine: no result depends on it."""
    return of_job(attrgetter("launch"), "finetune", names) if site else LAUNCH_HERE


# Downloads run with Snakemake itself, on the login node, where the site file says that compute nodes have no network.
fetched_here = bool(site) and site.fetch == "login"

# On a cluster the short jobs of the end share one allocation.
group_of_report = "report" if site else None


def digest(stage):
    return code.digest(f"retscale.{stage}.run")


def remove_forced():
    """A batch keeps those of its outputs that their records vouch for, so what is made again by force must go first."""
    forced = [] if workflow.touch else [job for job in workflow.dag.needrun_jobs() if workflow.dag.reason(job).forced]
    for output in (output for job in forced for output in job.output):
        if is_flagged(output, "update"):
            Path(output).unlink(missing_ok=True)


class Summary:
    """A filter of Snakemake's messages for a dry run: no jobs one by one, but how to see them, and nothing twice."""

    def __init__(self):
        self.said = set()

    def filter(self, record):
        record.msg = str(record.msg).replace("check individual jobs above for details", "for each job: snakemake -n -p")
        new = record.msg not in self.said
        self.said.add(record.msg)
        return new and get_event(record) not in (LogEvent.JOB_INFO, LogEvent.GROUP_INFO, LogEvent.SHELLCMD)


if workflow.output_settings.dryrun and not (
    workflow.output_settings.printshellcmds or workflow.output_settings.verbose
):
    logger.addFilter(Summary())


wildcard_constraints:
    checkpoint="[a-z0-9][a-z0-9._-]*",
    encoder="[a-z0-9][a-z0-9._-]*",
    pairs="[a-z0-9][a-z0-9._-]*",
    recipe="[a-z0-9][a-z0-9._-]*",
    step="[0-9]+",
    task="[a-z0-9][a-z0-9._-]*",
