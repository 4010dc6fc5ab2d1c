"""All results of a study as tidy tables, every row with the file and the hash that it comes from."""

import os
from pathlib import Path

import pandas as pd

from retscale.collect import published
from retscale.collect.config import Spec
from retscale.collect.means import shown_tasks
from retscale.collect.results import (
    card_row,
    given_encoder_row,
    icl_row,
    kept_rows,
    length_rows,
    reference_row,
    require_unique,
    score_rows,
)
from retscale.collect.summary import CollectSummary, StudySummary
from retscale.collect.training import training_rows
from retscale.common.files import sha256
from retscale.common.phrase import hint
from retscale.common.progress import progress
from retscale.common.tables import write_tables
from retscale.encoder.card import EncoderCard
from retscale.encoder.config import GIVEN, REFERENCE
from retscale.errors import UserError
from retscale.evaluate.result import COLUMNS
from retscale.icl.average import averages, centered
from retscale.provenance import behind

# The inputs that only a study with results of its own has.
RESULTS = ("cards", "encoders", "given", "scores", "kept", "lengths", "icl")
CHECKPOINT_COLUMNS = ["checkpoint", "family", "size", "n_params", "n_params_non_embedding", "n_tokens", "flops"]
CHECKPOINT_COLUMNS += ["tokens_per_param", "schedule_finished", "role"]
SCORE_COLUMNS = ["recipe", "seed", "task", "metric", "value", *COLUMNS, "n_documents", "file", "sha256"]
ICL_COLUMNS = ["task", "type", "value", "baseline", "score", "n_items", "stderr", "low", "high", "executed", "trimmed"]
ICL_COLUMNS += ["skipped", "tied", "odd", "bits_per_byte", "bits_per_byte_stderr", "file", "sha256"]
CURVE_COLUMNS = ["checkpoint", "recipe", "seed", "step", "queries", "task", "metric", "value", "file", "sha256"]
LENGTH_COLUMNS = ["checkpoint", "recipe", "length", "own", "extrapolates", "task", "metric", "value", "n_queries"]
LENGTH_COLUMNS += ["file", "sha256"]
TRAINING_COLUMNS = [
    "checkpoint",
    "recipe",
    "seed",
    "step",
    "queries",
    "steps",
    "loss",
    "grad_norm",
    "lr",
    "padding",
    "chance",
    "file",
]
AVERAGE_COLUMNS = ["checkpoint", "gauntlet", "kind", "name", "score", "stderr", "missing"]


def run(values: dict, inputs: dict[str, Path | list[Path]], out: Path) -> dict:
    """Read `cards`, `encoders`, those `given` (made elsewhere), `scores`, `kept` and `icl` (lists of JSON files) into tables.

    These are `checkpoints`, `training` (the logs beside the encoders), `scores` and `per_query` of the last encoders,
    `curves` (scores of the encoders `kept` on the way, and of the last on the same tasks), `lengths` (of encoders that read
    documents of further `lengths`, and of their own), of both the single queries as well (`curve_queries`,
    `length_queries`), `icl`, and `icl_averages` (the averages of in-context scores that the study names).

    Rows are sorted, so the tables do not depend on the order of the inputs. `file` is relative to the study's
    results folder, the deepest folder that holds every input. Notes: the rows of each table, and the versions of the code
    of each stage behind the inputs.
    """
    spec = Spec.model_validate(values)
    tables = tabulated(spec, inputs, out)
    if spec.published:
        # Of what counts as one task there is one score, so nothing is averaged to it.
        units = {name: {unit: [unit] for unit in getattr(spec, name)} for name in ("headline", "in_domain", "beside")}
        return write(spec.model_copy(update=units), tables, out)
    made_by = behind.code(path for name in RESULTS for path in inputs.get(name, []))
    return write(spec, tables, out) | {"code": made_by}


def tabulated(spec: Spec, inputs: dict[str, Path | list[Path]], out: Path) -> dict[str, pd.DataFrame]:
    """The tables by name, as `run` writes them in a folder `out` two below that of the study's results."""
    if spec.published:
        return published_tables(spec, inputs, out)
    paths = {name: [Path(path) for path in inputs.get(name, [])] for name in RESULTS}
    if not (paths["cards"] and paths["encoders"] and paths["scores"]):
        raise UserError("collect needs at least one card, one encoder and one evaluation, but the study names none")
    root = Path(os.path.commonpath([path.parent for group in paths.values() for path in group]))

    checkpoints = read_cards(spec, paths["cards"], paths["given"], root)
    training = read_training(spec, paths["encoders"], root, checkpoints)
    scores, per_query = read_scores(spec, paths["scores"], root, checkpoints)
    curves, curve_queries = read_curves(spec, paths["kept"], root, checkpoints, training, scores)
    own_lengths = {
        (card.checkpoint, card.recipe.id): card.prompt.passage_length
        for card in map(EncoderCard.read, [*paths["encoders"], *paths["given"]])
    }
    lengths, length_queries = read_lengths(spec, paths["lengths"], root, checkpoints, scores, own_lengths)
    icl = read_icl(paths["icl"], root, checkpoints)
    require_complete(spec, scores)

    tables = {"checkpoints": checkpoints, "training": training, "scores": scores, "per_query": per_query}
    tables |= {"curves": curves, "curve_queries": curve_queries, "lengths": lengths, "length_queries": length_queries}
    tables |= {"icl": icl}
    return tables | {"icl_averages": average_icl(spec, icl)}


def published_tables(spec: Spec, inputs: dict[str, Path | list[Path]], out: Path) -> dict[str, pd.DataFrame]:
    """The tables of a study of published results: of `models` (a table) and `published` (a table, or mteb's files)."""
    models, paths = Path(inputs["models"]), [Path(path) for path in inputs["published"]]
    checkpoints, scores = published.tables(spec, spec.published, models, paths, out.parent.parent)
    merged = scores.merge(checkpoints[CHECKPOINT_COLUMNS], on="checkpoint")[CHECKPOINT_COLUMNS + SCORE_COLUMNS]
    return {
        "checkpoints": checkpoints,
        "training": pd.DataFrame(columns=TRAINING_COLUMNS),
        "scores": merged.sort_values(["checkpoint", "recipe", "task", "metric"], ignore_index=True),
        "per_query": pd.DataFrame(columns=["checkpoint", "recipe", "seed", "task", "query_id", spec.published.metric]),
        "curves": pd.DataFrame(columns=CURVE_COLUMNS),
        "curve_queries": pd.DataFrame(columns=["checkpoint", "recipe", "step", "task", "query_id"]),
        "lengths": pd.DataFrame(columns=LENGTH_COLUMNS),
        "length_queries": pd.DataFrame(columns=["checkpoint", "recipe", "length", "task", "query_id"]),
        "icl": pd.DataFrame(columns=CHECKPOINT_COLUMNS + ICL_COLUMNS),
        "icl_averages": pd.DataFrame(columns=AVERAGE_COLUMNS),
    }


def write(spec: Spec, tables: dict[str, pd.DataFrame], out: Path) -> dict:
    study = spec.model_dump(include=set(StudySummary.model_fields))
    counts = {name: len(table) for name, table in tables.items()}
    write_tables(out / "collect.json", CollectSummary, tables, study | {"rows": counts})
    return {"rows": counts}


def read_cards(spec: Spec, cards: list[Path], given: list[Path], root: Path) -> pd.DataFrame:
    """One row per checkpoint, one per encoder made elsewhere (`given`), and one per reference of the study."""
    files, rows = {}, []
    for path in [*cards, *given]:
        row = card_row(path, spec.checkpoints, spec.comparisons.tuned) if path in cards else given_encoder_row(path)
        require_unique(files, (row["checkpoint"],), path)
        rows.append(row | {"file": relative(path, root)})
    table = pd.DataFrame([*rows, *(reference_row(id, system) for id, system in spec.references.items())])
    return table.sort_values("checkpoint", ignore_index=True)


def read_training(spec: Spec, paths: list[Path], root: Path, checkpoints: pd.DataFrame) -> pd.DataFrame:
    """One row per line of each encoder's log.

    `file` is the log; unlike elsewhere its hash is left out, for the log holds times and so differs from run to run.
    """
    files, rows = {}, []
    for path in paths:
        identity, log, lines = training_rows(path)
        require_unique(files, tuple(identity.values()), path)
        require_in_study(identity, spec, checkpoints, path)
        source = {"seed": spec.seed_of(identity["recipe"]), "file": relative(log, root)}
        rows += [row | source for row in lines]
    return pd.DataFrame(rows)[TRAINING_COLUMNS].sort_values(["checkpoint", "recipe", "step"], ignore_index=True)


def read_scores(
    spec: Spec, paths: list[Path], root: Path, checkpoints: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One row per checkpoint, recipe, task and metric; and one row per query with all metrics."""
    files, rows, queries = {}, [], []
    for path in progress(paths, "scores", unit="files"):
        identity, scores_of_file, per_query = score_rows(path)
        require_unique(files, tuple(identity.values()), path)
        require_in_study(identity, spec, checkpoints, path)
        seed = {"seed": spec.seed_of(identity["recipe"])}
        rows += [row | seed | {"file": relative(path, root), "sha256": sha256(path)} for row in scores_of_file]
        queries.append(per_query.assign(**seed))
    require_same_metrics(rows, files)
    per_query = pd.concat(queries, ignore_index=True)
    require_same_queries(per_query, files)
    key = ["checkpoint", "recipe", "task"]
    per_query = per_query.sort_values([*key, "query_id"], ignore_index=True)
    first = ["checkpoint", "recipe", "seed", "task"]
    per_query = per_query[[*first, *(name for name in per_query if name not in first)]]
    scores = pd.DataFrame(rows).merge(checkpoints[CHECKPOINT_COLUMNS], on="checkpoint")
    controls = scores["recipe"].isin(spec.untuned) & (scores["role"] == "fit")
    scores["role"] = scores["role"].mask(controls, "reference")  # what is not trained enters no fit
    columns = [*CHECKPOINT_COLUMNS, *SCORE_COLUMNS, *scores.columns.intersection(["unranked"])]  # of references alone
    return scores[columns].sort_values([*key, "metric"], ignore_index=True), per_query


def read_curves(
    spec: Spec,
    paths: list[Path],
    root: Path,
    checkpoints: pd.DataFrame,
    training: pd.DataFrame,
    scores: pd.DataFrame,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two tables: one row per kept encoder, task and metric, with the rows of `scores` that end the curves; and per query.

    `queries`: the number of training queries so far, counted again in every epoch. The table per query has kept encoders
    only: `per_query` has the last ones.
    """
    files, rows, per_query = {}, [], []
    for path in progress(paths, "curves", unit="files"):
        identity, scores_of_file, queries = kept_rows(path)
        require_unique(files, tuple(identity.values()), path)
        require_in_study(identity, spec, checkpoints, path)
        source = {"seed": spec.seed_of(identity["recipe"]), "file": relative(path, root), "sha256": sha256(path)}
        rows += [row | source for row in scores_of_file]
        per_query.append(queries)
    if not rows:
        key = ["checkpoint", "recipe", "step", "task", "query_id"]
        return pd.DataFrame(columns=CURVE_COLUMNS), pd.DataFrame(columns=key)
    kept, encoder = pd.DataFrame(rows), ["checkpoint", "recipe"]
    totals = (
        training.rename(columns={"step": "logged"})
        .groupby(encoder, as_index=False)[["logged", "steps", "queries"]]
        .max()
    )
    last_scores = scores.merge(kept[[*encoder, "task"]].drop_duplicates(), on=[*encoder, "task"])
    table = pd.concat([kept, last_scores]).merge(totals, on=encoder)
    table["step"] = table["step"].fillna(table["steps"]).astype(int)
    table["queries"] = table["queries"] // table["logged"] * table["step"]
    table = table[CURVE_COLUMNS].sort_values([*encoder, "task", "metric", "step"], ignore_index=True)
    return table, of_queries(per_query, "step")


def of_queries(tables: list[pd.DataFrame], further: str) -> pd.DataFrame:
    """The tables of single queries joined and sorted; `further` is the column with the step or length of a result."""
    key = ["checkpoint", "recipe", further, "task"]
    table = pd.concat(tables, ignore_index=True).sort_values([*key, "query_id"], ignore_index=True)
    return table[[*key, *(name for name in table if name not in key)]]


def read_lengths(
    spec: Spec,
    paths: list[Path],
    root: Path,
    checkpoints: pd.DataFrame,
    scores: pd.DataFrame,
    own_lengths: dict[tuple[str, str], int],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two tables: one row per encoder, length, task and metric, with the rows of `scores` at its own length; and per query."""
    files, rows, per_query = {}, [], []
    for path in progress(paths, "lengths", unit="files"):
        identity, scores_of_file, queries = length_rows(path)
        require_unique(files, tuple(identity.values()), path)
        require_in_study(identity, spec, checkpoints, path)
        source = {"own": False, "file": relative(path, root), "sha256": sha256(path)}
        rows += [row | source for row in scores_of_file]
        per_query.append(queries)
    if not rows:
        key = ["checkpoint", "recipe", "length", "task", "query_id"]
        return pd.DataFrame(columns=LENGTH_COLUMNS), pd.DataFrame(columns=key)
    table, key = pd.DataFrame(rows), ["checkpoint", "recipe", "task"]
    own = scores.merge(table[key].drop_duplicates(), on=key)
    # Not `extrapolates`: the encoder was fine-tuned at its own length.
    lengths = [own_lengths[encoder] for encoder in zip(own["checkpoint"], own["recipe"], strict=True)]
    table = pd.concat([table, own.assign(own=True, extrapolates=False, length=lengths)], ignore_index=True)
    table = table.sort_values([*key, "metric", "length", "own"], ignore_index=True)[LENGTH_COLUMNS]
    return table, of_queries(per_query, "length")


def read_icl(paths: list[Path], root: Path, checkpoints: pd.DataFrame) -> pd.DataFrame:
    """One row per checkpoint and in-context task."""
    files, rows = {}, []
    for path in paths:
        row = icl_row(path)
        require_unique(files, (row["checkpoint"], row["task"]), path)
        require_card(row["checkpoint"], checkpoints, path)
        rows.append(row | {"file": relative(path, root)})
    if not rows:
        return pd.DataFrame(columns=CHECKPOINT_COLUMNS + ICL_COLUMNS)
    table = pd.DataFrame(rows).merge(checkpoints[CHECKPOINT_COLUMNS], on="checkpoint")
    return table[CHECKPOINT_COLUMNS + ICL_COLUMNS].sort_values(["checkpoint", "task"], ignore_index=True)


def average_icl(spec: Spec, icl: pd.DataFrame) -> pd.DataFrame:
    """One row per checkpoint and category or average of each version of the gauntlet; an absent one names what is missing."""
    table = []
    for checkpoint, rows in icl[icl["score"].notna()].groupby("checkpoint"):
        tasks = rows.set_index("task")[["value", "score", "stderr", "baseline"]].astype(float)
        for version, gauntlet in spec.averages.items():
            scores = {task: _scored(row, gauntlet.baselines.get(task)) for task, row in tasks.iterrows()}
            for average in averages(scores, gauntlet.model_dump(exclude={"baselines"})):
                row = {"checkpoint": checkpoint, "gauntlet": version, **average._asdict()}
                table.append(row | {"missing": ", ".join(average.missing)})
    return pd.DataFrame(table, columns=AVERAGE_COLUMNS).astype({"score": float, "stderr": float})


def _scored(task: pd.Series, baseline: float | None) -> tuple[float, float]:
    """The score of a task with its standard error, by this baseline or by its own."""
    if baseline is None:
        return task["score"], task["stderr"] / (1 - task["baseline"])
    return centered(task["value"], baseline), task["stderr"] / (1 - baseline)


def relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def require_card(checkpoint: str, checkpoints: pd.DataFrame, path: Path) -> None:
    if checkpoint not in set(checkpoints["checkpoint"]):
        raise UserError(f"{path} is of checkpoint {checkpoint!r}, which has no card among the inputs")


def require_in_study(identity: dict, spec: Spec, checkpoints: pd.DataFrame, path: Path) -> None:
    """Refuse a result of a checkpoint or recipe that this study does not have."""
    checkpoint = identity["checkpoint"]
    require_card(checkpoint, checkpoints, path)
    reserved = {**dict.fromkeys(spec.encoders, GIVEN), **dict.fromkeys(spec.references, REFERENCE)}.get(checkpoint)
    recipes = [reserved] if reserved else [*spec.recipes, *spec.repeats.recipes, *spec.untuned]
    if identity["recipe"] not in recipes:
        lacks = f"which this study lacks{hint(identity['recipe'], recipes)}"
        raise UserError(f"{path} is of recipe {identity['recipe']!r}, {lacks}")


def require_same_metrics(rows: list[dict], files: dict[tuple, Path]) -> None:
    """Every encoder is scored by the same metrics on a task; another task may have others."""
    metrics: dict[tuple, set[str]] = {}
    for row in rows:
        metrics.setdefault((row["checkpoint"], row["recipe"], row["task"]), set()).add(row["metric"])
    firsts: dict[str, tuple] = {}
    for key, names in metrics.items():
        first = firsts.setdefault(key[-1], key)
        if difference := names ^ metrics[first]:
            raise UserError(
                f"{files[first]} and {files[key]} differ in their metrics of {key[-1]}: only one has "
                f"{', '.join(sorted(difference))}; delete the stale one and run again"
            )


def require_same_queries(per_query: pd.DataFrame, files: dict[tuple, Path]) -> None:
    """Paired comparisons need every encoder to answer the same queries of a task."""
    for task, rows in per_query.groupby("task"):
        first = None
        for (checkpoint, recipe), group in rows.groupby(["checkpoint", "recipe"]):
            queries = set(group["query_id"])
            path = files[checkpoint, recipe, task]
            if first is None:
                first = (queries, path)
            elif queries != first[0]:
                raise UserError(
                    f"{first[1]} and {path} answer different queries of {task}; delete the stale one and run again"
                )


def require_complete(spec: Spec, scores: pd.DataFrame) -> None:
    """Refuse an encoder that lacks a task, unless it is part of a group, which then has no score."""
    alone = {name for name, parts in shown_tasks(spec).items() if parts == [name]}
    for (checkpoint, recipe), rows in scores.groupby(["checkpoint", "recipe"]):
        missing = sorted(alone - set(rows["task"]))
        if missing:
            raise UserError(f"{checkpoint} / {recipe} has no result for the tasks {', '.join(missing)}")
