"""Resources of jobs on a cluster or a workstation, and where they run; with the profile `local` jobs need none of this."""

from functools import lru_cache, partial
from operator import attrgetter

from snakemake.logging import logger

from retscale.cluster import gpus
from retscale.cluster import launch as launcher
from retscale.cluster import resources as cluster
from retscale.cluster import show
from retscale.cluster import site as sites
from retscale.cluster import workstation
from retscale.cluster.needs import needs
from retscale.plan.costs import Costs

# The profile of a cluster or a workstation names its site file as a resource of every job, so that the jobs know it too.
site_file = (workflow.resource_settings.default_resources or {}).get("site")
try:
    site = site_file and sites.read(Path(site_file.raw))
except UserError as error:
    raise WorkflowError(str(error))

on_workstation = bool(site) and site.this_machine
if on_workstation:
    logger.info(f"this machine has {workstation.describe(site)}")
    for name, limit in workstation.limits(site).items():
        if name not in workflow.global_resources:  # or else --resources gives less
            workflow.register_resource(name, limit)

costs = Costs(study, Path(out))
# Checked once before the first job, and not again in every job.
if site and workflow.is_main_process and (too_large := show.unfit(show.allotted(costs, site))):
    raise WorkflowError("\n".join(f"{site_file.raw}: {line}" for line in too_large))
tracker = study.file.tracker
tracked = launcher.tracked(tracker, paths.tracked(study.name, tracker)) if tracker else ""
LAUNCH_HERE = tracked + launcher.command(1, 1, False, False)


@lru_cache(None)
def allotted(stage, *name, attempt):
    return cluster.resources(needs(costs, stage, name), site, attempt)


def of_job(read, stage, names, about=()):
    """The function of a rule's resource: what `read` says of what the job about the wildcards `names` and `about` gets."""
    return lambda wildcards, attempt: read(
        allotted(stage, *(wildcards[name] for name in names), *about, attempt=attempt)
    )


def threads(stage, *names, about=()):
    read = partial(workstation.cores, site) if on_workstation else attrgetter("cores")
    return of_job(read, stage, names, about) if site else 1


def resources(stage, *names, about=()):
    """Everything that Slurm asks for, or that jobs of a workstation share."""
    return {key: of_job(read, stage, names, about) for key, read in cluster.SNAKEMAKE.items()} if site else {}


# How a command starts is a resource, because it belongs to the machine: no result depends on it.
def start(stage, *names, about=()):
    """The start of a command that computes with a model: Slurm has given it its GPUs, on a workstation it takes them."""
    return of_job(lambda given: gpus.with_gpus(given.gpus, ""), stage, names, about) if on_workstation else ""


def launch(*names):
    """The start of a training's command, with a launcher if it needs one."""
    if on_workstation:
        return of_job(lambda given: gpus.with_gpus(given.gpus, f"env {tracked}{given.launch}"), "finetune", names)
    return of_job(lambda given: tracked + given.launch, "finetune", names) if site else LAUNCH_HERE


# Downloads run with Snakemake itself, on the login node, where the site file says that compute nodes have no network.
fetched_here = bool(site) and site.fetch == "login"

# On a cluster the short last jobs share one allocation.
group_of_report = "report" if site and not on_workstation else None
