"""The crate of the smoke study: valid, small, and readable from a figure to the weights and from a table to its rows."""

import pytest
from crates import croissant, problems, reached, rows, validated
from rocrate.rocrate import ROCrate

STUDY = "config/smoke.yaml"


@pytest.fixture(scope="module")
def crate(smoke, tmp_path_factory) -> ROCrate:
    out = tmp_path_factory.mktemp("crate") / "smoke"
    done = smoke.run("retscale", "crate", STUDY, "--out", str(out))
    assert done.stdout.startswith(f"{out}: 84 jobs, ")
    return ROCrate(out)


def test_it_has_all_that_its_profiles_require(crate):
    assert problems(crate) == []


def test_the_validator_of_ro_crates_finds_nothing_required_missing(crate):
    assert validated(crate) == []


def test_a_figure_leads_to_every_encoder_checkpoint_and_text(crate):
    behind = reached(crate, "figure/1b.png")
    assert behind >= {
        "collect/scores.parquet",
        *(f"#finetune/{checkpoint}/own-mini/model.safetensors" for checkpoint in ("d16", "d24", "d24-long")),
        *("#checkpoint/d16/model/model.safetensors", "#mine/boolq/negatives.parquet", "#text/tokens.npy"),
        *("#data/tasks/fiqa", "#data/pairs/boolq", "#data/text/news", "#data/icl/shuffle"),
    }
    assert crate.get("#data/pairs/boolq")["license"] == "upstream: CC BY-SA 3.0"


def test_it_holds_tables_and_figures_as_they_are_and_neither_weights_nor_texts(smoke, crate):
    root = smoke.folder / "results/smoke"
    held = {path.relative_to(crate.source) for path in crate.source.rglob("*") if path.is_file()}
    copied = {path for path in held if (root / path).is_file()}
    assert {path.parts[0] for path in copied if not path.name.endswith(".record.json")} == {
        *("collect", "fit", "figure", "report.html"),
    }
    assert all((crate.source / path).read_bytes() == (root / path).read_bytes() for path in copied)
    assert {path.relative_to(root) for path in root.rglob("*.record.json")} <= held


def test_every_table_opens_as_croissant_with_the_rows_of_the_parquet(crate):
    paths = sorted(path.relative_to(crate.source) for path in crate.source.rglob("*.parquet"))
    names = [path.stem if path.stem != "lengths" else f"{path.parent.name}-lengths" for path in paths]
    tables = {name: rows(crate, str(crate.source / path)) for name, path in zip(names, paths)}
    assert {"scores", "per_query", "icl", "fits", "claims", "collect-lengths", "fit-lengths"} <= tables.keys()
    assert croissant(crate) == tables


def test_a_second_crate_in_the_same_place_is_refused(smoke, crate):
    done = smoke.run("retscale", "crate", STUDY, "--out", str(crate.source), status=1)
    assert f"{crate.source} is there already" in done.stderr


def test_a_study_that_has_not_run_is_refused(clone):
    done = clone.run("retscale", "crate", STUDY, status=1)
    assert "results/smoke/report.html is missing; run the study first" in done.stderr
