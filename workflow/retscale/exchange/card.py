"""`retscale card CHECKPOINT/RECIPE STUDY`: the model card of an encoder, a README.md that the Hugging Face hub reads."""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import yaml
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from retscale import paths
from retscale.common.tables import read_table
from retscale.encoder import names
from retscale.encoder.card import Trained
from retscale.errors import UserError
from retscale.evaluate.metrics import label
from retscale.exchange.export import name_of
from retscale.figure.words import interval, short
from retscale.fit.detectable import BOTH, QUERIES
from retscale.fit.summary import FitSummary
from retscale.model.kinds import OWN_ATTENTION
from retscale.provenance import record
from retscale.report.formats import Table, markdown
from retscale.study import load
from retscale.study.results import finished
from retscale.study.study import Study

# The licences of checkpoints and data that the hub has a name for; any other is `other` there.
NAMED_BY_HUB = {
    "apache-2.0",
    "mit",
    "bsd-3-clause",
    "cc0-1.0",
    "cc-by-4.0",
    "cc-by-sa-3.0",
    "cc-by-sa-4.0",
    "cc-by-nc-4.0",
}


@dataclass(frozen=True)
class Described:
    """An encoder of a study: its file, its digest, and its `scores`, whose intervals are `intervals`."""

    study: Study
    encoder: Trained
    digest: str
    loads: bool  # in sentence-transformers
    metric: str
    scores: pd.DataFrame
    intervals: str


def main(arguments: argparse.Namespace) -> int:
    """Print it; UserError if the study has not run, or has no such encoder."""
    study = load.study(arguments.study)
    print(card(described(study, arguments.study, arguments.encoder)))
    return 0


def described(study: Study, file: Path, name: str) -> Described:
    """The encoder CHECKPOINT/RECIPE of the study in `file`; UserError if the study has not run, or has no such encoder."""
    checkpoint, _, recipe = name.partition("/")
    if checkpoint not in study.trained.get(recipe, ()):
        known = [f"{one}/{name}" for name, trained in study.trained.items() for one in trained]
        raise UserError(f"the study trains no encoder {name!r}; it trains {', '.join(known) or 'none'}")
    fit = finished(study, file, ("fit",))["fit"]
    path = Path(paths.Results(str(paths.folder(study.name))).finetune(checkpoint, recipe))
    summary, (scores, over) = FitSummary.read(fit), scores_of(fit, checkpoint, recipe)
    return Described(
        study,
        Trained.read(path, "train this encoder again"),
        record.digest(record.read(path)),
        (path.parent / names.SENTENCE_TRANSFORMERS).is_file(),
        summary.config.metric,
        scores,
        f"{100 * (1 - summary.config.alpha):g}% over {over}",
    )


def scores_of(fit: Path, checkpoint: str, recipe: str) -> tuple[pd.DataFrame, str]:
    """The points of one encoder, and over what their intervals are.

    Of several trainings that differ in their seeds `points` has the mean, and `trainings` each one.
    """
    trainings, points = (
        table[(table["checkpoint"] == checkpoint) & (table["recipe"] == recipe) & table["y"].notna()]
        for table in (read_table(fit, name) for name in ("trainings", "points"))
    )
    if len(trainings):
        return trainings, QUERIES
    return points, BOTH if FitSummary.read(fit).repeats else QUERIES


def card(described: Described) -> ModelCard:
    return ModelCard("\n".join(["---", header(described).to_yaml(), "---", "", *body(described), ""]))


def header(described: Described) -> ModelCardData:
    """What the hub reads."""
    study, encoder = described.study, described.encoder
    checkpoint = study.checkpoints[encoder.checkpoint]
    pairs = [study.pairs[id].source for id in study.mixture(encoder.recipe.id)]
    licence = checkpoint.licence.lower()
    named = (
        {"license": licence} if licence in NAMED_BY_HUB else {"license": "other", "license_name": checkpoint.licence}
    )
    results = [
        EvalResult(
            task_type="retrieval",
            dataset_type=row.task,
            dataset_name=row.task,
            metric_type=described.metric,
            metric_value=row.y,
        )
        for row in described.scores.itertuples()
        if row.task in study.tasks
    ]
    return ModelCardData(
        **(named if licence else {"license": "unknown"}),
        base_model=getattr(checkpoint.source, "repo", None),
        datasets=[source.repo for source in pairs if source.kind == "hub"] or None,
        library_name="sentence-transformers" if described.loads else "transformers",
        pipeline_tag="sentence-similarity",
        tags=["retscale", "feature-extraction"],
        model_name=name_of(encoder.checkpoint, encoder.recipe.id),
        eval_results=results or None,
    )


def body(described: Described) -> Iterator[str]:
    """The text, in Markdown."""
    study, encoder = described.study, described.encoder
    checkpoint, sizes = study.checkpoints[encoder.checkpoint], encoder.n_params
    yield f"# {name_of(encoder.checkpoint, encoder.recipe.id)}"
    yield ""
    yield f"The checkpoint {encoder.checkpoint}, fine-tuned for retrieval by the recipe {encoder.recipe.id} of the study"
    yield f"*{study.file.title}*."
    yield ""
    yield f"- Parameters: {sizes.total:,} ({sizes.non_embedding:,} without embeddings)"
    tokens = getattr(checkpoint.source, "tokens", None) or checkpoint.tokens
    yield f"- Pretraining tokens: {short(tokens) if tokens else 'unknown'}"
    yield f"- Licence of the checkpoint: {checkpoint.licence or 'unknown'}"
    yield f"- Origin of the checkpoint: {checkpoint.origin or checkpoint.source.kind}"
    if encoder.attention == "bidirectional":
        yield (
            "- Attention: each token sees the whole text, by `is_causal: false` of config.json, which transformers does not "
            f"heed for {', '.join(sorted(OWN_ATTENTION))}"
        )
    yield f"- Fine-tuning: {encoder.steps:,} steps on {encoder.pairs:,} pairs"
    yield f"- Provenance: the record of its training has the digest `{described.digest}`"
    yield ""
    if described.loads:
        yield from ("## Use", "", "```python", "from sentence_transformers import SentenceTransformer", "")
        yield from ("model = SentenceTransformer(folder)", 'queries = model.encode_query(["..."])')
        yield from ('documents = model.encode_document(["..."])', "```", "")
    sources = [(id, study.pairs[id]) for id in study.mixture(encoder.recipe.id)]
    rows = [[id, data.licence or "unknown", data.origin or data.source.kind] for id, data in sources]
    yield from markdown(Table("Training data", "lll", ["data set", "licence", "origin"], rows))
    yield ""
    over = f"{label(described.metric)}, intervals of {described.intervals}"
    scores = [
        [row.task, interval(row.y, row.low, row.high), f"{row.n_queries:,}"] for row in described.scores.itertuples()
    ]
    yield from markdown(Table(over, "lrr", ["task", "score", "queries"], scores))
    yield ""
    yield from ("**Recipe**", "", "```yaml")
    yield yaml.safe_dump(encoder.recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True).rstrip()
    yield "```"
