"""fit.json: which study was fitted, and how."""

from retscale.collect.summary import StudySummary
from retscale.common.tables import Summary
from retscale.fit.config import Spec


class FitSummary(StudySummary, Summary):
    """`form` is the one that is drawn; `icl_headline`: VERSION/NAME of the average that stands for in-context learning."""

    config: Spec
    collect_sha256: str
    icl_headline: str | None
    form: str
