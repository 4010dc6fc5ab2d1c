"""The names of metrics: one list for all stages, and a study that draws only what it computes."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from retscale.errors import UserError
from retscale.evaluate import metrics
from retscale.evaluate.config import EvaluateConfig
from retscale.evaluate.metric_names import FOLLOWING, MEASURES, METRICS, NAME, label, metric, parts
from retscale.study import load

SMOKE = Path(__file__).parents[2] / "config" / "smoke.yaml"


def test_every_measure_is_computed_and_every_metric_has_a_label():
    assert MEASURES.keys() == metrics.MEASURES.keys()
    assert label("recall_at_1000") == "Recall@1000" and label("p_mrr") == "p-MRR"
    assert [metric(name).least for name in (*METRICS, *FOLLOWING)] == [0] * len(METRICS) + [-1, 0]
    assert parts("map_at_100") == ("map", 100)


@pytest.mark.parametrize("name", ["recall_at_0", "recall_at_", "recall", "hits_at_10", "ndcg_at_10000", "p_mrr_at_10"])
def test_what_is_no_metric_is_refused(name):
    assert not re.search(NAME, name)
    with pytest.raises(ValueError, match="pattern"):
        EvaluateConfig(k=9999, metrics=[name])


def test_the_driver_reads_them_without_arrays():
    code = "import sys, retscale.evaluate.metric_names as m; sys.exit('numpy' in sys.modules or 'torch' in sys.modules)"
    path = str(Path(__file__).parents[2] / "workflow")
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": path})


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
    with pytest.raises(UserError, match="fit.metric: string should match pattern"):
        study(tmp_path, fit={"metric": "recall_at_ten"})
