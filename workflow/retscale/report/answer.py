"""The answer in some sentences for a reader who knows neither the field's words nor statistics."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from retscale.common.phrase import counted
from retscale.figure.words import number, short
from retscale.fit.claim import LUO
from retscale.fit.extrapolate import FARTHEST
from retscale.fit.rules import MARGIN, OPEN, REFUTED, STRONG, SUPPORTED, growth
from retscale.report.analysis import forecasts, rolling, single_tasks
from retscale.report.results import Results, rows

Row = Mapping  # a record of a table, with None for what is missing


@dataclass(frozen=True)
class Scale:
    """What scores are of: the metric, how many tasks the mean is over, how many families of models there are, and how
    much intervals cover, such as `95%`.
    """

    metric: str
    tasks: int
    families: int
    percent: str


def answer(results: Results) -> list[str]:
    """Growth, small against large, tasks, in-context learning, forecasts: one sentence each, whatever is missing.

    A last one has the claims about backbones, if the study tests any.
    """
    claims = {row["claim"]: row for row in rows(results.table("claims"))}
    scale = Scale(results.metric, len(results.study.headline), results.ladder["family"].nunique(), results.percent)
    verdicts = Counter(growth(row["low"], row["high"]) for row in single_tasks(results))
    return [
        growth_sentence(claims.get("grows"), scale),
        equal_sentence(claims.get("equal-compute"), scale),
        tasks_sentence(claims.get("most-tasks"), verdicts),
        icl_sentence(claims.get("icl-retrieval"), claims.get("icl-beyond-compute"), scale),
        forecast_sentence(forecasts(results), rolling(results), scale),
        *backbones_sentences([row for row in claims.values() if row["paper"] == LUO]),
    ]


def growth_sentence(row: Row | None, scale: Scale) -> str:
    about = "with the computation that a language model was pretrained with"
    if row is None or row["value"] is None:
        return f"Whether retrieval improves {about} **cannot be told**: {why(row, 'there is no trend')}."
    effect = (
        f"ten times as much of it changes the score by {signed(row['value'])} {between(row, scale)}, as "
        f"{counted(int(row['n']), 'model')} show; the score is mean {scale.metric} over {counted(scale.tasks, 'task')}, which "
        "says how well the first results are ranked and is at most 1"
    )
    if row["verdict"] == SUPPORTED:
        return f"**Yes**, retrieval improves {about}: {effect}."
    if row["verdict"] == REFUTED:
        return f"**No**, retrieval hardly improves {about}: {effect}, and a change below {MARGIN:g} is no growth."
    return f"Whether retrieval improves {about} **cannot be told**: {effect}, and growth is what is above {MARGIN:g}."


def equal_sentence(row: Row | None, scale: Scale) -> str:
    models = "a small model trained longer"
    question = (
        f"For the same computation, whether {models} does as well as a larger one trained less **cannot be told**"
    )
    if row is None or row["value"] is None:
        lacking = "the models are too few or too alike for that"
        return f"{question}: {lacking}{in_brackets(row)}."
    effect = f"ten times as much text per parameter changes the score by {signed(row['value'])} {between(row, scale)}"
    if row["verdict"] == SUPPORTED:
        head = f"For the same computation, {models} does **as well** as a larger one trained less"
        return f"{head}: {effect}, less than the {MARGIN:g} that would matter."
    if row["verdict"] == REFUTED:
        better = "better" if row["value"] > 0 else "worse"
        return f"For the same computation, {models} does **{better}** than a larger one trained less: {effect}."
    return f"{question}: {effect}, which may be more or less than the {MARGIN:g} that would matter."


def tasks_sentence(row: Row | None, verdicts: Mapping[str, int]) -> str:
    """`verdicts` counts those of single tasks."""
    tasks = sum(verdicts.values())
    if row is None or not tasks:
        return f"On how many tasks retrieval improves **cannot be told**: {why(row, 'no task has a trend')}."
    grow, flat, rest = (verdicts.get(verdict, 0) for verdict in (SUPPORTED, REFUTED, OPEN))
    parts = [f"on {flat} it does not"] if flat else []
    parts += [f"on {rest} the scores are too few or too uneven to tell"] if rest else []
    head = f"Taken one at a time, retrieval improves on **{grow} of {counted(tasks, 'task')}**"
    return "; ".join([head, *parts]) + "."


def icl_sentence(raw: Row | None, beyond: Row | None, scale: Scale) -> str:
    """Both claims: the correlation that shared growth brings about, and what is left of it at the same compute."""
    what = "Learning in context, which is solving a task from the prompt alone,"
    if raw is None or raw["value"] is None:
        return f"{what} **cannot be compared** with retrieval here: {why(raw, 'it was not measured')}."
    closely = "go together" if raw["value"] > STRONG else "hardly go together"
    together = (
        f"{what} and retrieval {closely} across {counted(int(raw['n']), 'model')} (correlation "
        f"{number(raw['value'], 2)}, of at most 1), and abilities that both grow with computation are expected to"
    )
    if beyond is None or beyond["value"] is None:
        few = "the models are too few to separate the two"
        return f"{together}; whether they share more than that **cannot be told**: {few}{in_brackets(beyond)}."
    left = f"correlation {number(beyond['value'], 2)} {between(beyond, scale, 2)} once size and training are equal"
    ending = {
        SUPPORTED: f"they share **more** than that: {left}",
        REFUTED: f"beyond that they share **little or nothing**: {left}",
        OPEN: f"whether they share more than that **cannot be told**: {left}",
    }
    return f"{together}; {ending[beyond['verdict']]}."


def forecast_sentence(targets: list[Row], past: Row | None, scale: Scale) -> str:
    """Of the farthest model that may be forecast, and how such forecasts of sizes that were held out have done."""
    tested = "no size could be held out to test such forecasts"
    if past is not None and past["n"]:
        tested = (
            f"of {counted(int(past['n']), 'model')} whose sizes were held out and forecast from the smaller ones, "
            f"**{int(past['hits'])}** scored within the range forecast"
        )
    if forecasts := [row for row in targets if row["status"] == "ok"]:
        row = max(forecasts, key=lambda row: row["flops"])
        size = f"{short(row['n_params'])} parameters pretrained on {short(row['n_tokens'])} tokens (pieces of words)"
        family = f" in the average of the {scale.families} families" if scale.families > 1 else ""
        score = f"**{number(row['y'], 2)}** {between(row, scale, 2)}"
        return f"A model of {size}, the farthest that may be forecast, would score {score}{family}; {tested}."
    if not targets:
        return f"**No** larger model is forecast: the study names none, or there is no trend; {tested}."
    row = min(targets, key=lambda row: row["flops"])
    if row["decades_beyond"] is None or row["decades_beyond"] <= FARTHEST:
        return f"**No** larger model may be forecast: {why(row, 'there is no trend')}; {tested}."
    size = f"{short(row['n_params'])} parameters and {short(row['n_tokens'])} tokens (pieces of words)"
    times = f"{short(10 ** row['decades_beyond'])} times the computation of the largest here"
    limit = f"forecasts end at {10**FARTHEST:g} times"
    return f"**No** larger model may be forecast: one of {size} takes {times}, and {limit}; {tested}."


def backbones_sentences(claims: list[Row]) -> list[str]:
    """How many of these claims hold; none if there are none."""
    verdicts = Counter(row["verdict"] for row in claims)
    head = f"Of {counted(len(claims), 'claim')} of {LUO} about models and their fine-tuning"
    hold, fail = verdicts[SUPPORTED], verdicts[REFUTED]
    parts = f"**{hold} {'holds' if hold == 1 else 'hold'}** here, {fail} {'does' if fail == 1 else 'do'} not"
    parts += f", and {verdicts[OPEN]} cannot be told"
    return [f"{head} {parts}: the table of claims lists them."] if claims else []


def between(row: Row, scale: Scale, digits: int = 3) -> str:
    """`(95% interval 0.031 to 0.052)`, or why there is none."""
    if row["low"] is None or row["high"] is None:
        return f"(without an interval: {why(row, 'none can be given')})"
    return f"({scale.percent} interval {number(row['low'], digits)} to {number(row['high'], digits)})"


def signed(value: float) -> str:
    return f"{'+' if value > 0 else ''}{number(value)}"


def why(row: Row | None, otherwise: str) -> str:
    """The reason of a row without an estimate."""
    return row["reason"].replace("checkpoint", "model") if row is not None and row["reason"] else otherwise


def in_brackets(row: Row | None) -> str:
    return f" ({why(row, '')})" if why(row, "") else ""
