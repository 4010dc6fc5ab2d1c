"""What the jobs get on a cluster, and where they run there; on this machine a job just runs."""

from functools import lru_cache
from operator import attrgetter

from retscale.cluster import launch as launcher
from retscale.cluster import resources as cluster
from retscale.cluster import site as sites
from retscale.cluster.needs import needs
from retscale.plan.costs import Costs

# A cluster's profile names its site file as a resource of every job, so that the jobs know it too.
site_file = (workflow.resource_settings.default_resources or {}).get("site")
try:
    site = site_file and sites.read(Path(site_file.raw))
except UserError as error:
    raise WorkflowError(str(error))

costs = Costs(study, Path(out))
LAUNCH_HERE = launcher.command(1, 1, False, False)


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
