"""`retscale compare A B TASK`: a paired test of two encoders on the same queries of a task."""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from retscale.common import parquet
from retscale.common.phrase import counted
from retscale.common.tables import read_table
from retscale.common.terminal import answer
from retscale.errors import UserError
from retscale.evaluate.result import Result
from retscale.fit.detectable import POWER, QUERIES, error
from retscale.fit.nested import Component
from retscale.fit.seeds import Load, Noise
from retscale.fit.split import TRAINING
from retscale.fit.summary import FitSummary

RESAMPLES, SEED, AT_A_TIME = 9999, 0, 500
ALPHA = 0.05
LARGEST = 10**6  # no metric has such values, and with far larger ones nothing can be computed
MUST_AGREE = ("task", "n_documents", "judged_only", "relevant")  # what two results must agree on to be comparable


@dataclass(frozen=True)
class Comparison:
    """Two encoders' values of a metric on the same queries: `difference` is the first mean minus the second.

    `low` and `high` bound its 95% interval (BCa bootstrap over queries), `p` is two-sided, by exchanges of the two values
    of a query: all of them where these are few, else random ones. Both are seeded.
    """

    queries: int
    means: tuple[float, float]
    difference: float
    low: float
    high: float
    p: float
    better: int
    worse: int

    @property
    def ties(self) -> int:
        return self.queries - self.better - self.worse


def compare(a: np.ndarray, b: np.ndarray) -> Comparison:
    """The paired test of float64 values (queries,), at least two."""
    differences = a - b
    low = high = differences.mean()
    if np.ptp(differences) > 0:  # else every resample is the sample, and BCa undefined
        low, high = stats.bootstrap(
            (differences,), np.mean, method="BCa", n_resamples=RESAMPLES, batch=AT_A_TIME, rng=SEED
        ).confidence_interval
    p = stats.permutation_test(
        (a, b),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=AT_A_TIME,
        rng=SEED,
    ).pvalue
    return Comparison(
        queries=len(a),
        means=(float(a.mean()), float(b.mean())),
        difference=float(differences.mean()),
        low=float(low),
        high=float(high),
        p=float(p),
        better=int((differences > 0).sum()),
        worse=int((differences < 0).sum()),
    )


def main(arguments: argparse.Namespace) -> int:
    if arguments.most < 0:
        raise UserError(f"--most must be 0 or more, found {arguments.most}")
    paths = [table_path(path, arguments.task) for path in (arguments.a, arguments.b)]
    a, b = paired(*paths, arguments.metric)
    lines = report(compare(a.to_numpy(), b.to_numpy()), arguments.metric, paths)
    if np.ptp(a - b) > 0:
        lines.append(detectable((a - b).to_numpy(), seed_noise(paths, arguments.metric)))
    for line in lines + extremes(a, b, arguments.most, texts(paths)):
        answer(line)
    return 0


def table_path(path: Path, task: str | None) -> Path:
    """TASK.parquet in a folder of results, or the file itself."""
    if not path.is_dir():
        if task not in (None, path.stem):
            raise UserError(f"{path} is a result on {path.stem}, not on {task}; leave the task out, or name a folder")
        return path
    if task is None:
        raise UserError(f"{path} is a folder; name the task as well, such as `retscale compare A B scifact`")
    return path / f"{task}.parquet"


def paired(first: Path, second: Path, metric: str) -> tuple[pd.Series, pd.Series]:
    """The metric by query id in both results, in the same order; UserError if they are not of the same queries."""
    a, b = (values(path, metric) for path in (first, second))
    for left, right, path, other in ((a, b, first, second), (b, a, second, first)):
        if len(extra := left.index.difference(right.index)):
            raise UserError(
                f"{path} has {metric} for {counted(len(extra), 'query')} that {other} lacks, such as {extra[0]!r}; compare "
                "results on the same task"
            )
    if len(a) < 2:
        raise UserError(f"{first} has {metric} for {counted(len(a), 'query')}; a paired test needs at least two")
    summaries = [path.with_suffix(".json") for path in (first, second)]
    results = [Result.read(path) for path in summaries if path.exists()]
    for key in MUST_AGREE if len(results) == 2 else ():
        if (first_value := getattr(results[0], key)) != (second_value := getattr(results[1], key)):
            raise UserError(
                f"{key} is {first_value} in {first} and {second_value} in {second}; compare results on the same task"
            )
    return a, b.loc[a.index]


def values(path: Path, metric: str) -> pd.Series:
    """The metric by query id, without the queries that have no value."""
    try:
        table = parquet.read(path, {"query_id": "text", metric: "number"})
    except UserError as error:
        raise UserError(
            f"{error}; name two folders under results/<study>/evaluate and a task, or two TASK.parquet files, and a metric "
            "that was computed"
        ) from None
    if table["query_id"].duplicated().any():
        raise UserError(f"{path} has two rows for one query; it is not a result of `retscale evaluate`")
    if (table[metric].abs() > LARGEST).any():
        raise UserError(
            f"{path}: {metric} is more than {LARGEST:,} for a query; it is not a result of `retscale evaluate`"
        )
    return table.set_index("query_id")[metric].dropna()


def texts(paths: list[Path]) -> dict[str, str]:
    """The queries' texts by id, if one of the results lies in a study beside its task."""
    for path in paths:
        for folder in path.resolve().parents:
            queries = folder.parent / "task" / path.stem / "queries.parquet"
            if folder.name in ("evaluate", "reference") and queries.exists():
                table = parquet.read(queries, {"query_id": "text", "text": "text"})
                return dict(zip(table["query_id"], table["text"]))
    return {}


def report(result: Comparison, metric: str, paths: list[Path]) -> list[str]:
    return [
        *(f"{name}  {mean:.4f}  {path}" for name, mean, path in zip("AB", result.means, paths)),
        f"A - B  {result.difference:+.4f} {metric}, 95% interval [{result.low:+.4f}, {result.high:+.4f}], p = {result.p:.4f}",
        f"{counted(result.queries, 'query')}: A is better on {result.better}, B on {result.worse}, {counted(result.ties, 'tie')}",
    ]


def detectable(differences: np.ndarray, noise: list[Noise]) -> str:
    """The smallest difference that such a comparison would find, in a line."""
    queries = float(differences.var(ddof=1)) / len(differences)
    off = error(queries, [(one, Load()) for one in noise])
    knows = "queries alone, not the seeds of trainings" if off.knows == QUERIES else off.knows
    return f"a difference of {off.detectable(ALPHA):.4f} is found with a power of {POWER:.0%} at {ALPHA:g}, knowing {knows}"


def seed_noise(paths: list[Path], metric: str) -> list[Noise]:
    """What is known of the seeds behind each result; a recipe without seeds has the noise of the other one."""
    known = [noise_of(path, metric) for path in paths]
    return [one if one.training else other for one, other in (known, known[::-1])]


def noise_of(path: Path, metric: str) -> Noise:
    """From the fit of the study in which a result lies, if that has run, by the same metric, and knows it."""
    evaluate = path.resolve().parents[2]
    fit = evaluate.parent / "fit" / "fit.json"
    if evaluate.name != "evaluate" or not fit.is_file():
        return Noise()
    try:
        summary, table = FitSummary.read(fit), read_table(fit, "variance")
    except UserError:  # of an older version
        return Noise()
    recipe = summary.repeats.recipe(path.parent.name)
    about = (table["recipe"] == recipe) & (table["task"] == path.stem) & (table["source"] == TRAINING)
    rows = table[about & (table["status"] == "ok")]
    if rows.empty or summary.config.metric != metric:
        return Noise()
    row = rows.iloc[0]
    return Noise(Component(row["variance"], row["low"], row["high"], row["variance"], int(row["df"]), 0.0))


def extremes(a: pd.Series, b: pd.Series, most: int, texts: dict[str, str]) -> list[str]:
    """The `most` queries that differ most, if they differ, with both values."""
    table = pd.DataFrame({"a": a, "b": b, "difference": a - b}).sort_index()
    table = table.sort_values("difference", key=np.abs, ascending=False, kind="stable")
    rows = table[table["difference"] != 0][:most]
    lines = [f"{x:.4f}  {y:.4f}  {d:+.4f}  {id}  {texts.get(id, '')[:100]}" for id, x, y, d in rows.itertuples()]
    return ["", "A       B       A - B    query", *(line.rstrip() for line in lines)] if lines else []
