"""One figure: PDF, SVG, PNG, the marks as CSV, a caption and an alternative text."""

from pathlib import Path

import matplotlib

from retscale.errors import UserError
from retscale.figure import style
from retscale.figure.config import Spec
from retscale.figure.data import Tables
from retscale.figure.figures import FIGURES, draw
from retscale.provenance.behind import SHOWN, made_from


def run(values: dict, inputs: dict[str, Path | list[Path]], out: Path) -> dict:
    """Draw the figure of `spec` into `out` from `collect` (collect.json), `fit` (fit.json) and, if given, `external`.

    Metadata and caption name what it was made from: its spec, and the records of its inputs.
    """
    spec = Spec.model_validate(values)
    if spec.name not in FIGURES:
        raise UserError(f"unknown figure {spec.name!r}; there are {', '.join(FIGURES)}")
    external = Path(inputs["external"]) if inputs.get("external") else None
    tables = Tables(Path(inputs["collect"]), Path(inputs["fit"]), external)
    source = made_from(values, tables.inputs.items())
    with matplotlib.rc_context(style.rc(spec)):
        drawn = draw(spec.name, tables, spec)
        drawn.marks.to_csv(out / f"{spec.name}.csv", index=False, lineterminator="\n")
        caption = f"{drawn.caption.strip()}\n\nMade from {source[:SHOWN]} by retscale.\n"
        (out / f"{spec.name}.md").write_text(caption, encoding="utf-8")
        (out / f"{spec.name}.txt").write_text(" ".join(drawn.alt.split()) + "\n", encoding="utf-8")
        style.save(drawn.figure, out, spec.name, drawn.title, f"made from {source}; {tables.stamp()}")
    return {"marks": len(drawn.marks)}
