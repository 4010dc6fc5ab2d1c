"""The questions of (Mis)Fitting (Li et al. 2025, arXiv 2502.18969) about a scaling study, answered from its tables.

They are in the order of that paper's sections: the law, the models, the points, the fit. Wording is our own.
"""

from collections.abc import Callable, Iterator

import pandas as pd

from retscale.common.phrase import counted
from retscale.encoder.config import REFERENCE
from retscale.external.config import PUBLISHED
from retscale.figure.words import number, scientific, short
from retscale.fit.backtest import LARGEST, ROLLING
from retscale.fit.extrapolate import FARTHEST, SET
from retscale.fit.forms import FORMS
from retscale.fit.forms.form import Linear
from retscale.fit.solve import POLISHED, TOLERANCE
from retscale.report.config import Spec
from retscale.report.results import Results

ORIGINS = {"pretrain": "pretrained here", "hub": "the Hugging Face hub", "local": "a folder", "gguf": "a GGUF file"}
ORIGINS |= {PUBLISHED: "published elsewhere"}
Item = tuple[str, str]  # a question and its answer


def checklist(results: Results, spec: Spec) -> dict[str, list[Item]]:
    """Items by section."""
    return {
        "The law": list(law(results)),
        "The models": list(models(results, spec)),
        "The points": list(points(results)),
        "The fit": list(fit(results)),
        "Data and code": list(shared(results)),
    }


def law(results: Results) -> Iterator[Item]:
    fits = results.of_mean("fits").set_index("form")
    drawn = results.fitted.form
    if drawn in fits.index:
        k = int(fits.loc[drawn, "k"])
        families = ", an intercept for each family among them" if fits.loc[drawn, "families"] > 1 else ""
        yield "Which form, with how many free parameters?", f"{drawn}, {k}{families}"
    others = ", ".join(f"{name} ({int(row['k'])})" for name, row in fits.iterrows() if name != drawn)
    if others:
        yield "Which others were fitted beside it?", others
    yield (
        "What do its variables mean?",
        "N: parameters, embeddings included; D: tokens seen in pretraining, repeats included; C: FLOPs of pretraining, "
        "6ND, whatever was spent on fine-tuning",
    )
    yield "What is predicted?", f"mean {results.metric} over {results.over}, higher is better; not a loss"


def models(results: Results, spec: Spec) -> Iterator[Item]:
    ladder = results.ladder
    sizes = ladder.groupby(["family", "size"]).ngroups
    families = ladder["family"].nunique()
    yield (
        "How many models, of which sizes and families?",
        f"{counted(len(ladder), 'checkpoint')} of {counted(sizes, 'size')} in {counted(families, 'family')}",
    )
    if len(ladder):
        ranges = (
            f"N {between(ladder['n_params'], short)}, D {between(ladder['n_tokens'], short)}, "
            f"C {between(ladder['flops'], scientific)}, D/N {between(ladder['tokens_per_param'], short)}"
        )
        yield "Over which ranges?", ranges
    sources = ladder["source"].value_counts().sort_index()
    yield "Where are they from?", ", ".join(f"{ORIGINS[name]}: {count}" for name, count in sources.items()) or "nowhere"
    unfinished = int((~ladder["schedule_finished"].astype(bool)).sum())
    yield (
        "Are checkpoints within a training run used?",
        f"{unfinished} whose learning rate had not decayed, fitted apart" if unfinished else "no; each run had ended",
    )
    own = "counted while they were pretrained" if set(ladder["source"]) == {"pretrain"} else "as the list of them says"
    yield "How are the tokens known?", own
    elsewhere = f"by others; {spec.published.source} has the scores" if spec.published else ""
    yield "How were they fine-tuned?", elsewhere or f"by one recipe within a fit: {', '.join(results.study.recipes)}"


def points(results: Results) -> Iterator[Item]:
    fits = results.of_mean("fits")
    fits = fits[fits["form"] == results.fitted.form]
    if len(fits):
        row = fits.iloc[0]
        decades = f" over {row['decades']:.2f} decades of C" if not pd.isna(row["decades"]) else ""
        yield "How many points has a fit?", f"{counted(int(row['n']), 'point')}{decades}, one for each checkpoint"
    known = results.collected("scores")
    known = known[known["task"].isin([task for parts in results.study.headline.values() for task in parts])]
    queries = known.drop_duplicates("task")["n_queries"].dropna()
    yield (
        "On what are they measured?",
        f"{counted(int(queries.sum()), 'query')} of {counted(len(queries), 'task')}"
        if len(queries)
        else "published means over queries; the queries are unknown",
    )
    beside = results.checkpoints[~results.checkpoints["checkpoint"].isin(results.ladder["checkpoint"])]
    beside = beside[beside["source"] != REFERENCE]  # which has no place in a fit
    yield "Was any left out of the fits?", left_out(beside)
    yield "Were trainings repeated with other seeds?", repeated(results)
    yield "Were they smoothed or otherwise changed?", "no"


def fit(results: Results) -> Iterator[Item]:
    config, form = results.fitted.config, FORMS[results.fitted.form]
    weights = "a mean over seeds weighted by its precision" if results.study.repeats else "without weights"
    least = f"least squares of the score, in units of the metric, {weights}"
    yield "Which loss is minimised?", least
    bounded = f"bounded trust-region least squares (scipy) with exact derivatives, tolerance {TOLERANCE:g}"
    linear = f"{form.name}: {form.method}; forms that are not linear: " if isinstance(form, Linear) else ""
    yield "By which optimizer?", linear + bounded
    yield (
        "From where does it start?",
        "a grid over each form's nonlinear parameters, the linear ones solved for; the "
        f"{POLISHED} starts that fit best are followed, and no start is random",
    )
    methods = sorted(set(results.of_mean("fits")["method"].dropna()))
    yield (
        "How uncertain are the results?",
        f"{results.percent} intervals by {' or '.join(methods)}, checkpoints nested in sizes"
        if methods
        else "no interval can be given",
    )
    queries = f"{config.bootstrap:,} replicates over queries" if has_query_interval(results) else "queries unknown"
    yield "And the scores?", queries
    yield "Was the fit tested on points that it had not seen?", validation(results)
    yield "How far is it extrapolated?", f"at most {FARTHEST:g} decades beyond the largest C, by every form that fits"


def shared(results: Results) -> Iterator[Item]:
    yield "Are the points published?", "fit/points.csv has every score, with the file and the sha256 it was read from"
    yield "Is the code?", "retscale; each result's record names the digest of the code that made it"


def validation(results: Results) -> str:
    """Both schemes, by the set of forms."""
    table = results.of_mean("backtest")
    table = table[table["form"] == SET].set_index("scheme")
    words = {LARGEST: "largest size held out", ROLLING: "each size from the smaller ones"}
    parts = [
        f"{words[scheme]}: {int(row['hits'])} of {int(row['n'])} within the interval, RMSE {number(row['rmse'])}"
        for scheme, row in table.iterrows()
        if row["status"] == "ok"
    ]
    return "; ".join(parts) or "no: the sizes are too few"


def has_query_interval(results: Results) -> bool:
    return bool(results.table("points")["low"].notna().any())


def repeated(results: Results) -> str:
    table = results.table("points").query("task == 'mean' and seeds > 1")
    parts = [f"{row.checkpoint} by {row.recipe}, {row.seeds} trainings" for row in table.itertuples()]
    return "; ".join(parts) or "no; each checkpoint was trained with one seed"


def left_out(beside: pd.DataFrame) -> str:
    if beside.empty:
        return "no"
    counts = beside["reason"].replace("", "of no role in fits").value_counts().sort_index()
    return "; ".join(f"{counted(count, 'checkpoint')}: {reason}" for reason, count in counts.items())


def between(values: pd.Series, words: Callable[[float], str]) -> str:
    return f"{words(values.min())} to {words(values.max())}"
