"""report.html: the answer, figures, claims, tables, data and provenance in one file without JavaScript."""

from collections.abc import Mapping
from pathlib import Path

import jinja2

from retscale.collect.means import MEAN, in_domain, shown_tasks
from retscale.evaluate.metrics import INSTRUCTION
from retscale.fit.forms import FORMS
from retscale.fit.rules import MARGIN
from retscale.leakage.result import Leakage
from retscale.provenance.behind import made_from
from retscale.report import analysis, claims, data, dimensions, in_context, page, scores
from retscale.report import in_domain as in_domain_metrics
from retscale.report.answer import answer
from retscale.report.checklist import checklist
from retscale.report.config import Spec
from retscale.report.figures import figures
from retscale.report.filters import FILTERS
from retscale.report.lead import example, span
from retscale.report.origin import listed, mixed, named
from retscale.report.results import Results, paths_of, rows
from retscale.report.unused import unused
from retscale.text.card import TextCard


def run(values: dict, inputs: dict[str, Path | list[Path]], out: Path) -> dict:
    """Write report.html from `figures` (with SVG, caption, alt text beside), `collect`, `fit`, `tasks`, `pairs`, `leakage`.

    `text` (text.json) is given only if checkpoints were pretrained here, `external` only if the study adds published
    results. All inputs are hashed and listed with the digests of their records. From records further back only the
    versions of the code are read.
    """
    spec, results = Spec.model_validate(values), Results(Path(inputs["collect"]), Path(inputs["fit"]))
    sections = about_results(results, spec) | about_data(results, spec, inputs) | about_origin(values, inputs)
    text = environment().get_template("page.html").render(sections)
    (out / "report.html").write_text(text, encoding="utf-8")
    return {"bytes": len(text.encode())}


def environment() -> jinja2.Environment:
    """The environment of the templates: values are escaped, and a name without a value raises."""
    loaded = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(page.__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    loaded.filters |= FILTERS
    return loaded


def about_results(results: Results, spec: Spec) -> dict:
    """The variables of the templates that come from scores and fits."""
    study, of_average = results.study, analysis.correlations(results)
    following = results.collected("scores").query("recipe not in @study.repeats.recipes")
    return {
        "spec": spec,
        "study": study,
        "metric": results.metric,
        "percent": results.percent,
        "uncertain": results.uncertain,
        "over": results.over,
        "main": study.main_recipe,
        "averages": results.averages,
        "shown": shown_tasks(study),
        "in_domain": [] if in_domain(MEAN, study) else list(study.in_domain),
        "options": results.fitted.config,
        "form": FORMS[results.fitted.form],
        "margin": MARGIN,
        "answer": answer(results),
        "span": span(results),
        "example": example(results),
        "claims": claims.rows(results.table("claims")),
        "dimensions": dimensions.table(results.table("dimensions"), results.checkpoints),
        "equals": dimensions.equals(results.table("comparisons")),
        "in_domain_metrics": in_domain_metrics.table(results),
        "scores": scores.score_table(results),
        "absent": rows(results.table("points").query("missing != ''")),
        "instruction_metrics": INSTRUCTION,
        "following": rows(following[following["metric"].isin(INSTRUCTION)]),
        "icl": in_context.by_checkpoint(results.checkpoints, results.table("icl_points"), "score"),
        "icl_bits": in_context.by_checkpoint(results.checkpoints, results.table("icl_bits"), "bits_per_byte"),
        "icl_signal": in_context.signal(results.table("signal")),
        "icl_tasks": in_context.tasks(results.collected("icl"), spec),
        "icl_averages": in_context.gauntlets(results.checkpoints, results.collected("icl_averages")),
        "trends": analysis.trends(results),
        "slopes": analysis.slopes(results),
        "selection": analysis.selection(results),
        "classes": analysis.classes(results),
        "forecasts": analysis.forecasts(results),
        "backtests": analysis.backtests(results),
        "ceilings": analysis.ceilings(results),
        "two_step": analysis.two_step(results),
        "cuts": analysis.cuts(results),
        "equal_compute": analysis.equal_compute(results),
        "pairs": analysis.pairs(results),
        "predictors": rows(results.table("predictors")),
        "paired_families": analysis.paired_families(results),
        "correlations": of_average[0],
        "single_correlations": of_average[1],
        "noise": analysis.noise(results),
        "variance": analysis.variance(results),
        "comparisons": analysis.comparisons(results),
        "reliability": analysis.reliability(results),
        "checklist": checklist(results, spec),
    }


def about_data(results: Results, spec: Spec, inputs: Mapping) -> dict:
    """The variables of the templates that come from other files than the tables."""
    ties = results.collected("scores").groupby("task")["ties"].max().to_dict()
    return {
        "figures": figures(paths_of(inputs, "figures")),
        "external": scores.external(Path(inputs["external"])) if inputs.get("external") else None,
        "tasks": data.tasks(paths_of(inputs, "tasks"), spec.tasks, ties),
        "text": TextCard.read(Path(inputs["text"])) if inputs.get("text") else None,
        "training": data.training(paths_of(inputs, "pairs"), spec.pairs),
        "mined": [data.mined(path) for path in paths_of(inputs, "negatives")],
        "leakage": [Leakage.read(path) for path in paths_of(inputs, "leakage")],
        "models": data.models(spec.checkpoints, results.checkpoints),
    }


def about_origin(values: dict, inputs: Mapping) -> dict:
    """The variables of the section on provenance."""
    return {
        "made_from": made_from(values, named(inputs)),
        "inputs": listed(inputs),
        "mixed": mixed(inputs),
        "unused": unused(inputs),
    }
