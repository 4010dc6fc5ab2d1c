"""A task of mteb gives the tables that mteb evaluates, and our scores are those that mteb itself computes."""

import socket
import sys
import types
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

mteb = pytest.importorskip("mteb")

from datasets import Dataset
from mteb._evaluators import RetrievalEvaluator
from mteb.abstasks import AbsTaskRetrieval
from mteb.abstasks.task_metadata import TaskMetadata
from mteb.models import ModelMeta, SearchEncoderWrapper
from mteb.tasks.instruction_reranking.eng.core17_instruction_retrieval import Core17InstructionRetrieval
from mteb.tasks.instruction_retrieval.eng.instruct_ir import InstructIR
from mteb.timing import TimingStack

from retscale.errors import UserError
from retscale.evaluate import run as evaluate
from retscale.evaluate import task_tables
from retscale.evaluate.config import EvaluateConfig
from retscale.evaluate.metrics import STANDARD
from retscale.evaluate.mteb_search import MtebSearch
from retscale.evaluate.scored import per_query
from retscale.task import mteb_task
from retscale.task.config import MtebSource
from retscale.task.run import run as run_task
from retscale.task.run import write
from retscale.tokens.collection import Collection
from retscale.tokens.file import write as write_tokens

REVISION = "0" * 40
SOURCE = MtebSource(kind="mteb", name="Tiny", revision=REVISION)


def tiny(ignore_identical_ids: bool = False, candidates: bool = False):
    """60 documents and 15 queries of random letters, some texts twice, some query ids also document ids."""
    rng = np.random.default_rng(0)
    letters = lambda n: " ".join(rng.choice(list("abcdefgh"), n))
    documents = [{"id": f"x{i}", "title": letters(2) if i % 3 else "", "text": letters(4)} for i in range(60)]
    documents[7] = documents[3] | {"id": "x7"}
    queries = [{"id": f"x{i}" if i < 5 else f"q{i}", "text": letters(5)} for i in range(15)]
    relevant = {q["id"]: {f"x{d}": int(rng.integers(0, 3)) for d in rng.choice(60, 6, False)} for q in queries[:-1]}
    ranked = {q: sorted({*judged, "x1", "x2", "x3", "x7"}) for q, judged in relevant.items()}

    class Tiny(AbsTaskRetrieval):
        metadata = TaskMetadata(
            name="Tiny",
            description="",
            type="Retrieval",
            dataset={"path": "none", "revision": REVISION},
            eval_langs=["eng-Latn"],
            main_score="ndcg_at_10",
            category="t2t",
        )

        def load_data(self, **_):
            data = {
                "corpus": Dataset.from_list(documents),
                "queries": Dataset.from_list(queries),
                "relevant_docs": relevant,
            }
            data["top_ranked"] = ranked if candidates else None
            self.dataset, self.data_loaded = {"default": {"test": data}}, True

    task = Tiny()
    task.ignore_identical_ids = ignore_identical_ids
    return task


def letter_counts(texts: list[str]) -> np.ndarray:
    """Small integers in sixteenths: scores are exact in any order of summation, within 1, and often tie."""
    return np.array([[text.count(c) for c in "abcdefgh"] for text in texts], np.float32) / 16


class Letters:
    """An encoder of ours: vectors of letter counts; the tokens of a text are its bytes."""

    models, sha256 = [None], "letters"

    def tokens(self, texts, side):
        return [np.frombuffer(text.encode(), np.uint8).astype(np.int32) for text in texts]

    def embed(self, ids, what, replica=0):
        return letter_counts([bytes(x.tolist()).decode() for x in ids])


def ours_of(path: Path, config: EvaluateConfig = EvaluateConfig(), encoder=Letters()) -> tuple:
    """The task, and how the stage ranks its documents."""
    task, texts = task_tables.read(path), Collection(path.parent, {"passage": ""}, copied=False).texts("passage")
    passages = write_tokens(path.parent / "ids", (encoder.tokens(some, "passage") for some in texts))
    return task, evaluate.rank(task, passages, encoder, config, path.parent / "kept")[:2]


class Encoder:
    """The same vectors behind mteb's own protocol."""

    mteb_model_meta = ModelMeta.create_empty({"name": "tests/letters", "revision": "1"})

    def encode(self, inputs, **_):
        return letter_counts([text for batch in inputs for text in batch["text"]])

    def similarity(self, a, b):
        return torch.as_tensor(a) @ torch.as_tensor(b).T

    similarity_pairwise = similarity


def mtebs_scores(task) -> dict[str, dict]:
    """Per query, by mteb's own search and trec_eval."""
    task.load_data()
    data = task.dataset["default"]["test"]
    evaluator = RetrievalEvaluator(
        data["corpus"],
        data["queries"],
        task_metadata=task.metadata,
        hf_split="test",
        hf_subset="default",
        top_ranked=data["top_ranked"],
        top_k=1000,
        timer=TimingStack(),
    )
    found = evaluator(SearchEncoderWrapper(Encoder()), encode_kwargs={})
    found = {query: ranking for query, ranking in found.items() if query in data["relevant_docs"]}
    return evaluator.evaluate(data["relevant_docs"], found, [5, 10, 100], task.ignore_identical_ids).all_scores


def evaluated(model, task) -> dict:
    """All scores that mteb reports."""
    return mteb.evaluate(model, task, cache=None, co2_tracker=False)[0].scores["test"][0]


KINDS = pytest.mark.parametrize(("identical", "candidates"), [(False, False), (True, False), (False, True)])


@KINDS
def test_our_scores_are_mtebs_own(identical, candidates, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write("tiny", mteb_task.from_task(tiny(identical, candidates), SOURCE), tmp_path)
    task, ranked = ours_of(tmp_path / "task.json")
    ours = per_query(task, *ranked, STANDARD).set_index("query_id")
    theirs = pd.DataFrame(mtebs_scores(tiny(identical, candidates))).T.loc[ours.index]
    assert len(ours) == 14 and 0 < ours["ndcg_at_10"].mean() < 1
    names = {"recall_at_10": "recall_10", "recall_at_100": "recall_100", "map_at_100": "map_cut_100"}
    for name, other in ({"ndcg_at_10": "ndcg_cut_10", "precision_at_10": "P_10"} | names).items():
        np.testing.assert_allclose(ours[name], theirs[other], atol=1e-6, err_msg=name)
    if identical:
        assert not any(id in ranking for id, ranking in ours["doc_ids"].items())
    whole = evaluated(Encoder(), tiny(identical, candidates))
    for name in STANDARD:
        assert ours[name].mean() == pytest.approx(whole[name], abs=1e-5)  # mteb rounds to five digits


@KINDS
def test_mteb_reports_the_same_with_our_search_as_with_its_own(identical, candidates):
    ours = evaluated(MtebSearch(Letters()), tiny(identical, candidates))
    theirs = evaluated(Encoder(), tiny(identical, candidates))
    # nAUC is left out: it asks for the whole ranking's scores, and rounds.
    for name in (name for name in theirs if "_at_" in name and "nauc" not in name):
        assert ours[name] == pytest.approx(theirs[name], abs=1e-5), name


def test_a_candidate_that_the_corpus_does_not_hold_is_refused():
    task = tiny(candidates=True)
    task.load_data()
    data = task.dataset["default"]["test"]
    search = MtebSearch(Letters())
    search.index(data["corpus"])
    query = data["queries"]["id"][3]
    candidates = data["top_ranked"] | {query: [*data["top_ranked"][query], "gone"]}
    with pytest.raises(UserError, match=f"^1 of .* missing from the corpus, first 'gone' of the query '{query}'"):
        search.search(data["queries"], top_k=10, top_ranked=candidates)


def test_candidates_count_once_and_queries_without_any_rank_nothing():
    task = tiny()
    task.load_data()
    data = task.dataset["default"]["test"]
    search = MtebSearch(Letters())
    search.index(data["corpus"])
    ids = data["queries"]["id"]
    found = search.search(data["queries"], top_k=2, top_ranked={ids[0]: ["x1", "x2", "x1"]})
    assert set(found[ids[0]]) == {"x1", "x2"} and not any(found[id] for id in ids[1:])
    assert not any(search.search(data["queries"], top_k=2, top_ranked={}).values())


def test_documents_of_equal_text_have_equal_scores_whatever_the_batch():
    class Rounding(Letters):
        def embed(self, ids, what, replica=0):
            made = super().embed(ids, what)
            return made + np.float32(1e-7) * np.arange(len(made), dtype=np.float32)[:, None]

    task = tiny()
    task.load_data()
    data = task.dataset["default"]["test"]
    search = MtebSearch(Rounding())
    search.index(data["corpus"])
    for scores in search.search(data["queries"], top_k=60).values():
        assert scores["x3"] == scores["x7"]


def instructed(specific: type) -> AbsTaskRetrieval:
    """The tiny task with an instruction to each query, scored as `specific`, a task of mteb, is."""
    task = tiny()
    task.load_data()
    data = task.dataset["default"]["test"]
    of = (
        (lambda i: f"x{i // 2}-{('og', 'changed')[i % 2]}")
        if specific is not InstructIR
        else (lambda i: f"x{i // 2}_{i}")
    )
    queries = [{**row, "id": of(i), "instruction": "a b" * (i % 3)} for i, row in enumerate(data["queries"]) if i < 14]
    judged = list(data["relevant_docs"].values())
    data |= {
        "queries": Dataset.from_list(queries),
        "relevant_docs": {q["id"]: judged[i] for i, q in enumerate(queries)},
    }
    data["top_ranked"] = {q["id"]: sorted({*judged[i], *judged[i - 1], "x1"}) for i, q in enumerate(queries)}
    task.task_specific_scores = types.MethodType(specific.task_specific_scores, task)
    task.load_data = lambda **_: None
    task.metadata = task.metadata.model_copy(update={"main_score": specific.metadata.main_score})
    return task


FOLLOWING = pytest.mark.parametrize(
    ("specific", "name"), [(Core17InstructionRetrieval, "p-MRR"), (InstructIR, "robustness_at_10")]
)


@FOLLOWING
@pytest.mark.parametrize("candidates", ["few", "judged beyond them", "whole corpus"])
def test_the_stages_score_instruction_tasks_as_mteb_does(specific, name, candidates, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    changed = [{"query-id": f"x{i}", "corpus-ids": [f"x{i}", "x1", "x2"]} for i in range(6)]
    changed += [{"query-id": "nobody", "corpus-ids": ["x1"]}, {"query-id": "x6", "corpus-ids": ["gone", "x3"]}]
    for module in (sys.modules[Core17InstructionRetrieval.__module__], mteb_task.datasets):
        monkeypatch.setattr(module, "load_dataset", lambda *_, **__: changed)
    task = instructed(specific)
    data = task.dataset["default"]["test"]
    if candidates == "judged beyond them":
        data["top_ranked"] = {query: ids[::2] for query, ids in data["top_ranked"].items()}
    if candidates == "whole corpus":
        data["top_ranked"] = None
    made = mteb_task.from_task(task, SOURCE)
    write("tiny", made, tmp_path)
    assert made.judged_only == (candidates != "whole corpus")
    config = EvaluateConfig().model_copy(update={"k": 5 if name == "p-MRR" else 100})  # p-MRR ranks more than k
    read, ranked = ours_of(tmp_path / "task.json", config)
    ours = per_query(read, *ranked, STANDARD)
    theirs = evaluated(Encoder(), task)
    measure = mteb_task.INSTRUCTION_METRICS[name]
    assert ours[measure].mean() == pytest.approx(theirs[name], abs=1e-5) and ours[measure].notna().sum() == 7
    assert abs(theirs[name]) > 1e-3 and ours[measure].std() > 0.05
    for metric in STANDARD:
        assert ours[metric].mean() == pytest.approx(theirs[metric], abs=1e-5), metric


@FOLLOWING
def test_instruction_tasks_are_scored_by_mteb_on_our_search(specific, name, monkeypatch):
    changed = [{"query-id": f"x{i}", "corpus-ids": ["x1", "x2"]} for i in range(7)]
    monkeypatch.setattr(sys.modules[Core17InstructionRetrieval.__module__], "load_dataset", lambda *_, **__: changed)
    ours, theirs = (evaluated(model, instructed(specific))[name] for model in (MtebSearch(Letters()), Encoder()))
    assert ours == pytest.approx(theirs, abs=1e-6) and ours != 0


def test_a_revision_or_split_that_mteb_does_not_evaluate_is_refused():
    with pytest.raises(UserError, match="at revision 0000"):
        mteb_task.from_task(tiny(), SOURCE.model_copy(update={"revision": "1" * 40}))
    with pytest.raises(UserError, match="it has: default/test"):
        mteb_task.from_task(tiny(), SOURCE.model_copy(update={"split": "dev"}))
    with pytest.raises(UserError, match="no task 'NoSuchTask'"):
        mteb_task.collect(SOURCE.model_copy(update={"name": "NoSuchTask"}))


LAYOUT = """---
configs:
- config_name: default
  data_files:
  - split: train
    path: qrels/train.EXT
  - split: test
    path: qrels/test.EXT
- config_name: corpus
  data_files:
  - split: corpus
    path: corpus.EXT
- config_name: queries
  data_files:
  - split: queries
    path: queries.EXT
---
"""


def published(ending: str) -> dict[str, bytes]:
    """The tiny task as the repositories of mteb's BEIR tasks hold theirs."""
    task = tiny()
    task.load_data()
    data = task.dataset["default"]["test"]
    judged = [(q, d, s) for q, scores in data["relevant_docs"].items() for d, s in scores.items()]
    qrels = pd.DataFrame(judged, columns=["query-id", "corpus-id", "score"])
    tables = {
        "corpus": data["corpus"].to_pandas().rename(columns={"id": "_id"}),
        "queries": data["queries"].to_pandas().rename(columns={"id": "_id"}),
        "qrels/test": qrels,
        "qrels/train": qrels.iloc[:3],
    }
    write = {
        "jsonl": lambda table: table.to_json(orient="records", lines=True).encode(),
        "parquet": lambda table: table.to_parquet(index=False),
    }[ending]
    files = {f"{name}.{ending}": write(table) for name, table in tables.items()}
    return files | {
        "README.md": LAYOUT.replace("EXT", ending).encode(),
        "scifact.py": b"raise SystemExit",
        "x.png": b"",
    }


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_a_task_of_mteb_by_name_from_the_hub_to_scores(loopback, tmp_path, monkeypatch, ending):
    """SciFact by name, its repository replaced: fetched at the revision that mteb pins, then scored as mteb scores."""
    metadata = mteb.get_task("SciFact").metadata.dataset
    loopback.publish(metadata["path"], published(ending), kind="dataset", commit=metadata["revision"])
    loopback.publish(metadata["path"], {"README.md": b"a later commit"}, kind="dataset")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "datasets")
    spec = {"id": "scifact", "source": {"kind": "mteb", "name": "SciFact", "revision": metadata["revision"]}}
    reached = []
    monkeypatch.setattr("socket.socket.connect", recorded(reached))
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        run_task(spec, {}, tmp_path / name)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    servers = {("127.0.0.1", server.server_port) for server in loopback.servers}
    assert reached and set(reached) <= servers
    assert not loopback.bodies("scifact.py") and not loopback.bodies("x.png")
    for name in ("task.json", "corpus.parquet", "queries.parquet", "qrels.parquet"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
    task, ranked = ours_of(tmp_path / "one/task.json")
    ours = per_query(task, *ranked, STANDARD).set_index("query_id")
    theirs = pd.DataFrame(mtebs_scores(tiny())).T.loc[ours.index]
    assert len(ours) == 14 and 0 < ours["ndcg_at_10"].mean() < 1
    np.testing.assert_allclose(ours["ndcg_at_10"], theirs["ndcg_cut_10"], atol=1e-6)


def recorded(found: list):
    """`socket.connect` that notes the addresses."""
    real = socket.socket.connect

    def connect(self, address):
        if self.family != socket.AF_UNIX:
            found.append(address)
        return real(self, address)

    return connect


def test_a_damaged_file_of_a_task_is_refused_before_mteb_reads_it(loopback, tmp_path, monkeypatch):
    metadata = mteb.get_task("SciFact").metadata.dataset
    loopback.publish(metadata["path"], published("jsonl"), kind="dataset", commit=metadata["revision"])
    loopback.fail("corpus.jsonl", flip=20)
    source = MtebSource(kind="mteb", name="SciFact", revision=metadata["revision"])
    monkeypatch.setattr("mteb.abstasks.AbsTaskRetrieval.load_data", lambda *_, **__: pytest.fail("was read"))
    with pytest.raises(UserError, match="corpus.jsonl of mteb/scifact at d56462d0.* is damaged"):
        mteb_task.collect(source)


@FOLLOWING
def test_an_instruction_task_of_mteb_by_name_from_the_hub_to_scores(loopback, tmp_path, monkeypatch, specific, name):
    """As the test above; candidates, instructions and changed documents lie in parts of the repository of their own."""
    data = instructed(specific).dataset["default"]["test"]
    queries = data["queries"].to_pandas()
    judged = [(q, d, s) for q, scores in data["relevant_docs"].items() for d, s in scores.items()]
    tables = {
        "corpus": data["corpus"].to_pandas().rename(columns={"id": "_id"}),
        "queries": queries[["id", "text"]].rename(columns={"id": "_id"}),
        "default": pd.DataFrame(judged, columns=["query-id", "corpus-id", "score"]),
        "instruction": queries[["id", "instruction"]].rename(columns={"id": "query-id"}),
    }
    if specific is not InstructIR:
        tables["top_ranked"] = pd.DataFrame(data["top_ranked"].items(), columns=["query-id", "corpus-ids"])
        changed = [(f"x{i}", [f"x{i}", "x1", "x2"]) for i in range(7)]
        tables["qrel_diff"] = pd.DataFrame(changed, columns=["query-id", "corpus-ids"])
    part = "- config_name: {0}\n  data_files:\n  - split: {1}\n    path: {0}.jsonl\n"
    parts = "".join(part.format(table, "test" if table == "default" else table) for table in tables)
    files = {f"{table}.jsonl": rows.to_json(orient="records", lines=True).encode() for table, rows in tables.items()}
    files["README.md"] = f"---\nconfigs:\n{parts}---\n".encode()
    task = mteb.get_task(specific.metadata.name)
    dataset = task.metadata.dataset
    loopback.publish(dataset["path"], files, kind="dataset", commit=dataset["revision"])
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "datasets")
    monkeypatch.chdir(tmp_path)
    source = {"kind": "mteb", "name": specific.metadata.name, "revision": dataset["revision"]}
    run_task({"id": "t", "source": source}, {}, tmp_path)
    for file, content in files.items():
        (tmp_path / "repository" / file).parent.mkdir(exist_ok=True)
        (tmp_path / "repository" / file).write_bytes(content)
    task.metadata = task.metadata.model_copy(update={"dataset": dataset | {"path": str(tmp_path / "repository")}})
    theirs = evaluated(Encoder(), task)
    read, ranked = ours_of(tmp_path / "task.json")
    ours = per_query(read, *ranked, STANDARD)
    for measure, other in {mteb_task.INSTRUCTION_METRICS[name]: name, "ndcg_at_10": "ndcg_at_10"}.items():
        assert ours[measure].mean() == pytest.approx(theirs[other], abs=1e-5) and theirs[other] != 0, measure
