"""All results of a study as tidy tables, every row with the file and the hash that it comes from."""

import os
from pathlib import Path

import pandas as pd

from retscale.collect.config import Spec
from retscale.collect.means import OF_STUDY
from retscale.collect.results import card_row, given_row, icl_row, kept_rows, score_rows, unique
from retscale.collect.training import training_rows
from retscale.common.phrase import hint
from retscale.common.progress import progress
from retscale.common.tables import sha256, write_tables
from retscale.encoder.config import GIVEN
from retscale.errors import UserError
from retscale.icl.average import averages

FACTS = ["checkpoint", "family", "size", "n_params", "n_params_non_embedding", "n_tokens", "flops"]
FACTS += ["tokens_per_param", "schedule_finished", "role"]
SCORES = ["recipe", "seed", "task", "metric", "value", "n_queries", "ties", "file", "sha256"]
ICL = ["task", "type", "value", "baseline", "score", "n_items", "stderr", "low", "high", "executed", "trimmed"]
ICL += ["skipped", "tied", "odd", "file", "sha256"]
CURVES = ["checkpoint", "recipe", "step", "queries", "task", "metric", "value", "file", "sha256"]
AVERAGES = ["checkpoint", "gauntlet", "kind", "name", "score", "stderr", "missing"]


def run(spec: dict, inputs: dict[str, Path | list[Path]], out: Path) -> dict:
    """Read `cards`, `encoders`, those `given` from elsewhere, `scores`, `kept` and `icl` (lists of JSON files) into tables.

    These are `checkpoints`, `training` (the logs beside the encoders), `scores` and `per_query` of the last encoders,
    `curves` (scores of the encoders `kept` on the way, and of the last on the same tasks), `icl`, and `icl_averages`
    (the averages of in-context scores that the study names).

    Rows are sorted, so the tables do not depend on the order of the inputs. `file` is relative to the study's
    results folder, the deepest folder that holds every input.
    """
    config = Spec.model_validate(spec)
    names = ("cards", "encoders", "given", "scores", "kept", "icl")
    paths = {name: [Path(path) for path in inputs.get(name, [])] for name in names}
    if not (paths["cards"] and paths["encoders"] and paths["scores"]):
        raise UserError("collect needs at least one card, one encoder and one evaluation: the study names none")
    root = Path(os.path.commonpath([path.parent for found in paths.values() for path in found]))

    checkpoints = read_cards(config, paths["cards"], paths["given"], root)
    training = read_training(config, paths["encoders"], root, checkpoints)
    scores, per_query = read_scores(config, paths["scores"], root, checkpoints)
    curves = read_curves(config, paths["kept"], root, checkpoints, training, scores)
    icl = read_icl(paths["icl"], root, checkpoints)
    complete(config, scores)

    tables = {"checkpoints": checkpoints, "training": training, "scores": scores, "per_query": per_query}
    tables |= {"curves": curves, "icl": icl}
    tables["icl_averages"] = average_icl(config, icl)
    facts = {name: getattr(config, name) for name in OF_STUDY}
    counts = {name: len(table) for name, table in tables.items()}
    write_tables(out, "collect.json", tables, facts | {"rows": counts})
    return {"rows": counts}


def read_cards(config: Spec, cards: list[Path], given: list[Path], root: Path) -> pd.DataFrame:
    """One row a checkpoint, and one an encoder `given` from elsewhere."""
    seen, rows = {}, []
    for path in [*cards, *given]:
        row = card_row(path, config.checkpoints) if path in cards else given_row(path)
        unique(seen, (row["checkpoint"],), path)
        rows.append(row | {"file": relative(path, root)})
    table = pd.DataFrame(rows)
    return table.sort_values("checkpoint", ignore_index=True)


def read_training(config: Spec, paths: list[Path], root: Path, checkpoints: pd.DataFrame) -> pd.DataFrame:
    """One row a line of each encoder's log.

    `file` is the log; unlike elsewhere its hash is left out, for the log holds times and so differs from run to run.
    """
    seen, rows = {}, []
    for path in paths:
        identity, log, found = training_rows(path)
        unique(seen, tuple(identity.values()), path)
        of_study(identity, config, checkpoints, path)
        rows += [row | {"file": relative(log, root)} for row in found]
    return pd.DataFrame(rows).sort_values(["checkpoint", "recipe", "step"], ignore_index=True)


def read_scores(
    config: Spec, paths: list[Path], root: Path, checkpoints: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One row a checkpoint, recipe, task and metric; and one row a query with all metrics."""
    seen, rows, queries = {}, [], []
    for path in progress(paths, "scores", unit="files"):
        identity, found, per_query = score_rows(path)
        unique(seen, tuple(identity.values()), path)
        of_study(identity, config, checkpoints, path)
        source = {"seed": config.seed, "file": relative(path, root), "sha256": sha256(path)}
        rows += [row | source for row in found]
        queries.append(per_query)
    same_metrics(rows, seen)
    per_query = pd.concat(queries, ignore_index=True)
    same_queries(per_query, seen)
    key = ["checkpoint", "recipe", "task"]
    per_query = per_query.sort_values([*key, "query_id"], ignore_index=True)
    per_query = per_query[[*key, *(name for name in per_query if name not in key)]]
    scores = pd.DataFrame(rows).merge(checkpoints[FACTS], on="checkpoint")
    return scores[FACTS + SCORES].sort_values([*key, "metric"], ignore_index=True), per_query


def read_curves(
    config: Spec,
    paths: list[Path],
    root: Path,
    checkpoints: pd.DataFrame,
    training: pd.DataFrame,
    scores: pd.DataFrame,
) -> pd.DataFrame:
    """One row a kept encoder, task and metric, and the rows of `scores` that end these curves.

    `queries`: how many were trained on, counted again in every epoch.
    """
    seen, rows = {}, []
    for path in progress(paths, "curves", unit="files"):
        identity, found = kept_rows(path)
        unique(seen, tuple(identity.values()), path)
        of_study(identity, config, checkpoints, path)
        source = {"file": relative(path, root), "sha256": sha256(path)}
        rows += [row | source for row in found]
    if not rows:
        return pd.DataFrame(columns=CURVES)
    kept, encoder = pd.DataFrame(rows), ["checkpoint", "recipe"]
    ends = (
        training.rename(columns={"step": "logged"})
        .groupby(encoder, as_index=False)[["logged", "steps", "queries"]]
        .max()
    )
    lasts = scores.merge(kept[[*encoder, "task"]].drop_duplicates(), on=[*encoder, "task"])
    table = pd.concat([kept, lasts]).merge(ends, on=encoder)
    table["step"] = table["step"].fillna(table["steps"]).astype(int)
    table["queries"] = table["queries"] // table["logged"] * table["step"]
    return table[CURVES].sort_values([*encoder, "task", "metric", "step"], ignore_index=True)


def read_icl(paths: list[Path], root: Path, checkpoints: pd.DataFrame) -> pd.DataFrame:
    """One row a checkpoint and in-context task."""
    seen, rows = {}, []
    for path in paths:
        row = icl_row(path)
        unique(seen, (row["checkpoint"], row["task"]), path)
        known(row["checkpoint"], checkpoints, path)
        rows.append(row | {"file": relative(path, root)})
    if not rows:
        return pd.DataFrame(columns=FACTS + ICL)
    table = pd.DataFrame(rows).merge(checkpoints[FACTS], on="checkpoint")
    return table[FACTS + ICL].sort_values(["checkpoint", "task"], ignore_index=True)


def average_icl(config: Spec, icl: pd.DataFrame) -> pd.DataFrame:
    """One row a checkpoint and category or average of each version of the gauntlet, naming what an absent one lacks."""
    found = []
    for checkpoint, rows in icl[icl["score"].notna()].groupby("checkpoint"):
        errors = rows["stderr"].astype(float) / (1 - rows["baseline"].astype(float))
        scores = dict(zip(rows["task"], zip(rows["score"].astype(float), errors)))
        for version, gauntlet in config.averages.items():
            for one in averages(scores, gauntlet.model_dump()):
                row = {"checkpoint": checkpoint, "gauntlet": version, **one._asdict()}
                found.append(row | {"missing": ", ".join(one.missing)})
    return pd.DataFrame(found, columns=AVERAGES).astype({"score": float, "stderr": float})


def relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def known(checkpoint: str, checkpoints: pd.DataFrame, path: Path) -> None:
    if checkpoint not in set(checkpoints["checkpoint"]):
        raise UserError(f"{path} is of checkpoint {checkpoint!r}, which has no card among the inputs")


def of_study(identity: dict, config: Spec, checkpoints: pd.DataFrame, path: Path) -> None:
    """Refuse a result of a checkpoint or recipe that this study does not have."""
    known(identity["checkpoint"], checkpoints, path)
    recipes = [GIVEN] if identity["checkpoint"] in config.encoders else config.recipes
    if identity["recipe"] not in recipes:
        lacks = f"which this study lacks{hint(identity['recipe'], recipes)}"
        raise UserError(f"{path} is of recipe {identity['recipe']!r}, {lacks}")


def same_metrics(rows: list[dict], files: dict[tuple, Path]) -> None:
    """Every encoder is scored by the same metrics on a task; another task may have others."""
    metrics: dict[tuple, set[str]] = {}
    for row in rows:
        metrics.setdefault((row["checkpoint"], row["recipe"], row["task"]), set()).add(row["metric"])
    firsts: dict[str, tuple] = {}
    for key, has in metrics.items():
        first = firsts.setdefault(key[-1], key)
        if differ := has ^ metrics[first]:
            raise UserError(
                f"{files[first]} and {files[key]} differ in their metrics of {key[-1]}: only one has "
                f"{', '.join(sorted(differ))}; delete the stale one and run again"
            )


def same_queries(per_query: pd.DataFrame, files: dict[tuple, Path]) -> None:
    """Paired comparisons need every encoder to answer the same queries of a task."""
    for task, rows in per_query.groupby("task"):
        first = None
        for (checkpoint, recipe), group in rows.groupby(["checkpoint", "recipe"]):
            found = set(group["query_id"])
            path = files[checkpoint, recipe, task]
            if first is None:
                first = (found, path)
            elif found != first[0]:
                raise UserError(
                    f"{first[1]} and {path} answer different queries of {task}; delete the stale one and run again"
                )


def complete(config: Spec, scores: pd.DataFrame) -> None:
    """Refuse an encoder that lacks a task, unless it is part of a group, which then has no score."""
    alone = {name for name, parts in (config.headline | config.in_domain).items() if parts == [name]}
    for (checkpoint, recipe), rows in scores.groupby(["checkpoint", "recipe"]):
        missing = sorted(alone - set(rows["task"]))
        if missing:
            raise UserError(f"{checkpoint} / {recipe} has no result for the tasks {', '.join(missing)}")
