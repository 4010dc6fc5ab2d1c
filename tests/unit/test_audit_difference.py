"""The first difference of two files, as a replay says it."""

import pandas as pd
import pytest

from retscale.audit import difference


def table(path, **columns):
    pd.DataFrame(columns).to_parquet(path, index=False)


@pytest.mark.parametrize(
    "name, then, now, said",
    [
        ("x.json", '{"a": {"b": [1, 2]}}', '{"a": {"b": [1, 3]}}', "a.b[2] is 2, made again 3"),
        ("x.json", '{"a": 1, "b": null}', '{"a": 1}', "b is None, made again absent"),
        ("x.json", '{"a": 1}', '{"a": true}', "a is 1, made again True"),
        ("x.json", '{"a": 1}', '{"a":1}', "it has other bytes"),
        ("x.json", '{"a": 1', '{"a":1}', "it has other bytes, and cannot be compared: cannot read"),
        ("x.jsonl", '{"a": 1}\n{"a": 2}\n', '{"a": 1}\n{"a": 3}\n', "line 2.a is 2, made again 3"),
        ("x.csv", "a,b\n1,2\n", "a,b\n1,3\n", "line 2.b is 2, made again 3"),
        ("x.csv", "a\n1\n", "a\n1\n5\n", "line 3 is , made again {'a': '5'}"),
        ("x.svg", "<svg>\n<g/>", "<svg>\n<h/>", "line 2, from character 2, is g/>, made again h/>"),
        ("x.txt", "one" + "x" * 99, "onf", "line 1, from character 3, is e" + "x" * 56 + "..., made again f"),
        ("x.npy", "a", "b", "it has other bytes"),
    ],
)
def test_the_first_difference_of_texts(tmp_path, name, then, now, said):
    paths = [tmp_path / folder / name for folder in ("then", "now")]
    for path, text in zip(paths, (then, now)):
        path.parent.mkdir()
        path.write_text(text)
    assert difference.of_files(*paths).startswith(said)


@pytest.mark.parametrize(
    "change, said",
    [
        ({"x": [1.0, None, 3.5]}, "row 3, x is 3.0, made again 3.5"),
        ({"ids": [["a"], ["b"], []]}, "row 1, ids[2] is b, made again absent"),
        ({"x": [1.0, None]}, "the list of columns is ['x', 'ids'], made again ['x']"),
        ({"x": [1, 2, 3]}, "row 1, x is 1.0, made again 1"),
    ],
)
def test_the_first_difference_of_tables(tmp_path, change, said):
    columns = {"x": [1.0, None, 3.0], "ids": [["a", "b"], ["b"], []]}
    table(tmp_path / "a.parquet", **columns)
    table(tmp_path / "b.parquet", **({"x": change["x"]} if len(change.get("x", "123")) == 2 else columns | change))
    assert difference.of_files(tmp_path / "a.parquet", tmp_path / "b.parquet") == said


def test_tables_of_other_lengths_and_a_tolerance():
    a, b = pd.DataFrame({"x": [1.0, 2.0]}), pd.DataFrame({"x": [1.0, 2.0 + 1e-10]})
    assert difference.of_tables(a, b[:1]) == "the number of rows is 2, made again 1"
    assert difference.of_tables(a, b) and not difference.of_tables(a, b, 1e-9)
    assert difference.of_objects({"m": 1.0}, {"m": 1.0 + 1e-10}) and not difference.of_objects(
        [1.0], [1.0 + 1e-10], 1e-9
    )
