"""The JSON file of each job against its record: whose it is, what its spec says, and the sha256 that it lists of others.

A forger who recomputes the hashes of records must change these files as well, and then those that name their hashes.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from retscale.audit.place import plain
from retscale.audit.walk import Node, Walk
from retscale.checkpoint.card import Card
from retscale.collect.summary import CollectSummary, StudySummary
from retscale.common.artifact import Artifact
from retscale.common.files import sha256
from retscale.common.flops import flops
from retscale.common.tables import Summary
from retscale.common.wheel import installed
from retscale.encoder.card import EncoderCard, Trained
from retscale.evaluate.result import Result
from retscale.external.summary import ExternalSummary
from retscale.fit.summary import FitSummary
from retscale.icl.result import IclResult
from retscale.items.card import ItemsCard
from retscale.leakage.result import Leakage
from retscale.pairs.card import PairsCard
from retscale.stages import STAGES
from retscale.task.card import TaskCard
from retscale.text.card import TextCard
from retscale.tokens.card import TokensCard

Problems = Iterator[tuple[Path, str]]  # each with its culprit


@dataclass(frozen=True)
class Document:
    """What the declared output of a stage, read as `model`, must say.

    `names`: for each part of the record's place what the document says of it. `lists`: the sha256 of other outputs, and
    whether those are `all` besides itself. `says`: pairs of what it and the job's spec say of the same thing, by key.
    """

    model: type[Artifact]
    names: Mapping[str, Callable] = field(default_factory=dict)
    lists: Callable[..., dict[str, str]] = lambda card, name: {}
    all: bool = False
    says: Callable[..., dict[str, tuple]] = lambda card, spec: {}


def _tables(card: TaskCard, _: str) -> dict[str, str]:
    return {f"{name}.parquet": digest for name, digest in card.sha256.items()}


def _tokens(card: TokensCard, name: str) -> dict[str, str]:
    return {f"{name}.{part}": digest for part, digest in card.files.items()}


def _model(card: Card, _: str) -> dict[str, str]:
    """Of a model that was made by the card's own job."""
    return {f"{card.model}/{name}": digest for name, digest in card.files.items()} if card.made_here else {}


def _files(card: PairsCard | Trained | Summary, _: str) -> dict[str, str]:
    return card.files


def _of_checkpoint(card: Card, spec: dict) -> dict[str, tuple]:
    cost = None if card.n_tokens is None else flops(card.n_params.total, card.n_tokens)
    return {"source": (card.source.model_dump(mode="json"), spec["source"]), "flops": (card.flops, cost)}


def _of_training(card: Trained, spec: dict) -> dict[str, tuple]:
    recipe = {key: value for key, value in spec["recipe"].items() if key != "keep"}  # changes no encoder
    weights = card.files.get("model.safetensors")
    return {"recipe": (card.recipe.model_dump(mode="json"), recipe), "weights": (card.weights_sha256, weights)}


def _of_collect(card: CollectSummary, spec: dict) -> dict[str, tuple]:
    said = card.model_dump(mode="json", include=set(StudySummary.model_fields))
    return {key: (value, spec[key]) for key, value in said.items() if key in spec}


def _of_fit(card: FitSummary, spec: dict) -> dict[str, tuple]:
    return {"config": (card.config.model_dump(mode="json"), spec)}


EVALUATION = Document(
    Result,
    {
        "checkpoint": lambda card: card.checkpoint,
        "recipe": lambda card: card.recipe,
        "step": lambda card: None if card.step is None else str(card.step),
        "length": lambda card: None if card.length is None else str(card.length),
        "task": lambda card: card.task,
    },
)
DOCUMENTS = {
    "text": Document(TextCard, lists=lambda card, _: {"tokenizer/tokenizer.json": card.tokenizer_sha256}),
    "checkpoint": Document(Card, {"checkpoint": lambda card: card.id}, _model, says=_of_checkpoint),
    "pairs": Document(PairsCard, {"pairs": lambda card: card.id}, _files, all=True),
    "tokens": Document(TokensCard, lists=_tokens, all=True),
    "finetune": Document(
        Trained,
        {"checkpoint": lambda card: card.checkpoint, "recipe": lambda card: card.recipe.id},
        _files,
        says=_of_training,
    ),
    "encoder": Document(EncoderCard, {"checkpoint": lambda card: card.checkpoint}),
    "task": Document(TaskCard, {"task": lambda card: card.id}, _tables, all=True),
    "evaluate": EVALUATION,
    "reference": EVALUATION,
    "leakage": Document(Leakage, {"task": lambda card: card.task}),
    "items": Document(
        ItemsCard, {"task": lambda card: card.id}, lambda card, _: {"items.jsonl": card.sha256}, all=True
    ),
    "icl": Document(IclResult, {"checkpoint": lambda card: card.checkpoint, "task": lambda card: card.task}),
    "collect": Document(CollectSummary, {}, _files, all=True, says=_of_collect),
    "fit": Document(FitSummary, {}, _files, all=True, says=_of_fit),
    "external": Document(ExternalSummary, {}, _files, all=True),
}


def check(node: Node, walked: Walk) -> Problems:
    """What is wrong with the document of one record, whose outputs are what they were; UserError if it is none."""
    document, place = DOCUMENTS.get(node.stage), node.place
    if document is None or place is None:
        return
    path = node.primary
    card = document.model.read(path, "no job writes that")
    for name, read in document.names.items():
        if name in place.names and (said := read(card)) != place.names[name]:
            yield path, f"says that its {name} is {said}, but lies where that of {place.names[name]} belongs"
    for key, (said, expected) in document.says(card, node.spec).items():
        if said != expected:
            yield path, f"says another {key} than the spec of its job"
    listed = {plain(path.parent / name): digest for name, digest in document.lists(card, path.stem).items()}
    for file, digest in listed.items():
        if file not in node.outputs:
            yield node.path, f"does not list the output {file}, which {path.name} lists"
        elif node.outputs[file] != digest:
            yield file, f"is not the file that {path.name} beside it lists"
    if document.all:
        for file in sorted(node.outputs.keys() - listed.keys() - {path}):
            yield path, f"does not list {file}, which lies beside it and was made with it"
    yield from OTHERS.get(node.stage, _nothing)(card, node, walked)


def _nothing(*_: object) -> Problems:
    yield from ()


def _of_tokens(card: TokensCard, node: Node, _: Walk) -> Problems:
    """They are of the very table that the job read."""
    read = {row.sha256 for row in node.inputs if row.name in ("tasks", "pairs")}
    for side, texts in card.texts.items():
        if texts.source not in read:
            yield node.primary, f"says that its {side} tokens are of a table that its job did not read"


def _of_given(card: EncoderCard, node: Node, walked: Walk) -> Problems:
    """Its files lie outside of the study, and are inputs; those of a wheel are compared with the installed wheel."""
    if card.wheel:
        if not installed(card.wheel):
            walked.findings.doubt(f"the wheel {card.wheel}, which has the files of {node.primary}, is not installed")
            return
        home = card.home(node.primary)
        for name, digest in card.files.items():
            if not (home / name).is_file() or sha256(home / name) != digest:
                yield node.primary, f"lists {name}, which is not the file of the installed wheel {card.wheel}"
        return
    # Two of its folders may hold files of one name, and of an input elsewhere a record has the name alone.
    read = {(row.path.name, row.sha256) for row in node.inputs if row.name == "files"}
    for name, digest in card.files.items():
        if (Path(name).name, digest) not in read:
            yield node.primary, f"lists {name}, which is not the file that its job read"


def _of_steps(card: Trained, node: Node, _: Walk) -> Problems:
    step = node.place.names["step"] if node.place else None
    if step is not None and card.steps != int(step):
        yield (
            node.primary,
            f"says that it was trained for {card.steps} steps, but lies where that of step {step} belongs",
        )


def _of_its_collect(card: FitSummary, node: Node, walked: Walk) -> Problems:
    """It was fitted to the very tables that its record names."""
    read = [row for row in node.inputs if row.path.name == STAGES["collect"].primary]
    if [row.sha256 for row in read] != [card.collect_sha256]:
        yield node.primary, "was fitted to another collect.json than the one that its record names"


OTHERS = {
    "tokens": _of_tokens,
    "encoder": _of_given,
    "finetune": _of_steps,
    "fit": _of_its_collect,
}


def weights(node: Node, walked: Walk) -> Problems:
    """A job that loads a model outside of the study lists each file of it, as the model's card does."""
    kind = STAGES[node.stage]
    cards = [row for row in node.inputs if row.name == "card" and row.record]
    if "card" in kind.reads or not cards:
        return
    card_path = next((row.path for row in cards if row.path.name == STAGES["checkpoint"].primary), None)
    if card_path is None or not walked.hashed.get(card_path):
        return
    card = Card.read(card_path, "no job writes that")
    listed = {} if card.made_here else card.files
    loose = [row for row in node.inputs if row.name == "card" and not row.record]
    # Where the model lies differs between machines, so only the names in its folder are compared.
    names = {row.path: next((name for name in listed if row.path.as_posix().endswith(f"/{name}")), "") for row in loose}
    for name in sorted(listed.keys() - set(names.values())):
        yield node.path, f"does not list {name}, which {card_path} says is loaded"
    for row in loose:
        if not names[row.path]:
            yield node.path, f"names no record for its input {row.path}, which {card_path} does not list"
        elif listed[names[row.path]] != row.sha256:
            yield node.path, f"has another sha256 of {row.path} than {card_path}"
