"""The registry of metrics: one list for all stages, and a study that draws only what it computes."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import artifacts
import numpy as np
import pandas as pd
import pytest
import yaml
from test_collect_synthetic import write_study

from retscale.collect.run import run as collect
from retscale.common.tables import read_table
from retscale.errors import UserError
from retscale.evaluate import metrics
from retscale.evaluate.config import EvaluateConfig
from retscale.evaluate.scored import per_query
from retscale.evaluate.task_tables import Task
from retscale.external.config import Columns, Published
from retscale.external.table import read as read_published
from retscale.figure.data import Tables
from retscale.fit.run import run as fit
from retscale.study import load, schema
from retscale.task.card import TaskCard
from retscale.task.mteb_task import INSTRUCTION_METRICS

SMOKE = Path(__file__).parents[2] / "config" / "smoke.yaml"
WORKFLOW = str(Path(__file__).parents[2] / "workflow")


def test_every_metric_has_a_label_and_a_range():
    assert metrics.label("recall_at_1000") == "Recall@1000" and metrics.label("p_mrr") == "p-MRR"
    known = [metrics.metric(name) for name in (*metrics.STANDARD, *metrics.INSTRUCTION)]
    assert [metric.least for metric in known] == [0] * len(metrics.STANDARD) + [-1, 0]
    assert {metric.most for metric in known} == {1}
    assert metrics.parts("map_at_100") == ("map", 100)
    assert metrics.INSTRUCTION.keys() == set(INSTRUCTION_METRICS.values())


@pytest.mark.parametrize(
    "name",
    [
        "recall_at_0",
        "recall_at_",
        "recall",
        "hits_at_10",
        "ndcg_at_10000",
        "p_mrr_at_10",
        "ndcg_at_10\n",
        "ndcg_at_\u0661",
    ],
)
def test_what_is_no_metric_is_refused(name):
    assert metrics.metric(name) is None
    with pytest.raises(ValueError, match="must be one of ndcg_at_K, recall_at_K, .* with K from 1 to 9999"):
        EvaluateConfig(k=9999, metrics=[name])


def test_the_driver_reads_them_without_arrays_and_models():
    code = "import sys, retscale.evaluate.metrics; sys.exit(bool({'numpy', 'pandas', 'torch'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": WORKFLOW})


def study(tmp_path, **changes):
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(SMOKE.read_text()) | changes))
    return load.study(path)


def test_a_fit_takes_any_metric_that_the_study_computes_and_no_other(tmp_path):
    assert study(tmp_path, fit={"metric": "map_at_100"}).file.fit.metric == "map_at_100"
    deep = {"k": 1000, "metrics": ["recall_at_1000"]}
    assert study(tmp_path, fit={"metric": "recall_at_1000"}, evaluate=deep).file.fit.metric == "recall_at_1000"
    with pytest.raises(UserError, match=r"fit.metric is recall_at_1000, which no evaluation computes; add it to"):
        study(tmp_path, fit={"metric": "recall_at_1000"})
    with pytest.raises(UserError, match=r"fit.metric: must be one of .*p_mrr, .*found 'recall_at_ten'"):
        study(tmp_path, fit={"metric": "recall_at_ten"})
    with pytest.raises(UserError, match=r"evaluate.metrics.0: must be one of ndcg_at_K, .*found 'p_mrr'"):
        study(tmp_path, evaluate={"metrics": ["p_mrr"]})


def err(matches, k: int) -> np.ndarray:
    """ERR@k (Chapelle et al. 2009): a reader stops at a document of gain g with probability (2^g - 1) / 2^most."""
    values, going = np.zeros(matches.queries), np.ones(matches.queries)
    most = 2.0 ** matches.judged_gain.max(initial=0)
    for row, rank, gain in zip(matches.row, matches.rank, matches.gain):
        if rank < k:
            stop = (2.0**gain - 1) / most
            values[row] += going[row] * stop / (rank + 1)
            going[row] *= 1 - stop
    return values


def small_task() -> Task:
    """Two queries and four documents: gains 0 3 2 0 and 1 0 0 0."""
    judged = {"judged_queries": np.array([0, 0, 1]), "judged_documents": np.array([1, 2, 0])}
    return Task(
        card=TaskCard(**artifacts.task()),
        query_ids=np.array(["q0", "q1"], object),
        queries=["a", "b"],
        doc_ids=np.array(list("wxyz"), object),
        **judged,
        scores=np.array([3, 2, 1]),
        candidate=np.ones(3, bool),
        changed=None,
    )


def test_adding_err_is_one_entry_and_reaches_every_stage(tmp_path, monkeypatch):
    """Study, evaluation, tables, fit, figures and published tables know a measure from its entry in the registry."""
    before = schema.text()
    monkeypatch.setitem(metrics.MEASURES, "err", metrics.Measure(label="ERR", compute=err, graded=True))
    assert schema.text() == before  # which is a file of the clone
    asked = study(tmp_path, fit={"metric": "err_at_10"}, evaluate={"metrics": ["err_at_10"]}).file
    assert asked.fit.metric == "err_at_10" and asked.evaluate.names[-1] == "err_at_10"

    ranked = np.array([[0, 1, 2, 3], [1, 0, 2, 3]])
    table = per_query(small_task(), ranked, np.zeros((2, 4)), asked.evaluate.names, relevant=2)
    assert table["err_at_10"].tolist() == pytest.approx([7 / 8 / 2 + 1 / 8 * 3 / 8 / 3, 1 / 8 / 2])

    spec, inputs = write_study(tmp_path / "results", sizes={"40k": 40_000, "160k": 160_000}, queries=12)
    for i, path in enumerate([*inputs["scores"], *inputs["kept"]]):
        values = [((i + query) % 12) / 11 for query in range(12)]
        result = json.loads(path.read_text())
        path.write_text(json.dumps(result | {"metrics": result["metrics"] | {"err_at_10": sum(values) / 12}}))
        pd.read_parquet(path.with_suffix(".parquet")).assign(err_at_10=values).to_parquet(path.with_suffix(".parquet"))
    for name in ("collect", "fit"):
        (tmp_path / name).mkdir()
    collected, fitted = tmp_path / "collect" / "collect.json", tmp_path / "fit" / "fit.json"
    collect(spec, inputs, collected.parent)
    scores = read_table(collected, "scores").query("metric == 'err_at_10'")
    assert len(scores) == len(inputs["scores"]) and "err_at_10" in read_table(collected, "per_query")
    assert "err_at_10" in set(read_table(collected, "curves")["metric"])
    fit({"bootstrap": 200, "metric": "err_at_10"}, {"collect": collected}, fitted.parent)
    points = read_table(fitted, "points").set_index(["checkpoint", "recipe", "task"])
    assert all(points.loc[(row.checkpoint, row.recipe, row.task), "y"] == row.value for row in scores.itertuples())
    assert Tables(collected, fitted).metric == "ERR@10"

    (tmp_path / "table.csv").write_text("model,task,err_at_10\nm,fiqa,0.3\n")
    told = {"source": "s", "models": None, "names": {"fiqa": "fiqa"}, "splits": {}, "columns": Columns()}
    rows, _ = read_published(tmp_path / "table.csv", Published(metric="err_at_10", **told))
    assert rows[0].value == 0.3


def test_a_range_of_its_own_is_the_one_that_is_checked(tmp_path, monkeypatch):
    ndcg = metrics.MEASURES["ndcg"]
    monkeypatch.setitem(metrics.MEASURES, "ndcg", replace(ndcg, least=-2.0, most=9.0))
    (tmp_path / "table.csv").write_text("model,task,ndcg_at_10\nm,fiqa,7\nm,nq,10\n")
    told = {"source": "s", "models": None, "splits": {}, "columns": Columns()}
    both = Published(metric="ndcg_at_10", names={"fiqa": "fiqa", "nq": "nq"}, **told)
    with pytest.raises(UserError, match="line 3: the value 10 lies outside -2 to 9"):
        read_published(tmp_path / "table.csv", both)
