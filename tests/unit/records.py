"""Records as tests need them."""

from retscale.provenance import code, record


def record_of(stage: str = "fit", spec: dict | None = None, **parts) -> dict:
    """A whole record of a job of this clone's code, without files unless `parts` has them."""
    spec = spec or {}
    return {
        "stage": stage,
        "spec": spec,
        "spec_sha256": record.spec_sha256(spec),
        "code_sha256": code.digest(f"retscale.{stage}.run"),
        "inputs": [],
        "outputs": [],
        "git": {"commit": "unknown", "dirty": None},
    } | parts
