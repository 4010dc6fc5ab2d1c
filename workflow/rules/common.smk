"""What all rules share: the study, the results folder, and the two things a rule tracks."""

from snakemake.exceptions import WorkflowError

from retscale.errors import UserError
from retscale.provenance import code
from retscale.study import check, here, load, specs

try:
    study = load.study(Path(workflow.configfiles[-1]))
    here.check_wheels(study)
    here.check_tables(study)
except UserError as error:
    raise WorkflowError(str(error))

out = f"results/{study.name}"
logs = f"logs/{study.name}"


def spec(cut, *names):
    """The params function of a rule: the spec that `cut` makes for the wildcards `names`, as one JSON string."""
    return lambda wildcards: specs.dump(cut(study, *(wildcards[name] for name in names)))


def digest(stage):
    return code.digest(f"retscale.{stage}.run")


wildcard_constraints:
    checkpoint="[a-z0-9][a-z0-9._-]*",
    encoder="[a-z0-9][a-z0-9._-]*",
    pairs="[a-z0-9][a-z0-9._-]*",
    recipe="[a-z0-9][a-z0-9._-]*",
    step="[0-9]+",
    task="[a-z0-9][a-z0-9._-]*",
