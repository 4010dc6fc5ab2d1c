"""Cuts of a task's corpus: what they hold, that they hold it again, and what is refused before or in the job."""

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

from retscale.collect.means import MEAN, in_domain, means, shown_tasks
from retscale.errors import UserError
from retscale.plan.jobs import jobs
from retscale.study import load, preflight, specs
from retscale.task.run import run

SMOKE = Path(__file__).parents[2] / "config" / "smoke.yaml"
DOCUMENTS = 40
QUERIES = {"q1": "word5 word6", "q2": "word7", "d9": "word9 word8"}  # the last one has the id of a document
QRELS = [("q1", "d1", 2), ("q1", "d2", 0), ("q2", "d3", 1), ("d9", "d4", 1), ("d9", "gone", 1)]


@pytest.fixture
def whole(tmp_path) -> Path:
    """task.json of a task whose document N holds `wordN` and nothing that other documents hold."""
    folder = tmp_path / "data"
    (folder / "qrels").mkdir(parents=True)
    documents = [{"_id": f"d{i}", "title": f"word{i}", "text": f"only{i}"} for i in range(DOCUMENTS)]
    queries = [{"_id": id, "text": text} for id, text in QUERIES.items()]
    for name, rows in (("corpus", documents), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (folder / "qrels/test.tsv").write_text("".join(f"{q}\t{d}\t{score}\n" for q, d, score in QRELS))
    return made(tmp_path / "whole", {"kind": "folder", "path": str(folder)}, id="whole")


def made(out: Path, source: dict, id: str = "cut", seed: int = 0, **inputs) -> Path:
    out.mkdir()
    run({"id": id, "source": source, "seed": seed}, inputs, out)
    return out / "task.json"


def cut(whole: Path, out: Path, seed: int = 0, runs: tuple[Path, ...] = (), **pool) -> Path:
    return made(out, {"kind": "cut", "of": "whole", **pool}, seed=seed, whole=whole, runs=list(runs))


def documents(task: Path) -> list[str]:
    return pd.read_parquet(task.with_name("corpus.parquet"))["doc_id"].tolist()


def ranking(folder: Path, rows: list[list[int]], **other) -> Path:
    """The evaluation of an encoder made elsewhere, with documents by number."""
    folder.mkdir(parents=True)
    result = {"checkpoint": "mine", "recipe": "given", "step": None, "task": "whole", "metrics": {}, "n_queries": 3}
    result |= {"n_documents": DOCUMENTS, "judged_only": False, "ties": 0, "k": 100} | other
    (folder / "whole.json").write_text(json.dumps(result))
    ids = [[f"d{i}" for i in row] for row in rows]
    pd.DataFrame({"query_id": list(QUERIES), "doc_ids": ids}).to_parquet(folder / "whole.parquet")
    return folder / "whole.json"


def test_a_cut_has_the_judged_and_what_the_pool_names_in_the_order_of_the_corpus(whole, tmp_path):
    run_of_mine = ranking(tmp_path / "mine", [[20, 1, 30], [21, 22, 31], [7, 20, 32]])
    task = cut(whole, tmp_path / "cut", bm25=5, encoders=["mine"], depth=2, runs=(run_of_mine,))
    # d1 to d4 are judged, d5 to d9 hold a query's words, and the first two of each ranking are d20, d1, d21, d22, d7.
    assert documents(task) == [f"d{i}" for i in (1, 2, 3, 4, 5, 6, 7, 8, 9, 20, 21, 22)]
    card = json.loads(task.read_text())
    assert card["notes"]["pool"] == {"judged": 4, "bm25": 5, "mine": 3}
    assert card["notes"]["dropped"] == {"document of whole outside the pool": DOCUMENTS - 12}
    assert card["documents"] == 12 and card["queries"] == 3 and card["judgements"] == len(QRELS)
    for name in ("queries", "qrels"):
        assert card["sha256"][name] == json.loads(whole.read_text())["sha256"][name]


def test_what_is_drawn_is_seeded_and_a_larger_number_keeps_a_smaller_one(whole, tmp_path):
    few, many, other = (
        cut(whole, tmp_path / name, random=n, seed=seed)
        for name, n, seed in (("few", 6, 0), ("many", 12, 0), ("other", 6, 1))
    )
    assert len(documents(few)) == 4 + 6 and set(documents(few)) < set(documents(many))
    assert len(documents(many)) == 4 + 12 and set(documents(other)) != set(documents(few))
    assert cut(whole, tmp_path / "again", random=6).read_bytes() == few.read_bytes()


def test_only_relevant_documents_if_asked_for(whole, tmp_path):
    assert documents(cut(whole, tmp_path / "cut", judged="relevant", random=0)) == ["d1", "d3", "d4"]


def test_a_query_does_not_choose_its_own_document(whole, tmp_path):
    card = json.loads(whole.read_text())
    whole.write_text(json.dumps(card | {"ignore_identical_ids": True}))
    task = cut(whole, tmp_path / "cut", bm25=5)
    assert documents(task) == [f"d{i}" for i in (1, 2, 3, 4, 5, 6, 7, 8)]
    assert json.loads(task.read_text())["ignore_identical_ids"]


@pytest.mark.parametrize(
    ("pool", "message"),
    [
        ({"bm25": 40}, "task 'cut': pool.bm25 is 40, but the whole task has 40 documents; lower it"),
        ({"random": 41}, "task 'cut': pool.random is 41, but the whole task has 40 documents"),
        ({"random": 36}, "task 'cut': the pool holds all 40 documents of whole; lower its numbers, or evaluate whole"),
        ({"of": "another"}, "is of the task 'whole', but the spec cuts 'another'"),
        ({"encoders": ["mine"], "depth": 9}, "--runs: there is none of mine, which the pool names"),
    ],
)
def test_a_pool_that_cuts_nothing_is_refused_in_the_job(whole, tmp_path, pool, message):
    with pytest.raises(UserError, match=message):
        cut(whole, tmp_path / "cut", **pool)


def test_rankings_of_another_task_or_too_short_are_refused(whole, tmp_path):
    for number, (changed, message) in enumerate(
        [
            ({"task": "other"}, "mine / given on other, which the pool"),
            ({"k": 5}, "ranks 5 documents, fewer than the pool"),
        ]
    ):
        run_of_mine = ranking(tmp_path / f"mine{number}", [[1], [2], [3]], **changed)
        with pytest.raises(UserError, match=message):
            cut(whole, tmp_path / f"cut{number}", encoders=["mine"], depth=9, runs=(run_of_mine,))


def test_a_task_that_ranks_judged_documents_alone_has_no_corpus_to_cut(whole, tmp_path):
    whole.write_text(json.dumps(json.loads(whole.read_text()) | {"judged_only": True}))
    with pytest.raises(UserError, match="whole ranks only the documents judged for a query"):
        cut(whole, tmp_path / "cut", random=3)


SHARED = Path(__file__).parents[3] / "shared/data/ir-classic/cranfield"


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"{SHARED} is not there")
def test_cranfield_is_cut_to_the_documents_that_the_docs_say(tmp_path):
    whole = made(tmp_path / "whole", {"kind": "folder", "path": str(SHARED)}, id="whole")
    card = json.loads(cut(whole, tmp_path / "cut", bm25=5, random=100).read_text())
    assert card["notes"]["pool"] == {"judged": 924, "bm25": 136, "random": 100} and card["documents"] == 1160
    judged = set(pd.read_parquet(whole.with_name("qrels.parquet"))["doc_id"])
    assert judged <= set(documents(tmp_path / "cut/task.json"))


# --- in a study

MINE = {"id": "mine", "source": {"kind": "folder", "path": "/data/mine"}}
CUT = {"id": "cut", "cut_of": "mine", "pool": {"bm25": 9}}


def study(tmp_path, **changes):
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(SMOKE.read_text()) | {"tasks": ["fiqa", MINE]} | changes))
    return load.study(path)


def test_a_contrast_is_evaluated_and_in_no_mean_but_those_that_name_it(tmp_path):
    both = study(tmp_path, contrasts=[CUT], groups={"cuts": ["cut"]})
    assert list(both.tasks) == ["fiqa", "mine", "cut"] and both.batches == {"small": ["cut", "fiqa", "mine"]}
    assert means(both) == {"cuts": ["cut"], MEAN: ["fiqa", "mine"]} and list(shown_tasks(both)) == list(both.tasks)
    spec = specs.collect(both)
    assert list(spec["headline"]) == ["fiqa", "mine"]
    assert spec["contrasts"] == ["cut"] and spec["cuts"] == {"cut": "mine"}
    pool = {"judged": "all", "bm25": 9, "encoders": [], "depth": 100, "random": 0}
    assert specs.task(both, "cut") == {"id": "cut", "source": {"kind": "cut", "of": "mine", **pool}, "seed": 0}


def test_studies_without_cuts_have_the_specs_that_they_had(tmp_path):
    plain = study(tmp_path)
    assert not specs.collect(plain).keys() & {"contrasts", "cuts"}
    assert specs.task(plain, "mine").keys() == {
        *("id", "source", "judged_only", "max_queries", "max_documents", "ignore_identical_ids", "seed"),
    }


def test_a_task_of_the_catalog_may_be_cut_without_being_evaluated(tmp_path):
    lone = study(tmp_path, tasks=["fiqa", {"id": "small", "cut_of": "NFCorpus", "pool": {"random": 100}}])
    assert list(lone.tasks) == ["fiqa", "small"] and list(lone.headline) == ["fiqa", "small"] and lone.cuts == {}
    assert list(lone.tasks_to_read) == ["fiqa", "small", "nfcorpus"]
    job = next(job for job in jobs(lone) if job.makes.keys() == {"task/small/task.json"})
    assert job.reads == ["task/nfcorpus/task.json"]


def test_a_cut_of_what_was_trained_on_is_in_domain(tmp_path):
    pairs = {"use": "boolq", "tasks": ["xsum"]}
    entry = {"id": "small", "cut_of": "xsum", "pool": {"random": 100}}
    assert list(study(tmp_path, tasks=["fiqa", entry], pairs=pairs).in_domain) == ["small"]
    both = study(tmp_path, tasks=["fiqa", "xsum"], contrasts=[entry], pairs=pairs)
    assert list(both.in_domain) == ["xsum"] and in_domain("small", both) and not in_domain("fiqa", both)


def test_rankings_that_a_cut_waits_for_come_first(tmp_path):
    pool = {"encoders": ["other"], "random": 9}
    waiting = study(tmp_path, contrasts=[CUT | {"pool": pool}], encoders=[{"id": "other", "path": "/models/other"}])
    assert waiting.batches == {"pooled": ["cut"], "small": ["fiqa", "mine"]}
    made_so_far: set[str] = set()
    for job in jobs(waiting):
        assert made_so_far.issuperset(job.reads), job.label
        made_so_far |= job.makes.keys()
    job = next(job for job in jobs(waiting) if job.name == ("cut",))
    assert job.reads == ["task/mine/task.json", "evaluate/other/given/mine.json"]


HUNDRED = {"id": "other", "path": "/models/other"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"contrasts": [CUT | {"pool": {"encoders": ["othr"]}}], "encoders": [HUNDRED]}, "did you mean 'other'"),
        ({"contrasts": [CUT | {"pool": {"encoders": ["x"]}}]}, r"tasks \(cut\).pool.encoders.0: unknown encoder 'x'"),
        (
            {
                "tasks": ["fiqa"],
                "contrasts": [{"id": "c", "cut_of": "nfcorpus", "pool": {"encoders": ["other"]}}],
                "encoders": [HUNDRED],
            },
            "their rankings of nfcorpus are read, so it must be evaluated; add it to `tasks` or `contrasts`",
        ),
        (
            {"contrasts": [CUT | {"pool": {"encoders": ["other"], "depth": 250}}], "encoders": [HUNDRED]},
            "pool.depth is 250, but rankings hold `evaluate.k` documents, 100",
        ),
        (
            {"contrasts": [CUT, CUT | {"id": "again", "cut_of": "cut"}]},
            "contrasts.1.cut_of: cut is itself a cut of mine",
        ),
        ({"contrasts": [{"id": "c", "cut_of": "nano-fever", "pool": {}}]}, "nano-fever is itself a cut of fever"),
        ({"contrasts": [CUT | {"cut_of": "fikwa"}]}, r"contrasts.0.cut_of: unknown task 'fikwa'"),
        (
            {"contrasts": [{"use": "fiqa", "id": "c", "pool": {"bm25": 1}}]},
            "contrasts.0.use: a cut has all but its doc",
        ),
        ({"contrasts": [CUT | {"max_queries": 9}]}, "contrasts.0.max_queries: a cut has all but its documents"),
        ({"contrasts": [{"id": "c", "pool": {"bm25": 1}}]}, "contrasts.0: `pool` needs `cut_of`"),
        ({"contrasts": [{"id": "c", "cut_of": "privacy-policy", "pool": {}}]}, "a task with `judged_only` ranks none"),
        ({"contrasts": [CUT | {"seed": 3}]}, "contrasts.0.seed: has an effect only with"),
        ({"contrasts": [CUT | {"pool": {"depth": 3}}]}, "contrasts.0.pool.depth: has an effect only with `encoders`"),
        ({"contrasts": ["fiqa"]}, "contrasts: fiqa: also in `tasks`; keep one of them"),
        ({"contrasts": [CUT, CUT | {"id": "c"}]}, "tasks: cut and c are the same and would count twice"),
        ({"tasks": ["fiqa", MINE, CUT]}, "tasks: mine and cut are versions of one task, mine"),
        ({"contrasts": [CUT], "groups": {"g": ["mine", "cut"]}}, "groups.g: mine and cut are versions of one task"),
        ({"contrasts": [CUT], "held_out": ["cut"]}, "held_out: cut is cut from mine here; hold out mine"),
        ({"contrasts": [CUT], "curve_tasks": ["cut"]}, "curve_tasks.0: unknown task or group of this study 'cut'"),
    ],
)
def test_a_cut_that_cannot_be_is_refused_before_any_job(tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        study(tmp_path, **changes)


def test_two_draws_of_one_pool_are_two_cuts(tmp_path):
    drawn = [CUT | {"id": f"cut-{seed}", "pool": {"random": 9}, "seed": seed} for seed in (1, 2)]
    assert list(study(tmp_path, contrasts=drawn).contrasts) == ["cut-1", "cut-2"]


def test_a_pool_as_large_as_a_corpus_of_known_size_is_refused_before_any_job(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    entry = {"id": "small", "cut_of": "nfcorpus", "pool": {"random": 3633}}
    with pytest.raises(
        UserError, match=r"tasks \(small\): pool.random is 3,633, but the whole task has 3,633 documents"
    ):
        preflight.check_files(study(tmp_path, tasks=["fiqa", entry]))
    entry["pool"]["random"] = 3632
    preflight.check_files(study(tmp_path, tasks=["fiqa", entry]))
    counted = tmp_path / "results/smoke/task/fiqa/task.json"
    counted.parent.mkdir(parents=True)
    counted.write_text('{"documents": 648}')
    with pytest.raises(UserError, match=r"tasks \(c\): pool.bm25 is 700, but the whole task has 648 documents"):
        preflight.check_files(
            study(tmp_path, tasks=["fiqa"], contrasts=[{"id": "c", "cut_of": "fiqa", "pool": {"bm25": 700}}])
        )
