"""`retscale compare`: the numbers by hand and by scipy's paired tests, and what cannot be compared."""

import json
from itertools import product

import artifacts
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from retscale.cli import main
from retscale.evaluate.compare import compare


def test_p_is_the_share_of_exchanges_that_differ_at_least_as_much():
    a, b = np.array([0.5, 0.9, 0.4, 0.3, 0.6]), np.array([0.4, 0.4, 0.5, 0.1, 0.6])
    result = compare(a, b)
    means = [np.mean(signs * (a - b)) for signs in product([1, -1], repeat=5)]
    assert result.p == np.mean(np.abs(means) >= abs(np.mean(a - b)) - 1e-12)
    assert (result.queries, result.better, result.worse, result.ties) == (5, 3, 1, 1)
    assert result.difference == pytest.approx(0.14) and result.means == pytest.approx((0.54, 0.4))


def test_many_queries_agree_with_the_paired_t_test():
    rng = np.random.default_rng(0)
    b = rng.random(400)
    a = b + rng.normal(0.02, 0.2, 400)
    result, t = compare(a, b), stats.ttest_rel(a, b)
    assert result.p == pytest.approx(t.pvalue, abs=0.01)
    np.testing.assert_allclose((result.low, result.high), t.confidence_interval(0.95), atol=0.003)
    assert result == compare(a, b)  # seeded


def test_an_encoder_does_not_differ_from_itself_and_exchanged_ones_differ_the_other_way():
    rng = np.random.default_rng(1)
    a, b = rng.random((2, 50))
    same = compare(a, a)
    assert (same.difference, same.low, same.high, same.p, same.ties) == (0, 0, 0, 1, 50)
    one, other = compare(a, b), compare(b, a)
    assert (one.difference, one.p, one.better) == (-other.difference, other.p, other.worse)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))


QUERIES = [f"q{i}" for i in range(6)]
A, B = [0.5, 0.9, 0.4, 0.3, 0.6, 0.2], [0.4, 0.1, 0.5, 0.1, 0.6, 0.2]


def results(folder, values, queries=QUERIES, **facts):
    folder.mkdir(parents=True)
    table = pd.DataFrame({"query_id": queries, "ndcg_at_10": values, "mrr_at_10": 1.0, "p_mrr": np.nan})
    table.assign(doc_ids=[["d"]] * len(table), scores=[[1.0]] * len(table)).to_parquet(folder / "t.parquet")
    (folder / "t.json").write_text(json.dumps(artifacts.result(n_documents=9) | facts))
    return folder


@pytest.fixture
def study(tmp_path):
    results(tmp_path / "evaluate/a/r", A)
    results(tmp_path / "evaluate/b/r", B[::-1], QUERIES[::-1])  # the order of queries does not matter
    return tmp_path / "evaluate"


def test_the_command_prints_the_test_and_the_queries_that_differ_most(study, capsys):
    table = study.parent / "task/t/queries.parquet"
    table.parent.mkdir(parents=True)
    pd.DataFrame({"query_id": QUERIES, "text": [f"what is {id}?" for id in QUERIES]}).to_parquet(table)
    assert main(["compare", f"{study}/a/r", f"{study}/b/r", "t", "--most", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    result = compare(np.array(A), np.array(B))
    assert lines[2].startswith(
        f"A - B  +0.1667 ndcg_at_10, 95% interval [{result.low:+.4f}, {result.high:+.4f}], p = 0."
    )
    assert lines[3] == "6 queries: A is better on 3, B on 1, 2 ties"
    alone = (1.959964 + 0.841621) * np.std(np.subtract(A, B), ddof=1) / 6**0.5
    assert lines[4].startswith(
        f"a difference of {alone:.4f} is found with a power of 80% at 0.05, knowing queries alone"
    )
    assert lines[-2:] == ["0.9000  0.1000  +0.8000  q1  what is q1?", "0.3000  0.1000  +0.2000  q3  what is q3?"]


def test_files_need_no_task_and_texts_are_left_out_where_there_are_none(study, capsys):
    files = [f"{study}/{name}/r/t.parquet" for name in "ab"]
    assert main(["compare", *files, "--metric", "mrr_at_10"]) == 0
    out = capsys.readouterr().out
    assert "A - B  +0.0000 mrr_at_10, 95% interval [+0.0000, +0.0000], p = 1.0000" in out and out.endswith("6 ties\n")
    assert main(["compare", *files]) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith("q2")


@pytest.mark.parametrize(
    ("change", "more", "says"),
    [
        ({"queries": [*QUERIES[:5], "q9"]}, (), "has ndcg_at_10 for 1 query that .* lacks, such as 'q5'"),
        ({"queries": QUERIES[:4], "values": B[:4]}, (), "for 2 queries that .* lacks, such as 'q4'"),
        ({"queries": [*QUERIES, "q6"], "values": [*B, 1]}, (), "for 1 query that .* lacks, such as 'q6'"),
        ({"relevant": 2}, (), "relevant is 1 in .* and 2 in "),
        ({"n_documents": 8}, (), "n_documents is 9 in .* and 8 in "),
        ({}, ("--metric", "ndcg_at_5"), "has no ndcg_at_5; it has query_id, ndcg_at_10, mrr_at_10, p_mrr"),
        ({}, ("--metric", "p_mrr"), "has p_mrr for 0 queries; a paired test needs at least two"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(study, capsys, change, more, says):
    results(study / "c", **({"values": B} | change))
    assert main(["compare", f"{study}/a/r", f"{study}/c", "t", *more]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and pytest.importorskip("re").search(says, error), error


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("a/r", "b/r"), "name the task as well"),
        (("a/r", "b/r", "x"), "there is no file"),
        (("a/r/t.json",) * 2, "t.json: "),
        (("a/r/t.parquet", "b/r/t.parquet", "x"), "t.parquet is a result on t, not on x"),
        (("a/r", "b/r", "t", "--most", "-1"), "--most must be 0 or more"),
    ],
)
def test_what_is_not_there_is_named(study, capsys, arguments, says):
    assert main(["compare", *(str(study / x) if "/" in x else x for x in arguments)]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and says in error
