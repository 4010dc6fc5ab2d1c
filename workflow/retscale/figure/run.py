"""One figure: PDF, SVG, PNG, the marks as CSV, a caption and an alternative text."""

from pathlib import Path

import matplotlib

from retscale.errors import UserError
from retscale.figure import style
from retscale.figure.config import Spec
from retscale.figure.data import Tables
from retscale.figure.figures import FIGURES, draw


def run(spec: dict, inputs: dict[str, Path | list[Path]], out: Path) -> dict:
    """Draw the figure `spec["name"]` from `collect` (collect.json), `fit` (fit.json) and, if given, `external` into `out`."""
    job = Spec.model_validate(spec)
    if job.name not in FIGURES:
        raise UserError(f"unknown figure {job.name!r}; there are {', '.join(FIGURES)}")
    external = Path(inputs["external"]) if inputs.get("external") else None
    tables = Tables(Path(inputs["collect"]), Path(inputs["fit"]), external)
    with matplotlib.rc_context(style.rc(job)):
        drawn = draw(job.name, tables, job)
        drawn.marks.to_csv(out / f"{job.name}.csv", index=False, lineterminator="\n")
        (out / f"{job.name}.md").write_text(drawn.caption.strip() + "\n", encoding="utf-8")
        (out / f"{job.name}.txt").write_text(" ".join(drawn.alt.split()) + "\n", encoding="utf-8")
        style.save(drawn.figure, out, job.name, drawn.title, tables.stamp())
    return {"marks": len(drawn.marks)}
