"""`retscale clean` on the smoke study: what a checkpoint leaves that was added and removed again, and that alone, goes."""

import shutil
from pathlib import Path


def files(clone) -> dict[Path, bytes]:
    return {
        path: path.read_bytes()
        for top in ("results", "logs", ".state")
        for path in (clone.folder / top).rglob("*")
        if path.is_file()
    }


def test_a_checkpoint_removed_leaves_orphans_and_without_them_the_study_is_as_it_was(finished):
    before = files(finished)
    assert b"Nothing on this page was made from" not in before[finished.folder / "results/smoke/report.html"]
    planted = [path for path in before if "d16" in str(path.relative_to(finished.folder))]
    for path in planted:
        copy = finished.folder / str(path.relative_to(finished.folder)).replace("d16", "d99")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy)
    command = ("retscale", "clean", "config/smoke.yaml", "--orphans")
    shown = finished.run(*command).stdout.splitlines()
    assert {line.split()[0] for line in shown[1:-2]} == {
        *(f"results/smoke/{stage}/d99" for stage in ("checkpoint", "evaluate", "finetune", "icl", "tokens")),
        *(f"logs/smoke/{stage}/d99" for stage in ("evaluate", "finetune", "tokens")),
        *(f"logs/smoke/{stage}/d99.{end}" for stage in ("checkpoint", "icl") for end in ("log", "tsv")),
    }
    assert shown[-2].startswith("in all") and shown[-2].split()[2] == str(len(planted))
    line = next(
        line for line in finished.run("retscale", "check", "config/smoke.yaml").stdout.splitlines() if "orph" in line
    )
    assert line.startswith(f"orphans      {len(planted)} files, ") and line.endswith(" ".join(command))
    finished.run(*command, "--delete")
    assert files(finished) == before and not [*finished.folder.glob("*/smoke/*/d99*")]
    assert finished.plan() == {}
    audited = finished.run("retscale", "audit", "results/smoke/figure/1b.png").stdout.splitlines()
    assert audited[-1].startswith("verdict   verified")
    assert "orphans" not in finished.run("retscale", "check", "config/smoke.yaml").stdout
