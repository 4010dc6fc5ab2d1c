"""The site file: what a cluster has and how jobs get there, the only file that a site edits."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from retscale.common.strict import Strict
from retscale.errors import UserError
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


def read(path: Path) -> Site:
    """UserError names what is wrong, and where."""
    content = yaml.read(path)
    if not isinstance(content, dict):
        raise UserError(f"{path}: a site file is a mapping; see profiles/slurm/site.yaml")
    return validate(Site, content, str(path))
