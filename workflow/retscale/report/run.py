"""report.html: figures, claims, tables, data and provenance in one file without JavaScript."""

import base64
import html
import json
import math
import re
from pathlib import Path

import jinja2
import pandas as pd
import pyarrow.parquet as pq
from markupsafe import Markup

from retscale.collect.means import MEAN, averaged_over, in_domain, shown_tasks
from retscale.collect.summary import CollectSummary
from retscale.common.files import sha256
from retscale.common.phrase import counted
from retscale.common.tables import read_table
from retscale.encoder.config import GIVEN
from retscale.errors import UserError
from retscale.evaluate.metrics import INSTRUCTION, label
from retscale.external.summary import ExternalSummary
from retscale.figure.words import interval, number, scientific, short, trend_words
from retscale.fit.forms import FORMS
from retscale.fit.summary import FitSummary
from retscale.leakage.result import Leakage
from retscale.pairs.card import PairsCard
from retscale.plan.formatting import hours
from retscale.report import claims, usage
from retscale.report.config import Described, Spec
from retscale.task.card import TaskCard
from retscale.text.card import TextCard

FIT_TABLES = ("points", "icl_points", "fits", "parameters", "correlations", "effects", "isoflop_pairs")
FIT_TABLES += ("ablation", "claims")


def run(values: dict, inputs: dict[str, Path | list[Path]], out: Path) -> dict:
    """Write report.html from `figures` (with SVG, caption, alt text beside), `collect`, `fit`, `tasks`, `pairs`, `leakage`.

    `text` (text.json) is given only if checkpoints were pretrained here, `external` only if the study adds published
    results. All other inputs are hashed and listed. Of the records behind the inputs only time and energy are read.
    """
    spec = Spec.model_validate(values)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    renamed = {"number": _number, "interval": _interval, "p": p_value}
    environment.filters |= renamed | {
        filter.__name__: filter for filter in (count, counted, hours, scientific, short, inline)
    }
    page = environment.get_template("template.html").render(template_values(spec, inputs))
    (out / "report.html").write_text(page, encoding="utf-8")
    return {"bytes": len(page.encode())}


def template_values(spec: Spec, inputs: dict) -> dict:
    """Everything that the template shows."""
    collect, fit = Path(inputs["collect"]), Path(inputs["fit"])
    study, fitted = CollectSummary.read(collect), FitSummary.read(fit)
    tables = {name: read_table(fit, name) for name in FIT_TABLES}
    scored = tables["points"][tables["points"]["y"].notna()]
    checkpoints = read_table(collect, "checkpoints").sort_values(["flops", "checkpoint"])
    main, options = study.main_recipe, fitted.config
    of_mean = "recipe == @main and task == 'mean' and schedule == 'finished' and form == @fitted.form"
    mean, drawn = tables["fits"].query(of_mean), tables["fits"].query("form == @fitted.form")
    parameters = tables["parameters"].query(of_mean).set_index("parameter")["value"].to_dict()
    metric, percent = label(options.metric), f"{100 * (1 - options.alpha):g}%"
    correlation = tables["correlations"]
    correlation = (
        correlation.query("about == 'flops-quality' and recipe == @main and y == 'mean' and method == 'spearman'")
        if len(correlation)
        else correlation
    )
    scores = read_table(collect, "scores")
    ties = scores.groupby("task")["ties"].max()
    tasks = [described(TaskCard.read(Path(path)), spec.tasks) for path in paths_of(inputs, "tasks")]
    tasks = [task | {"odd": odd(task["notes"]), "ties": int(ties.get(task["id"], 0))} for task in tasks]
    training = [described(PairsCard.read(Path(path)), spec.pairs) for path in paths_of(inputs, "pairs")]
    return {
        "study": study,
        "over": averaged_over(study),
        "shown": shown_tasks(study),
        "in_domain": [] if in_domain(MEAN, study) else list(study.in_domain),
        "averages": [MEAN, *study.groups],
        "spec": spec,
        "metric": metric,
        "percent": percent,
        "main": main,
        "options": options,
        "span": span(checkpoints),
        "trend": trend_words(mean.iloc[0] if len(mean) else None, parameters, percent, metric),
        "rank": correlation.iloc[0].to_dict() if len(correlation) and correlation.iloc[0]["status"] == "ok" else None,
        "figures": [figure(Path(path)) for path in paths_of(inputs, "figures")],
        "claims": claims.rows(tables["claims"]),
        "scores": score_table(checkpoints, scored, study, spec),
        "absent": rows(tables["points"].query("missing != ''")),
        "instruction_metrics": INSTRUCTION,
        "following": rows(scores[scores["metric"].isin(INSTRUCTION)]),
        "external": external(Path(inputs["external"])) if inputs.get("external") else None,
        "icl": icl_table(checkpoints, tables["icl_points"], spec),
        "icl_tasks": icl_tasks(read_table(collect, "icl"), spec),
        "icl_averages": icl_averages(checkpoints, read_table(collect, "icl_averages")),
        "trends": rows(drawn.sort_values(["recipe", "schedule", "slope"], ascending=[True, True, False])),
        "form": FORMS[fitted.form],
        "effects": rows(tables["effects"]),
        "correlations": rows(tables["correlations"]),
        "pairs": rows(tables["isoflop_pairs"].query("iso_flop")),
        "tasks": tasks,
        "text": TextCard.read(Path(inputs["text"])) if inputs.get("text") else None,
        "training": training,
        "mined": [mined(Path(path)) for path in paths_of(inputs, "negatives")],
        "leakage": [Leakage.read(Path(path)) for path in paths_of(inputs, "leakage")],
        "models": {
            name: description
            for name, description in sorted(spec.checkpoints.items())
            if description.licence or description.origin
        },
        "usage": usage.total(Path(path) for name in sorted(inputs) for path in paths_of(inputs, name)),
        "hashes": hashes(inputs),
    }


def paths_of(inputs: dict, name: str) -> list:
    paths = inputs.get(name, [])
    return list(paths) if isinstance(paths, list | tuple) else [paths]


def span(checkpoints: pd.DataFrame) -> dict:
    """Counts and ranges of the ladder for the first lines."""
    ladder = checkpoints.query("role == 'fit'")
    flops = ladder["flops"].astype(float)
    ends = {name: (ladder[name].min(), ladder[name].max()) for name in ("n_params", "n_tokens", "flops")}
    decades = math.log10(flops.max() / flops.min()) if len(ladder) else 0.0
    return {
        "n": len(ladder),
        "sizes": ladder.groupby(["family", "size"]).ngroups,
        "decades": decades,
        "others": len(checkpoints) - len(ladder),
        **ends,
    }


def figure(png: Path) -> dict:
    """A figure as a data URI with its caption and alternative text; the SVG, since it prints at any size."""
    parts = {suffix: png.with_suffix(suffix) for suffix in (".svg", ".md", ".txt")}
    for path in parts.values():
        if not path.exists():
            raise UserError(f"{path} is missing beside {png}; delete {png} and run again")
    return {
        "name": png.stem,
        "uri": "data:image/svg+xml;base64," + base64.b64encode(parts[".svg"].read_bytes()).decode(),
        "caption": parts[".md"].read_text(encoding="utf-8").strip(),
        "alt": parts[".txt"].read_text(encoding="utf-8").strip(),
        "sha256": sha256(png),
    }


def described(data: TaskCard | PairsCard, by_id: dict[str, Described]) -> dict:
    """One data set: counts from its file; licence, origin and note from the study."""
    return data.model_dump() | by_id.get(data.id, Described()).model_dump(include={"licence", "origin", "note"})


def mined(path: Path) -> dict:
    """What was counted when these negatives were mined, and the `id` of their data set."""
    return {"id": path.parent.name, **json.loads(pq.read_schema(path).metadata[b"facts"])}


def odd(notes: dict[str, dict[str, int]]) -> str:
    """`kept: empty document 2; dropped: ...`, what a task's stage counted."""
    names = ("kept", "dropped", "assumed")
    parts = {name: ", ".join(f"{what} {n}" for what, n in notes.get(name, {}).items()) for name in names}
    return "; ".join(f"{name}: {words}" for name, words in parts.items() if words)


def score_table(checkpoints: pd.DataFrame, points: pd.DataFrame, study: CollectSummary, spec: Spec) -> dict:
    """One row per checkpoint: facts, the means of each recipe with their intervals, and each task of the main recipe.

    The scores of an encoder made elsewhere are in the columns of the main recipe.
    """
    values = {(point.checkpoint, point.recipe, point.task): point for point in points.itertuples()}
    averages = [MEAN, *study.groups]
    tasks = sorted(set(points["task"]) - set(averages), key=lambda task: (task not in shown_tasks(study), task))
    best_scores = points[points["recipe"].isin([study.main_recipe, GIVEN])].groupby("task")["y"].max()
    table = []
    for row in checkpoints.to_dict("records"):
        name = row["checkpoint"]
        main = GIVEN if row["source"] == GIVEN else study.main_recipe
        recipes = [main if recipe == study.main_recipe else recipe for recipe in study.recipes]
        means = [values.get((name, recipe, average)) for average in averages for recipe in recipes]
        scores = [values.get((name, main, task)) for task in tasks]
        cells = [
            {"y": score.y, "best": score.y == best_scores[task]} if score else None
            for score, task in zip(scores, tasks, strict=True)
        ]
        table.append(
            row
            | {
                "means": [{"y": mean.y, "low": mean.low, "high": mean.high} if mean else None for mean in means],
                "scores": cells,
            }
        )
    marked = [f"{task} (in-domain)" if in_domain(task, study) else task for task in tasks]
    return {"tasks": marked, "rows": table}


def external(path: Path) -> dict:
    """The published tables, and one row per model: its facts, its mean and its score on each task."""
    summary, points = ExternalSummary.read(path), read_table(path, "external")
    values = {(row.model, row.task): row.y for row in points.itertuples()}
    tasks = [name for name in summary.headline if name in set(points["task"])]
    tasks += sorted(set(points["task"]) - {MEAN, *tasks})
    models = points.drop_duplicates("model").sort_values(["flops", "model"]).to_dict("records")
    number_of = {table.source: number for number, table in enumerate(summary.tables, 1)}
    return {
        **summary.model_dump(),
        "tasks": tasks,
        "rows": [
            row
            | {
                "scores": [values.get((row["model"], task)) for task in [MEAN, *tasks]],
                "from": number_of[row["source"]],
            }
            for row in models
        ],
    }


def icl_table(checkpoints: pd.DataFrame, icl: pd.DataFrame, spec: Spec) -> dict:
    """One row per checkpoint: the mean in-context score and each task's."""
    values = {(point.checkpoint, point.task): point.score for point in icl.itertuples()}
    tasks = sorted(set(icl[icl["file"].notna()]["task"]))
    evaluated = [name for name in checkpoints["checkpoint"] if any(key[0] == name for key in values)]
    return {
        "tasks": tasks,
        "rows": [(name, [values.get((name, task)) for task in [MEAN, *tasks]]) for name in evaluated],
    }


def icl_tasks(icl: pd.DataFrame, spec: Spec) -> list[dict]:
    """One row per in-context task: size, baseline, widest interval of its score, what is odd about it, its source."""
    table = []
    for task, rows in icl.groupby("task"):
        notes = [note for odd in dict.fromkeys(rows["odd"]) for note in odd.split("; ") if note]
        phrases = {
            "tied": "best choices tie in up to {} items",
            "trimmed": "up to {} texts were cut to fit",
            "skipped": "up to {} items were too long and not scored",
        }
        notes += [words.format(int(rows[name].max())) for name, words in phrases.items() if rows[name].max() > 0]
        if rows["type"].iloc[0] == "code_evaluation":
            run = bool(rows["executed"].any())
            notes.append(
                "generated programs were run, in a sandbox without network and with limits of time, memory and files"
                if run
                else "nothing was to run programs (`execute` is off), so none were generated, and it has no score"
            )
        half = (rows["high"].astype(float) - rows["low"].astype(float)).max() / 2
        baseline = rows["baseline"].astype(float).iloc[0]
        description = spec.icl.get(task, Described())
        table.append(
            {
                "task": task,
                "items": rows["n_items"].iloc[0],
                "baseline": baseline,
                "half": half / (1 - baseline),
                "notes": list(dict.fromkeys(notes)),
                "description": description,
            }
        )
    return table


def icl_averages(checkpoints: pd.DataFrame, averages: pd.DataFrame) -> list[dict]:
    """One entry per version of the gauntlet: its categories and averages by checkpoint, and why some are missing."""
    tables = []
    for version, rows in averages.groupby("gauntlet", sort=False):
        names = list(dict.fromkeys(rows["name"]))
        cells = {(row["checkpoint"], row["name"]): row for row in rows.to_dict("records")}
        evaluated = [name for name in checkpoints["checkpoint"] if (name, names[0]) in cells]
        absent = {row["name"]: row["missing"] for row in cells.values() if row["missing"]}
        table = [(name, [cells[name, column] for column in names]) for name in evaluated]
        tables.append({"version": version, "names": names, "rows": table, "absent": absent})
    return tables


def rows(table: pd.DataFrame) -> list[dict]:
    """Records with None for every missing value."""
    return [{key: None if pd.isna(value) else value for key, value in row.items()} for row in table.to_dict("records")]


def hashes(inputs: dict) -> list[tuple[str, str, str]]:
    """Name, file and sha256 of every input, in the order of their names."""
    inputs_with_hashes = []
    for name in sorted(inputs):
        for path in sorted(Path(path) for path in paths_of(inputs, name)):
            inputs_with_hashes.append((name, f"{path.parent.name}/{path.name}", sha256(path)))
    return inputs_with_hashes


def inline(text: str) -> str:
    """The two marks of captions, **bold** and `code`, as HTML; all else escaped."""
    escaped = html.escape(text, quote=False)
    escaped = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", escaped)
    return Markup(re.sub(r"`(.+?)`", r"<code>\1</code>", escaped))


def _number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None or pd.isna(value) else number(value, digits)


def _interval(row: dict, name: str, digits: int = 3) -> str:
    return "–" if row[name] is None else interval(row[name], row["low"], row["high"], digits)


def count(value: float | None) -> str:
    """With thin spaces between thousands."""
    return "–" if value is None or pd.isna(value) else f"{int(value):,}".replace(",", "\u202f")


def p_value(value: float | None) -> str:
    return "–" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"
