"""Points, trends, forecasts, correlations and paired comparisons, each as CSV and parquet."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from threadpoolctl import threadpool_limits

from retscale.collect.means import in_domain_of, means, overall
from retscale.collect.summary import CollectSummary, StudySummary
from retscale.common.files import sha256
from retscale.common.tables import read_table, write_tables
from retscale.errors import UserError
from retscale.evaluate.metrics import metric
from retscale.fit.analysis import analyze, ladder_rows, scheduled
from retscale.fit.claims import claims
from retscale.fit.classes import tasks
from retscale.fit.compare import ablation, effects, isoflop_pairs
from retscale.fit.comparisons import comparisons
from retscale.fit.config import Spec
from retscale.fit.correlations import correlations
from retscale.fit.cuts import cuts
from retscale.fit.detectable import knowing_seeds
from retscale.fit.dimensions import dimensions
from retscale.fit.distinct import require_distinct
from retscale.fit.efficiency import efficiency, trends
from retscale.fit.families import paired_families
from retscale.fit.forms import FORMS
from retscale.fit.isoflop import isoflop_global
from retscale.fit.lengths import lengths
from retscale.fit.noise import noise, reliability
from retscale.fit.points import (
    KEY,
    QueryScores,
    headline_icl,
    icl_bits,
    icl_points,
    paired,
    per_query,
    points,
    query_scores,
    resampled,
    rows_of,
)
from retscale.fit.precision import weighed
from retscale.fit.predictors import predictors
from retscale.fit.seeds import joined, joined_draws, repeated, seeds
from retscale.fit.signal import signal
from retscale.fit.split import Spread, noted, variance
from retscale.fit.summary import FitSummary
from retscale.fit.tables import ladder_tables
from retscale.fit.two_step import two_step


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

    def queries() -> Iterator[QueryScores]:
        return query_scores(per_query(source, spec.metric), spec.metric)

    spreads: dict[tuple[str, str], Spread] = {}
    same_queries = paired(source, spec.metric, study.cuts)
    noted_queries = noted(queries(), study.repeats, spreads)
    trainings_draws = resampled(noted_queries, averaged, spec.bootstrap, spec.seed, same_queries)
    trainings = points(scores, trainings_draws, averaged, spec.metric, spec.alpha)
    known = seeds(trainings, trainings_draws, study.repeats, spec.alpha)
    draws = joined_draws(trainings_draws, known)
    within = metric(spec.metric)
    scored = knowing_seeds(joined(trainings, known), draws, known, spec.alpha, within.least, within.most)
    ladders = scored[["recipe", "task"]].drop_duplicates()
    marked = {key: in_domain_of(key[1], study, key[0]) for key in ladders.itertuples(index=False, name=None)}
    scored["in_domain"] = [marked[key] for key in zip(scored["recipe"], scored["task"], strict=True)]
    defined = weighed(scored[scored["y"].notna()], known)
    require_distinct(defined)
    averages = read_table(source, "icl_averages")
    results = read_table(source, "icl")
    icl, bits = icl_points(results, averages), icl_bits(results)
    finished = ladder_rows(defined).query("schedule == 'finished'")
    reliable = reliability(finished, draws, icl, bits, main, known)
    analyses = analyze(defined, overall(study), spec)
    kept, read, curves = (read_table(source, name) for name in ("curve_queries", "length_queries", "curves"))
    last = rows_of(per_query(source, spec.metric), pd.concat([kept[KEY], read[KEY]]))
    of_asked = pd.DataFrame({"task": sorted({name for pair in study.comparisons.asked.items() for name in pair})})
    asked = rows_of(per_query(source, spec.metric), of_asked)
    efficient = efficiency(curves, kept, last, study, spec)
    tables = {
        "points": scored,
        "trainings": repeated(trainings, study.repeats, known),
        "icl_points": icl,
        "icl_bits": bits,
        **ladder_tables(analyses, spec),
        "correlations": correlations(finished, icl, bits, reliable, main, spec),
        "predictors": predictors(finished, icl, bits, main, spec),
        "signal": signal(finished, icl, bits, main),
        "effects": effects(finished, spec.alpha),
        "isoflop_global": isoflop_global(finished, spec.alpha),
        "isoflop_pairs": isoflop_pairs(finished, draws, spec.near, spec.alpha, known, main),
        "tasks": tasks(analyses, draws, list(study.headline), spec.alpha),
        "ablation": ablation(defined[defined["recipe"].isin(study.recipes)], draws, queries(), main, spec, known),
        "noise": noise(analyses, draws, known),
        "variance": variance(analyses, draws, known, averaged, spreads, spec.alpha),
        "reliability": reliable,
        "two_step": two_step(finished, scores, study, spec.alpha),
        "cuts": cuts(finished, draws, scores, study.cuts, same_queries, spec.alpha),
        "efficiency": efficient,
        "efficiency_trends": trends(efficient, finished, spec),
        "lengths": lengths(read_table(source, "lengths"), read, last, study, spec),
        "comparisons": comparisons(defined, draws, queries(), asked, study, spec, known),
    }
    if spec.paired:
        trained = defined[defined["recipe"].isin(study.recipes) & (defined["role"] != "external")]
        tables["paired_families"] = paired_families(scheduled(trained), draws, spec.paired, spec.near, spec.alpha)
    tables["dimensions"] = dimensions(tables, study)
    tables["claims"] = claims(tables, analyses, finished, scores, study, spec)
    summary = study.model_dump(include=set(StudySummary.model_fields))
    summary |= {"config": spec.model_dump(), "collect_sha256": sha256(source), "icl_headline": headline_icl(averages)}
    summary["form"] = next(iter(FORMS))  # the one that is drawn
    write_tables(out / "fit.json", FitSummary, tables, summary, csv=True)
    return {"rows": {name: len(table) for name, table in tables.items()}}
