"""The claims of Portes et al. 2025 and of Luo et al. 2024 that a study can test, each by a stated rule."""

from dataclasses import asdict

import numpy as np
import pandas as pd

from retscale.collect.means import MEAN, own_tasks
from retscale.collect.summary import StudySummary
from retscale.common.seeds import stream
from retscale.fit import error_rates, rules
from retscale.fit.analysis import Analysis
from retscale.fit.claim import COLUMNS, LUO, NO_MEAN, OWN, PER_FLOPS, PER_RATIO, PER_SIZE, PORTES, Claim, one_sided
from retscale.fit.config import Spec
from retscale.fit.dimension_claims import claims as dimension_claims
from retscale.fit.efficiency import of_means
from retscale.fit.error_rates import Noise, Rates
from retscale.fit.size_growth import size_growth, studies
from retscale.fit.slopes import RATIO, SAMPLED, SIZE
from retscale.fit.variance import Prior

NAMES = {SAMPLED: "grows", RATIO: "grows-with-size", SIZE: "grows-with-tokens"}


TEXTS = {
    SAMPLED: ("Retrieval quality grows with pretraining FLOPs", PORTES),
    RATIO: ("It grows with model size at fixed tokens per parameter", PORTES),
    SIZE: ("It grows with training duration at fixed size", f"{PORTES}; {LUO}"),
}


def claims(
    tables: dict[str, pd.DataFrame],
    analyses: list[Analysis],
    finished: pd.DataFrame,
    scores: pd.DataFrame,
    study: StudySummary,
    spec: Spec,
) -> pd.DataFrame:
    """All claims, of the main recipe's finished checkpoints, from the tables made before."""
    main = study.main_recipe
    of_main = [
        analysis for analysis in analyses if analysis.key["recipe"] == main and analysis.key["schedule"] == "finished"
    ]
    of_task = {analysis.key["task"]: analysis for analysis in of_main}
    rates = simulated(of_task.get(MEAN), of_main, list(study.headline), spec)
    trained = next((of_task.get(task) for task in own_tasks(study, main)), None)
    means = finished[finished["recipe"] == main]
    table = [
        *growth_claims(
            tables["slopes"].query("recipe == @main and schedule == 'finished'"), list(study.headline), rates
        ),
        equal_claim(tables["isoflop_global"].query("recipe == @main and headline"), rates),
        *icl_claims(tables["correlations"].query("headline and about != 'flops-quality'"), rates),
        *size_claims(means, early(tables["efficiency"], means, main), study, spec),
        *dimension_claims(tables, finished, scores, study, simulated_in_domain(trained, spec), spec),
    ]
    rows = [
        {name: value for name, value in asdict(row).items() if name != "rates"} | asdict(row.rates) for row in table
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def simulated(mean: Analysis | None, analyses: list[Analysis], headline: list[str], spec: Spec) -> dict[str, Rates]:
    """The rates of rules at the shape of the mean's ladder, by the name of a path, or of what is correlated."""
    if mean is None or len(mean.ladder) < 3:
        return {}
    rng, ladder = stream(spec.seed, "claims"), mean.ladder
    of_tasks = [analysis for analysis in analyses if analysis.key["task"] in headline]
    noise, of_task = noise_of([mean], spec), noise_of(of_tasks, spec)
    prior = Prior(spec.size_sd_mean, spec.size_df), Prior(spec.size_sd_task, spec.size_df)
    rates = error_rates.growth_rates(ladder, noise, prior[0], spec.alpha, rng)
    single = error_rates.growth_rates(ladder, of_task, prior[1], spec.alpha, rng)[SAMPLED]
    rates["most"] = error_rates.most_rates(single, len(headline))
    rates["equal"] = error_rates.equal_rates(ladder, noise, spec.alpha, rng)
    return rates | error_rates.icl_rates(ladder, noise, spec.alpha, rng)


def simulated_in_domain(trained: Analysis | None, spec: Spec) -> Rates:
    """The rates of growth with tokens at fixed size, at the ladder of a task of the training data."""
    if trained is None or len(trained.ladder) < 3:
        return Rates()
    prior, rng = Prior(spec.size_sd_task, spec.size_df), stream(spec.seed, "tokens-in-domain")
    return error_rates.growth_rates(trained.ladder, noise_of([trained], spec), prior, spec.alpha, rng)[SIZE]


def noise_of(analyses: list[Analysis], spec: Spec) -> Noise:
    """The median over ladders of what the data say, where they do."""
    trends = [analysis.fit_of("log-linear").trend for analysis in analyses]
    sigma, tau = (
        [value for value in values if value is not None] for values in zip(*((t.sigma, t.tau) for t in trends))
    )
    return Noise(
        float(np.median(sigma)) if sigma else error_rates.SIGMA,
        float(np.median(tau)) if tau else error_rates.TAU,
        studies(spec),
    )


def growth_claims(slopes: pd.DataFrame, headline: list[str], rates: dict[str, Rates]) -> list[Claim]:
    """Growth of the mean along each path, and on most of the tasks."""
    table = []
    for path, (text, paper) in TEXTS.items():
        base = {"claim": NAMES[path], "paper": paper, "text": text, "rule": rules.GROWTH, "unit": PER_FLOPS}
        base["rates"] = rates.get(path, Rates())
        row = first(slopes[(slopes["task"] == MEAN) & (slopes["path"] == path)])
        if row is None or row["status"] != "ok":
            table.append(Claim(**base, reason=NO_MEAN if row is None else row["reason"]))
        else:
            ends = {name: float(row[name]) for name in ("low", "high")}
            verdict = rules.growth(**ends)
            table.append(Claim(**base, value=float(row["slope"]), **ends, n=int(row["n"]), verdict=verdict))
    single = slopes[slopes["task"].isin(headline) & (slopes["path"] == SAMPLED)]
    verdicts = [rules.growth(row.low, row.high) for row in single.itertuples()]
    counts = f"{verdicts.count(rules.SUPPORTED)} grow, {verdicts.count(rules.REFUTED)} do not, "
    table.append(
        Claim(
            claim="most-tasks",
            paper=PORTES,
            text="It grows on most tasks",
            rule=rules.MOST,
            unit="tasks",
            n=len(verdicts),
            counts="task",
            detail=counts + f"{verdicts.count(rules.OPEN)} cannot be told",
            verdict=rules.most(verdicts),
            rates=rates.get("most", Rates()),
        )
    )
    return table


def equal_claim(rows: pd.DataFrame, rates: dict[str, Rates]) -> Claim:
    base = {"claim": "equal-compute", "paper": PORTES, "rule": rules.EQUAL, "unit": PER_RATIO}
    base["text"] = "At equal FLOPs a small model trained longer retrieves as well as a larger one"
    base["rates"] = rates.get("equal", Rates())
    row = first(rows)
    if row is None or row["status"] != "ok":
        return Claim(**base, reason=NO_MEAN if row is None else row["reason"])
    estimate = {"value": float(row["delta"]), "low": float(row["low"]), "high": float(row["high"]), "n": int(row["n"])}
    return Claim(**base, **estimate, detail=one_sided(row["tost_low"], row["tost_high"]), verdict=row["verdict"])


def icl_claims(rows: pd.DataFrame, rates: dict[str, Rates]) -> list[Claim]:
    table = []
    for claim, method, text, rule, judge, paper in (
        (
            "icl-retrieval",
            "pearson",
            "In-context learning scores correlate strongly with retrieval scores",
            rules.CORRELATION,
            rules.correlation,
            PORTES,
        ),
        (
            "icl-beyond-compute",
            "partial pearson",
            "They do so beyond what compute makes of both",
            rules.PARTIAL,
            rules.partial,
            OWN,
        ),
    ):
        row = first(rows[(rows["about"] == claim) & (rows["method"] == method)])
        base = {
            "claim": claim,
            "paper": paper,
            "text": text,
            "rule": rule,
            "unit": "r",
            "rates": rates.get(claim, Rates()),
        }
        if row is None or row["status"] != "ok":
            table.append(
                Claim(**base, reason="no checkpoint that enters fits has both scores" if row is None else row["reason"])
            )
            continue
        low, high = (None if pd.isna(row[name]) else float(row[name]) for name in ("low", "high"))
        detail = "expected, since both grow with compute" if row["shared_growth"] else ""
        estimate = {"value": float(row["value"]), "low": low, "high": high, "n": int(row["n"])}
        table.append(Claim(**base, **estimate, detail=detail, verdict=judge(low, high), reason=row["reason"]))
    return table


def size_claims(points: pd.DataFrame, early: pd.DataFrame, study: StudySummary, spec: Spec) -> list[Claim]:
    """Luo et al.: larger models are better, zero-shot, on the training task, and after little fine-tuning."""
    trained = next(iter(own_tasks(study, study.main_recipe)), None)
    subjects = (
        ("larger-zero-shot", "Larger models retrieve better zero-shot", points[points["task"] == MEAN], ""),
        (
            "larger-in-domain",
            "Larger models retrieve better on the training task",
            points[points["task"] == trained],
            "no task of the training data is evaluated",
        ),
        (
            "larger-early",
            "Larger models retrieve better after little training",
            early,
            "no encoder that enters fits was kept during its training",
        ),
    )
    details = {"larger-in-domain": f"on {trained}", "larger-early": "scores after the first kept step"}
    table = []
    for claim, text, rows, absent in subjects:
        base = {"claim": claim, "paper": LUO, "text": text, "rule": rules.GROWTH, "unit": PER_SIZE}
        detail = details.get(claim, "") if len(rows) else ""
        table.append(Claim(**base, detail=detail, **size_growth(rows, absent, stream(spec.seed, claim), spec)))
    return table


def early(efficiency: pd.DataFrame, points: pd.DataFrame, main: str) -> pd.DataFrame:
    """The mean of the curves at each checkpoint's first kept encoder, as y, with what is known of the checkpoint."""
    means = of_means(efficiency, points)
    return means[means["recipe"] == main].assign(y=lambda rows: rows["y_first"].astype(float))


def first(rows: pd.DataFrame) -> pd.Series | None:
    return None if rows.empty else rows.iloc[0]
