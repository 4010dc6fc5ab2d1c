"""A checkpoint added to a finished study and removed again: the audit verifies all of it each time."""

import json

ADDED = """
  - {id: d8, family: mpt-mini, size: 0.02M, source: {kind: pretrain, hidden_size: 8, layers: 1, heads: 1, tokens: 65536}}
pairs:"""


def roots(clone) -> dict[str, str]:
    """Of the study and of each figure, all of which must be verified."""
    figures = sorted((clone.folder / "results/smoke/figure").glob("*.png"))
    targets = ["config/smoke.yaml", *(str(path.relative_to(clone.folder)) for path in figures[:2])]
    audits = {target: json.loads(clone.run("retscale", "audit", target, "--json").stdout) for target in targets}
    assert {audit["verdict"] for audit in audits.values()} == {"verified"}
    return {target: audit["root"] for target, audit in audits.items()}


def data(clone) -> dict:
    """Tables and figures, byte by byte. The report differs: it says what else lies there."""
    results = clone.folder / "results/smoke"
    files = [path for stage in ("collect", "fit", "figure") for path in (results / stage).iterdir()]
    return {path.name: path.read_bytes() for path in files if not path.name.endswith(".record.json")}


def test_a_checkpoint_added_and_removed_leaves_what_was_there(finished):
    finished.keep_figures("1a", "1b", "training")
    finished.snakemake()
    study = finished.folder / "config/smoke.yaml"
    text, first, before = study.read_text(), roots(finished), data(finished)
    study.write_text(text.replace("\npairs:", ADDED, 1))
    finished.snakemake()
    added = roots(finished)
    assert not set(added.values()) & set(first.values()) and data(finished) != before
    study.write_text(text)
    finished.snakemake()
    again = roots(finished)
    assert data(finished) == before
    report = "config/smoke.yaml"
    assert {name: root for name, root in again.items() if name != report} == {
        name: root for name, root in first.items() if name != report
    }
