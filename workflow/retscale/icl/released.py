"""Rows of the gauntlet's jsonl files, checked and turned into items."""

from pathlib import Path

from retscale.common import jsonl
from retscale.errors import UserError
from retscale.icl.item import Item, Program
from retscale.items.config import JsonlSource
from retscale.provenance import hash_cache

TEXT, TEXTS = "a text", "a list of texts"
FIELDS = {
    "multiple_choice": {"query": TEXT, "choices": TEXTS, "gold": "a position"},
    "language_modeling": {"context": TEXT, "continuation": TEXT},
    "schema": {"context_options": TEXTS, "continuation": TEXT, "gold": "a position"},
    "generation_task_with_answers": {"context": TEXT, "answer": TEXT},
    "code_evaluation": {
        "prompt": TEXT,
        "canonical_solution": TEXT,
        "entry_point": TEXT,
        "test_inputs": TEXTS,
        "test_outputs": TEXTS,
        "language": TEXT,
    },
}


def locate(source: JsonlSource, fetched: Path | None) -> Path:
    """The file of `source`: `fetched` (an items.json of the stage `items`) or below its folder; UserError if absent."""
    if source.needs_fetch:
        if fetched is None:
            raise UserError(f"{source.file} must be fetched first; give its items.json with --tasks")
        return fetched.with_name("items.jsonl")
    if path := source.find():
        return path
    raise UserError(
        f"the file {source.file} is missing below {source.folder}; correct `folder`, or remove it to have the file fetched"
    )


def read(path: Path, source: JsonlSource, kind: str) -> tuple[list[Item], str]:
    """The items of the file `path`, a task of type `kind`, and its sha256; UserError for a row that is not one."""
    digest = hash_cache.sha256(path)
    if source.sha256 not in (None, digest):
        raise UserError(f"{path} has the sha256 {digest}, but {source.sha256} is pinned; it is not the released file")
    return [item(row, kind, f"{path}, line {number}") for number, row in jsonl.objects(path)], digest


def item(row: dict, kind: str, where: str) -> Item:
    """One item. As released, texts lose the blanks at their ends, but neither the texts of lists nor code do."""
    check(row, kind, where)
    category = str(row.get("category", ""))
    if kind == "code_evaluation":
        program = Program(
            row["entry_point"], tuple(row["test_inputs"]), tuple(row["test_outputs"]), row["language"].lower()
        )
        return Item(row["prompt"], (row["canonical_solution"],), 0, category=category, program=program)
    if kind == "generation_task_with_answers":
        aliases = row.get("aliases") or []
        if not isinstance(aliases, list) or not all(isinstance(alias, str) for alias in aliases):
            raise UserError(f"{where}: aliases must be {TEXTS}, found {aliases!r}")
        if not isinstance(thought := row.get("chain_of_thought"), str | None):
            raise UserError(f"{where}: chain_of_thought must be {TEXT}, found {thought!r}")
        answers = tuple(dict.fromkeys([row["answer"], *aliases]))
        return Item(row["context"].strip(), answers, 0, category=category, thought=thought)
    if kind == "language_modeling":
        return Item(row["context"].strip(), (row["continuation"].strip(),), 0, category=category)
    if kind == "schema":
        end = row["continuation"].strip()
        return Item("", tuple(row["context_options"]), row["gold"], end=end, category=category)
    return Item(row["query"].strip(), tuple(row["choices"]), row["gold"], category=category)


def check(row: dict, kind: str, where: str) -> None:
    """UserError unless `row` has the fields of its type, whole."""
    for field, expected in FIELDS[kind].items():
        if field not in row:
            raise UserError(f"{where}: a {kind} item needs the field {field!r}; it has {', '.join(map(repr, row))}")
        value = row[field]
        if expected == TEXT and not isinstance(value, str):
            raise UserError(f"{where}: {field} must be {expected}, found {value!r}")
        if expected == TEXTS and not (isinstance(value, list) and all(isinstance(text, str) for text in value)):
            raise UserError(f"{where}: {field} must be {expected}, found {value!r}")
        if field in ("continuation", "answer") and not value.strip():
            raise UserError(f"{where}: {field} is empty, so nothing could be scored")
    options = row.get("choices" if kind == "multiple_choice" else "context_options")
    if kind in ("multiple_choice", "schema"):
        if len(options) < 2 or not all(option.strip() for option in options):
            raise UserError(f"{where}: an item needs at least two choices, none of them empty; found {options!r}")
        gold = row["gold"]
        if isinstance(gold, bool) or not isinstance(gold, int) or not 0 <= gold < len(options):
            raise UserError(
                f"{where}: gold is {gold!r}; with {len(options)} choices it must be 0 to {len(options) - 1}"
            )
    if kind == "code_evaluation" and (not row["test_inputs"] or len(row["test_inputs"]) != len(row["test_outputs"])):
        raise UserError(
            f"{where}: {len(row['test_inputs'])} test_inputs for {len(row['test_outputs'])} test_outputs; give one or "
            "more, as many of each"
        )
