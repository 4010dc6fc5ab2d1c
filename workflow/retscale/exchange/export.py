"""`retscale export STUDY --format mteb --out FOLDER`: the scores of a study that has run, for other tools."""

import argparse
from pathlib import Path

from retscale import paths
from retscale.common.tables import read_table
from retscale.common.terminal import answer
from retscale.encoder.card import EncoderCard
from retscale.encoder.config import REFERENCE
from retscale.errors import UserError
from retscale.exchange import mteb_files
from retscale.provenance import record
from retscale.study import load
from retscale.study.results import finished
from retscale.study.study import Study


def main(arguments: argparse.Namespace) -> int:
    """Write them, and say which tasks mteb does not have; UserError if the study has not run."""
    study = load.study(arguments.study)
    if study.published:
        raise UserError(f"{arguments.study} consists of results that others published; there are none of its own")
    collect = finished(study, arguments.study, ("collect",))["collect"]
    for line in export(study, collect, arguments.out):
        answer(line)
    return 0


def export(study: Study, collect: Path, out: Path) -> list[str]:
    """Write mteb's files of every encoder that is scored on all tasks; what there is to say about them."""
    settings = study.file.fit.metric, study.file.evaluate.relevant
    tasks = {id: mteb_files.mteb_task(id, task, settings[0]) for id, task in study.tasks.items()}
    scores = read_table(collect, "scores").dropna(subset="value")
    scores = scores[scores["recipe"] != REFERENCE]  # no model
    results, models, unscored = paths.Results(str(paths.folder(study.name))), 0, set()
    for (checkpoint, recipe), of_encoder in scores.groupby(["checkpoint", "recipe"], sort=True):
        encoder = Path(results.encoder(checkpoint, recipe))
        revision = record.digest(record.read(encoder))
        meta = mteb_files.model_meta(name_of(checkpoint, recipe), revision, EncoderCard.read(encoder))
        files = []
        for id, rows in of_encoder.groupby("task", sort=True):
            values = mteb_files.by_mtebs_names(dict(zip(rows["metric"], rows["value"])), settings[1])
            if tasks[id].main_score in values:
                files.append(mteb_files.task_result(tasks[id], values))
            else:
                unscored.add(f"{id} ({tasks[id].main_score})")
        mteb_files.write(out, meta, files)
        models += 1
    own = [id for id, task in tasks.items() if task.revision == mteb_files.UNKNOWN]
    said = {
        f"not as mteb has them, so under their ids and of revision {mteb_files.UNKNOWN}": own,
        "left out for want of their main score": sorted(unscored),
    }
    return [
        f"{out / 'results'}: {models} models, {len(tasks) - len(unscored)} tasks",
        *(f"{what}: {', '.join(ids)}" for what, ids in said.items() if ids),
    ]


def name_of(checkpoint: str, recipe: str) -> str:
    """What other tools call an encoder of a study."""
    return f"retscale/{checkpoint}-{recipe}"
