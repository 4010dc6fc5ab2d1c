"""Which figures a study has something to show in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retscale.icl.average import averages
from retscale.study import catalog

if TYPE_CHECKING:
    from retscale.checkpoint.config import Checkpoint
    from retscale.study.study import Study


def missing_for(study: Study, figure: str) -> str:
    """What a figure would need to have a point; empty if it has that."""
    if figure == "training":
        return ""
    if figure == "curves":
        return "" if study.kept_encoders else "no recipe keeps encoders during training (`keep`)"
    main, *others = study.trained
    drawn = {id for id in study.trained[main] if _compute_known(study.checkpoints[id])}
    if not drawn:
        return f"the main recipe, {main}, trains no checkpoint whose pretraining tokens are known"
    if figure == "2":
        return ""
    if missing := sorted({task for parts in study.headline.values() for task in parts} - study.tasks.keys()):
        return f"there is no mean over all tasks without {', '.join(missing)}"
    if figure == "ablation" and not any(drawn & set(study.trained[other]) for other in others):
        return f"no second recipe trains a checkpoint that the main recipe, {main}, does"
    return _missing_icl(study) if figure == "3" else ""


def _compute_known(checkpoint: Checkpoint) -> bool:
    return checkpoint.role != "external" and (checkpoint.source.kind == "pretrain" or checkpoint.tokens is not None)


def _missing_icl(study: Study) -> str:
    """What a second axis would need: a score of every in-context task, or the study's first average of the gauntlet."""
    scored = [id for id, task in study.icl.items() if task.scored]
    if not scored:
        return "no in-context task has a score (`icl`)"
    if study.file.averages:
        results = averages(dict.fromkeys(scored, (0.0, 0.0)), catalog.gauntlet(study.file.averages[0]))
        if missing := next(average for average in results if average.kind == "average").missing:
            return f"the first of `averages`, {study.file.averages[0]}, needs the missing {', '.join(missing)}"
    return ""
