"""Results of a study that has run, for those who ask about it."""

from pathlib import Path

from retscale import paths
from retscale.errors import UserError
from retscale.study.study import Study


def finished(study: Study, file: Path, stages: tuple[str, ...]) -> dict[str, Path]:
    """The declared output of each of these stages; UserError if one has not been made. `file` is the study's own."""
    results = paths.Results(str(paths.folder(study.name)))
    outputs = {stage: Path(getattr(results, stage)()) for stage in stages}
    for path in outputs.values():
        if not path.is_file():
            raise UserError(f"{path} is missing; run the study first: snakemake --profile local --configfile {file}")
    return outputs
