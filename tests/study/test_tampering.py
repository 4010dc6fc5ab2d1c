"""Whatever is done to a finished study, the audit names the culprit; the few forgeries that it cannot see are listed."""

from collections import Counter

import pytest
import tampering

from retscale.audit.run import Audit


@pytest.fixture(scope="module")
def study(smoke, tmp_path_factory) -> tampering.Study:
    return tampering.Study(smoke.folder, tmp_path_factory.mktemp("tampered"))


@pytest.fixture(scope="module")
def whole(study) -> Audit:
    """The audit of the study as it was made."""
    return study.audit()


def test_the_study_is_verified_and_there_are_enough_tamperings(whole):
    assert whole.status == 0 and not whole.walked.findings.notes and len(whole.walked.nodes) == 84
    counts = Counter(each.ground for each in tampering.TAMPERINGS)
    assert sum(counts.values()) >= 60 and min(counts.values()) >= 20


@pytest.mark.parametrize("each", tampering.TAMPERINGS, ids=lambda each: each.what[:60].replace(" ", "-"))
def test_the_culprit_is_named(study, whole, each):
    trusted = {"root": (whole.walked.root, whole.walked.seal), "seal": (whole.walked.seal,)}.get(each.caught_by, ())
    audit, *compared = tampering.happened(study, each, *trusted)
    status = int(each.caught_by == "audit")
    assert (audit.status, tampering.named(audit)) == (status, set(each.culprits)), audit.walked.findings.problems
    assert all(other.status == 1 for other in compared)
    assert audit.status or (audit.walked.root == whole.walked.root) == (each.caught_by != "root")
    if each.caught_by == "a note":
        assert [note for note in audit.walked.findings.notes if "in no record" in note]
