"""What a study lacks for a figure."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from retscale.figure.figures import FIGURES, Need
from retscale.icl.average import averages
from retscale.study import catalog, comparisons

if TYPE_CHECKING:
    from retscale.checkpoint.config import Checkpoint
    from retscale.study.study import Study


# The fewest checkpoints of a trend and of a choice of forms. CONTROLLED: for correlations beyond compute, besides one of
# each size (fit/partial.py).
TREND, FORMS, CONTROLLED = 3, 5, 15


def missing_for(study: Study, figure: str) -> str:
    """What the study lacks for `figure` to show anything; empty if nothing."""
    return next(filter(None, (NEEDS[need](study) for need in FIGURES[figure].needs)), "")


def _missing_kept(study: Study) -> str:
    return "" if study.kept_encoders else "no recipe keeps encoders during training (`keep`)"


def _missing_training(study: Study) -> str:
    return "" if study.trained else "nothing is trained"


def _missing_cut(study: Study) -> str:
    return "" if study.cuts else "no task is a cut of another one of the study (`cut_of`)"


def _missing_compute(study: Study) -> str:
    if study.published:  # known from the table of models, which is read later
        return ""
    reason = f"the main recipe, {_main(study)}, trains no checkpoint whose pretraining tokens are known"
    return "" if _drawn(study) else reason


def _fewest(n: int, study: Study) -> str:
    if study.published or len(fitted := _fitted(study)) >= n:
        return ""
    return f"it needs {n} checkpoints of role `fit`, and the main recipe trains {len(fitted)}"


def _missing_beyond(study: Study) -> str:
    return _fewest(len({study.checkpoints[id].size for id in _fitted(study)}) + CONTROLLED, study)


def _fitted(study: Study) -> list[str]:
    return [id for id in _drawn(study) if study.checkpoints[id].role == "fit"] if study.ladders else []


def _missing_mean(study: Study) -> str:
    if study.published:  # a group has a score of its own
        return ""
    missing = sorted({task for parts in study.headline.values() for task in parts} - study.tasks.keys())
    return f"there is no mean over all tasks without {', '.join(missing)}" if missing else ""


def _missing_recipe(study: Study) -> str:
    main, *others = study.ladders or ["published"]
    if any(_drawn(study) & set(study.ladders[other]) for other in others if other not in study.untuned):
        return ""
    return f"no second recipe trains a checkpoint that the main recipe, {main}, does"


def _main(study: Study) -> str:
    return next(iter(study.ladders))


def _drawn(study: Study) -> set[str]:
    """The checkpoints of the main recipe whose FLOPs are known."""
    return {id for id in study.ladders[_main(study)] if _compute_known(study.checkpoints[id])}


def _compute_known(checkpoint: Checkpoint) -> bool:
    return checkpoint.role != "external" and (checkpoint.source.kind == "pretrain" or checkpoint.tokens is not None)


def _missing_icl(study: Study) -> str:
    """What the in-context axis lacks: a score of every in-context task, or the study's first average of the gauntlet."""
    scored = [id for id, task in study.icl.items() if task.scored]
    if not scored:
        return "no in-context task has a score (`icl`)"
    if study.file.averages:
        results = averages(dict.fromkeys(scored, (0.0, 0.0)), catalog.gauntlet(study.file.averages[0]))
        if missing := next(average for average in results if average.kind == "average").missing:
            return f"the first of `averages`, {study.file.averages[0]}, needs the missing {', '.join(missing)}"
    return ""


def _missing_in_domain(study: Study) -> str:
    firsts = {
        id: recipe for recipe, ids in reversed(study.ladders.items()) if recipe not in study.untuned for id in ids
    }
    own = [study.in_domain_by_recipe.get(recipe, study.in_domain) for recipe in firsts.values()] or [study.in_domain]
    return "" if any(own) else "no task is of the training data (`tasks` of an entry of `pairs`)"


def _missing_families(study: Study) -> str:
    if study.published:  # known from the table of models
        return ""
    trained = {id for ids in study.trained.values() for id in ids if study.checkpoints[id].role != "external"}
    families = {study.checkpoints[id].family for id in trained}
    return "" if len(families) > 1 else "its checkpoints are of one family, which figure 1b shows"


def _missing_length(study: Study) -> str:
    return "" if study.encoders_at_lengths else "no encoder reads documents of another length (`lengths`)"


def _missing_instruction(study: Study) -> str:
    pairs = comparisons.of(study)
    return "" if pairs.asked else "no task is asked with instructions and, as another task, without"


def _missing_mixture(study: Study) -> str:
    pairs = comparisons.of(study)
    return "" if pairs.mixed else "no recipe trains on a mixture that another trains on a part of, alike but for that"


NEEDS: dict[Need, Callable[[Study], str]] = {
    "compute": _missing_compute,
    "trend": partial(_fewest, TREND),
    "forms": partial(_fewest, FORMS),
    "beyond compute": _missing_beyond,
    "mean": _missing_mean,
    "second recipe": _missing_recipe,
    "in-context score": _missing_icl,
    "kept encoder": _missing_kept,
    "training": _missing_training,
    "cut": _missing_cut,
    "in-domain task": _missing_in_domain,
    "several families": _missing_families,
    "further length": _missing_length,
    "instruction": _missing_instruction,
    "mixture": _missing_mixture,
}
