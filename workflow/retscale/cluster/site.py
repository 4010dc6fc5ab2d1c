"""The site file: what a cluster has and how jobs get there, the only file that a site edits."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from retscale.cluster import workstation
from retscale.common.phrase import hint
from retscale.common.strict import Strict
from retscale.errors import UserError
from retscale.plan.sizes import catalog_sizes
from retscale.stages import STAGES
from retscale.study import yaml
from retscale.study.validation import validate

Count = Annotated[int, Field(ge=1)]
Amount = Annotated[float, Field(gt=0)]


class Nodes(Strict):
    """The nodes of one partition."""

    partition: str = Field("", description="empty: the cluster's default")
    cores: Count = Field(description="of a node")
    memory_gb: Amount = Field(description="that jobs may use on a node")
    hours: Amount = Field(description="the longest time that a job may ask for")


class GpuNodes(Nodes):
    gpus: Count = Field(description="of a node")
    nodes: Count = Field(1, description="the most nodes of one training")
    model: str = Field("", description="the GPU's type in Slurm's GRES, if jobs must name it")
    kind: str = Field("h100", description="a GPU of config/catalog/sizes.yaml, to estimate times")
    gpu_memory_gb: Amount = Field(description="of one GPU")


class Override(Strict):
    """What replaces the estimate of a stage; what is not given stays."""

    gpus: Count | None = Field(None, description="of all nodes together")
    nodes: Count | None = None
    memory_gb: Amount | None = Field(None, description="of each node")
    cores: Count | None = Field(None, description="of each node")
    hours: Amount | None = None


class Site(Strict):
    this_machine: bool = Field(
        False, description="no cluster: jobs run here, and what the file does not say of this machine is looked up"
    )
    account: str = Field("", description="empty: the user's default")
    cpu: Nodes
    gpu: GpuNodes | None = Field(None, description="none: everything runs on CPUs")
    fetch: Literal["job", "login"] = Field(
        "job", description="where downloads run: in jobs, or with Snakemake itself, where compute nodes have no network"
    )
    scratch: str = Field("", description="a folder for temporary files, on a fast disk of the node")
    setup: str = Field("", description="shell lines before each job, such as `module load cuda`")
    environment: dict[str, str] = Field({}, description="variables of each job, such as HF_HOME")
    options: list[str] = Field([], description="further options of sbatch, such as --qos=long")
    # Stage -> size of the checkpoint, or `all` -> what replaces the estimate.
    stages: dict[str, dict[str, Override]] = Field({}, description="what replaces the estimates, by stage and size")


OF_SLURM = {"account", "fetch", "scratch", "setup", "environment", "options"}


def read(path: Path) -> Site:
    """UserError names what is wrong, and where."""
    values = yaml.read(path)
    if values.get("this_machine") is True:
        values = workstation.nodes() | values
        if of_slurm := sorted(values.keys() & OF_SLURM):
            raise UserError(
                f"{path}: {of_slurm[0]}: only jobs in Slurm use it, and here they run on this machine; remove it"
            )
    site = validate(Site, values, str(path))
    if unknown := sorted(site.stages.keys() - STAGES.keys()):
        raise UserError(f"{path}: stages: unknown stage {unknown[0]!r}{hint(unknown[0], STAGES)}")
    if site.gpu and site.gpu.kind not in (kinds := catalog_sizes()["gpus"]):
        raise UserError(f"{path}: gpu.kind: unknown GPU {site.gpu.kind!r}{hint(site.gpu.kind, kinds)}")
    return site


def of_profile(profile: str) -> Path:
    """The site file that Snakemake's profile of this name, or in this folder, gives its jobs; UserError if it names none."""
    folders = [Path("profiles", profile), Path(profile)]
    config = next((path for folder in folders if (path := folder / "config.yaml").is_file()), None)
    if config is None:
        raise UserError(f"--profile: there is no {folders[0] / 'config.yaml'}")
    defaults = yaml.read(config).get("default-resources")
    if not isinstance(defaults, dict) or "site" not in defaults:
        raise UserError(f"{config}: default-resources names no `site`, so this profile is of no cluster")
    return Path(str(defaults["site"]))
