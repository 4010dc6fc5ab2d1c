"""What Luo et al. 2024 claim of the six dimensions."""

from dataclasses import replace

import pandas as pd

from retscale.collect.means import MEAN, own_tasks
from retscale.collect.summary import StudySummary
from retscale.common.phrase import counted
from retscale.common.seeds import stream
from retscale.fit import rules
from retscale.fit.backbones import FEWEST, GAIN, NOT_LESS, SAME, over_backbones
from retscale.fit.claim import LUO, OWN, PER_FLOPS, PER_SIZE, Claim
from retscale.fit.comparisons import KIND, TRAINED, TUNED
from retscale.fit.config import Spec
from retscale.fit.dimensions import by_mixtures, firsts, further
from retscale.fit.efficiency import MEASURES, SHARE, fewer_rates, measured, of_means
from retscale.fit.error_rates import Rates
from retscale.fit.ladder import ladder_of
from retscale.fit.points import ENCODER
from retscale.fit.size_growth import size_growth
from retscale.fit.slopes import SIZE

ABSENT = "not measured"


def claims(
    tables: dict[str, pd.DataFrame],
    points: pd.DataFrame,
    scores: pd.DataFrame,
    study: StudySummary,
    growing: Rates,
    spec: Spec,
) -> list[Claim]:
    """What the paper says of the dimensions, beyond growth with size and tokens: of those that the study measures.

    `points`: of finished checkpoints. `scores`: the table of `collect`. `growing`: the rates of growth with tokens on the task
    of the training data.
    """
    about = points.drop_duplicates("checkpoint").drop(columns=["y", "low", "high", "recipe", "task"])
    own, changes = firsts(points, study)[ENCODER].drop_duplicates(), tables["comparisons"]
    longer = further(tables["lengths"].merge(own, on=ENCODER))
    read, unshared = at_shared(longer), "its encoders share no longer length" if len(longer) else ABSENT
    of_finished = changes[changes["checkpoint"].isin(about["checkpoint"])]
    follow = followed(scores[scores["checkpoint"].isin(about["checkpoint"])], study)
    mixed = by_mixtures(of_finished, study)
    every = [
        tokens_in_domain(tables["slopes"], study, growing),
        fewer_pairs(tables["efficiency_trends"], study.main_recipe, needing(tables, points, study.main_recipe, spec)),
        over_backbones(
            "reads-on", f"Encoders lose nothing by reading {length_words(read)} of a document than in their training", NOT_LESS,
            of_backbones(read, "difference"), unshared, spec,
        ),
        with_size(
            "larger-lengths", f"Larger models gain more from reading {length_words(read)} of a document", read, about, unshared, spec
        ),
        replace(over_backbones(
            "instructions-followed", "Training with instructions makes encoders follow them", GAIN,
            of_backbones(follow, "difference"), ABSENT, spec,
        ), detail="p-MRR of an encoder trained with them minus that of one trained without"),
        replace(over_backbones(
            "instructions-help", "Trained and asked with instructions encoders retrieve better than without", GAIN,
            of_backbones(helped(of_finished, study), "difference"), ABSENT, spec,
        ), detail="instructions that name the task"),
        replace(with_size(
            "larger-instructions", "Larger models learn better to follow instructions", shared(follow), about, ABSENT, spec
        ), detail="p-MRR"),
        *mixtures(mixed, spec),
        with_size(
            "larger-mixtures", "Larger models lose less, or gain more, by multi-task training", shared(mixed), about, ABSENT, spec
        ),
        *between_kinds(changes[(changes["kind"] == KIND) & (changes["task"] == MEAN)], spec),
        tuned_for_chat(changes[changes["kind"] == TUNED], study, spec),
    ]  # fmt: skip
    return [claim for claim in every if claim.reason != ABSENT]


def at_shared(lengths: pd.DataFrame) -> pd.DataFrame:
    """Encoders at the longest length that all of them have; differences at several lengths are not comparable."""
    have = lengths.groupby("length")["checkpoint"].nunique()
    return lengths[lengths["length"] == have.index[have == lengths["checkpoint"].nunique()].max()]


def length_words(lengths: pd.DataFrame) -> str:
    """How much these encoders read, with its one length where there are any."""
    return f"more, {lengths['length'].iloc[0]:,} tokens," if len(lengths) else "more"


def followed(scores: pd.DataFrame, study: StudySummary) -> pd.DataFrame:
    """What training with instructions adds to p-MRR, on the tasks whose instructions say what is relevant.

    p-MRR (Weller et al. 2024) asks how far documents move that a changed instruction makes irrelevant, 0 where instructions
    are ignored; both of its queries carry one. nDCG@10 would also count what any text before a query costs an encoder that was
    trained without. Of a recipe with several seeds it is the training with the study's own.
    """
    rows = scores[(scores["metric"] == "p_mrr") & scores["task"].isin(study.comparisons.deciding)]
    of_recipe = {recipe: part.set_index(["checkpoint", "task"])["value"] for recipe, part in rows.groupby("recipe")}
    parts = [
        (of_recipe[recipe] - of_recipe[against]).dropna().rename("difference").reset_index()
        for recipe, against in study.comparisons.trained.items()
        if recipe in of_recipe and against in of_recipe
    ]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["checkpoint", "task", "difference"])


def helped(changes: pd.DataFrame, study: StudySummary) -> pd.DataFrame:
    """Trained and asked with instructions that name the task, minus trained and asked without: each as it is meant."""
    key, rows = ["checkpoint", "recipe", "against"], changes[changes["kind"] == TRAINED]
    naming = {task: plain for task, plain in study.comparisons.asked.items() if task not in study.comparisons.deciding}
    twins = pd.DataFrame(naming.items(), columns=["task", "plain"])
    plain = rows[[*key, "task", "y_against"]].rename(columns={"task": "plain", "y_against": "y_plain"})
    both = rows.merge(twins, on="task").merge(plain, on=[*key, "plain"])
    return both.assign(difference=both["y"] - both["y_plain"])


def shared(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of tasks that all checkpoints have, so that these differ in nothing else."""
    have = rows.groupby("task")["checkpoint"].nunique()
    return rows[rows["task"].isin(have.index[have == rows["checkpoint"].nunique()])]


def mixtures(mixed: pd.DataFrame, spec: Spec) -> list[Claim]:
    """One of each task, since a gain on one makes up for no loss on another."""
    text = "Training on several data sets at once costs nothing on"
    return [
        over_backbones(f"mixture-{task}", f"{text} {task}", NOT_LESS, of_backbones(rows, "difference"), ABSENT, spec)
        for task, rows in mixed.groupby("task")
    ]


def tokens_in_domain(slopes: pd.DataFrame, study: StudySummary, rates: Rates) -> Claim:
    """Growth with training duration at fixed size, on the first task that the main recipe trains on."""
    base = {"claim": "tokens-in-domain", "paper": LUO, "rule": rules.GROWTH, "unit": PER_FLOPS, "rates": rates}
    base["text"] = "More pretraining at fixed size retrieves better on the training task"
    task = next(iter(own_tasks(study, study.main_recipe)), None)
    rows = slopes[
        (slopes["task"] == task)
        & (slopes["path"] == SIZE)
        & (slopes["recipe"] == study.main_recipe)
        & (slopes["schedule"] == "finished")
    ]
    if rows.empty:
        return Claim(**base, reason=ABSENT if task is None else "too few checkpoints")
    row = rows.iloc[0]
    if row["status"] != "ok":
        return Claim(**base, reason=str(row["reason"]))
    value, low, high = (float(row[name]) for name in ("slope", "low", "high"))
    estimate = {"value": value, "low": low, "high": high, "n": int(row["n"]), "detail": f"on {task}"}
    return Claim(**base, **estimate, verdict=rules.growth(low, high))


def needing(tables: dict[str, pd.DataFrame], points: pd.DataFrame, main: str, spec: Spec) -> Rates:
    """The rates of fewer queries needed, at the shape and noise of the main recipe's curves."""
    curves = of_means(tables["efficiency"], points).query("recipe == @main")
    return fewer_rates(ladder_of(measured(curves, "needed")), spec, stream(spec.seed, "fewer-pairs"))


def fewer_pairs(trends: pd.DataFrame, main: str, rates: Rates) -> Claim:
    base = {"claim": "fewer-pairs", "paper": LUO, "rule": rules.FEWER, "unit": "decades of queries, " + PER_SIZE}
    base["text"] = f"Larger models need fewer training queries for {SHARE:.0%} of their last score"
    rows = trends[
        (trends["recipe"] == main) & (trends["measure"] == MEASURES["needed"]) & (trends["direction"] == "parameters")
    ]
    if rows.empty or rows.iloc[0]["status"] != "ok":
        return Claim(**base, reason=ABSENT if rows.empty else str(rows.iloc[0]["reason"]))
    row = rows.iloc[0]
    value, low, high = (float(row[name]) for name in ("slope", "low", "high"))
    estimate = {"value": value, "low": low, "high": high, "n": int(row["n"]), "rates": rates}
    return Claim(**base, **estimate, verdict=rules.fewer(low, high), reason=str(row["reason"]))


def of_backbones(rows: pd.DataFrame, value: str) -> pd.Series:
    """One value a checkpoint: the mean over its tasks and recipes."""
    return rows.groupby("checkpoint")[value].mean().astype(float)


def with_size(claim: str, text: str, rows: pd.DataFrame, about: pd.DataFrame, absent: str, spec: Spec) -> Claim:
    """Growth of a difference per decade of parameters."""
    base = {"claim": claim, "paper": LUO, "text": text, "rule": rules.GROWTH, "unit": PER_SIZE}
    values = of_backbones(rows, "difference").rename("y").reset_index()
    return Claim(**base, **size_growth(about.merge(values, on="checkpoint"), absent, stream(spec.seed, claim), spec))


def between_kinds(rows: pd.DataFrame, spec: Spec) -> list[Claim]:
    """Families of equal parameters and tokens against each other, where FEWEST pairs of sizes or more can tell.

    Sizes are the replicates: checkpoints of one, such as several durations, share its noise and count as their average.
    """
    table = []
    for (one, other), pairs in rows.groupby(["of_family", "against_family"]):
        text = f"Of equal parameters and tokens {one} retrieves better zero-shot than {other}"
        values = pairs.groupby("of_size")["difference"].mean().astype(float)
        if len(values) >= FEWEST:
            claim = over_backbones(f"{one}-against-{other}", text, GAIN, values, "", spec)
            table.append(replace(claim, paper=OWN, counts="pair"))
    return table


def tuned_for_chat(rows: pd.DataFrame, study: StudySummary, spec: Spec) -> Claim:
    """Tuned models against their bases, on the first task that the main recipe trains on, or on the mean if there is none.

    Bases are the replicates: what was tuned from one of them shares its noise, and counts as its average.
    """
    task = next(iter(own_tasks(study, study.main_recipe)), MEAN)
    rows = rows[rows["task"] == task]
    changes = rows.groupby("against")["difference"].mean().astype(float)
    text = "Tuning for chat changes retrieval by less than a point"
    claim = over_backbones("tuned-for-chat", text, SAME, changes, ABSENT, spec)
    families = counted(rows["against_family"].nunique(), "family")
    what = f"on {'the mean' if task == MEAN else task}; {counted(len(changes), 'base')} of {families}, each a replicate"
    return replace(claim, detail="; ".join(filter(None, (what, claim.detail))), counts="base")
