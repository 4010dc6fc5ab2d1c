"""Points, trends, forecasts, correlations and paired comparisons, each as CSV and parquet."""

from dataclasses import asdict
from pathlib import Path

import pandas as pd
from threadpoolctl import threadpool_limits

from retscale.collect.means import MEAN, in_domain, means, overall
from retscale.collect.summary import CollectSummary, StudySummary
from retscale.common.files import sha256
from retscale.common.seeds import stream
from retscale.common.tables import read_table, write_tables
from retscale.errors import UserError
from retscale.fit import correlate
from retscale.fit.analysis import analyse, ladder_rows
from retscale.fit.compare import ablation, effects, near_pairs
from retscale.fit.config import Spec
from retscale.fit.distinct import require_distinct
from retscale.fit.forms import FORMS
from retscale.fit.points import headline_icl, icl_points, per_query, points, query_scores, resampled
from retscale.fit.summary import FitSummary
from retscale.fit.tables import ladder_tables


@threadpool_limits.wrap(limits=1, user_api="blas")  # on which the last bits of a product depend
def run(values: dict, inputs: dict[str, Path | list[Path]], out: Path) -> dict:
    """Fit what `collect` (collect.json) holds. Only checkpoints of role `fit` with known FLOPs enter estimates.

    Checkpoints whose learning-rate schedule had not finished are fitted apart (`schedule` = unfinished).
    """
    spec = Spec.model_validate(values)
    source = Path(inputs["collect"])
    study = CollectSummary.read(source)
    main, averaged = study.main_recipe, means(study)

    scores = read_table(source, "scores")
    if spec.metric not in set(scores["metric"]):
        raise UserError(f"fit.metric is {spec.metric}, which no evaluation of this study has; name another")
    draws = resampled(query_scores(per_query(source, spec.metric), spec.metric), averaged, spec.bootstrap, spec.seed)
    scored = points(scores, draws, averaged, spec.metric, spec.alpha)
    scored["in_domain"] = scored["task"].map(lambda name: in_domain(name, study))
    defined = scored[scored["y"].notna()]
    require_distinct(defined)
    averages = read_table(source, "icl_averages")
    icl = icl_points(read_table(source, "icl"), averages)
    tables = {
        "points": scored,
        "icl_points": icl,
        **ladder_tables(analyse(defined, overall(study), spec), spec),
        "correlations": fit_correlations(defined, icl, main, spec),
        "effects": effects(defined, spec.alpha),
        "pairs": near_pairs(defined, draws, spec.near, spec.alpha),
        "ablation": ablation(defined, draws, main, spec.alpha),
    }
    summary = study.model_dump(include=set(StudySummary.model_fields))
    summary |= {"config": spec.model_dump(), "collect_sha256": sha256(source), "icl_headline": headline_icl(averages)}
    summary["form"] = next(iter(FORMS))  # the one that is drawn
    write_tables(out / "fit.json", FitSummary, tables, summary, csv=True)
    return {"rows": {name: len(table) for name, table in tables.items()}}


def fit_correlations(marks: pd.DataFrame, icl: pd.DataFrame, main: str, spec: Spec) -> pd.DataFrame:
    """FLOPs with quality for each recipe and task; and in-context learning with retrieval (main recipe).

    Rank and linear coefficients agree in sign, not in what they measure, so all three are given. FLOPs enter as log10.
    """
    rows = ladder_rows(marks)
    rows = rows[rows["schedule"] == "finished"]
    table = []
    for (recipe, task), group in rows.groupby(["recipe", "task"]):
        key = {"about": "flops-quality", "recipe": recipe, "x": "log10 FLOPs", "y": task}
        table += coefficients(key, group["log_flops"], group["y"], group, spec)
    means = rows[(rows["recipe"] == main) & (rows["task"] == MEAN)]
    for task, group in icl.groupby("task"):
        both = means.merge(group[["checkpoint", "score"]], on="checkpoint")
        key = {"about": "icl-retrieval", "recipe": main, "x": task, "y": MEAN}
        table += coefficients(key, both["score"], both["y"], both, spec)
        # Exploratory: where either grows along a curve in C, what a line over C leaves is correlated by itself.
        table += coefficients(key, both["score"], both["y"], both, spec, control=both["log_flops"])
    return pd.DataFrame(table)


def coefficients(
    key: dict, x: pd.Series, y: pd.Series, rows: pd.DataFrame, spec: Spec, control: pd.Series | None = None
) -> list[dict]:
    """One row for each method, or for the partial Pearson correlation given log10 FLOPs."""
    groups = pd.factorize(rows["size"], sort=True)[0]
    table = []
    for method in correlate.METHODS if control is None else ["pearson"]:
        rng = stream(spec.seed, method, *key.values())
        values = (x.to_numpy(float), y.to_numpy(float), groups, method, spec.alpha, spec.bootstrap, rng)
        result = correlate.correlate(*values, control=None if control is None else control.to_numpy(float))
        name = method if control is None else "partial pearson given log10 FLOPs"
        table.append(key | {"method": name, "exploratory": control is not None} | asdict(result))
    return table
