"""Whether revisions exist, checked before a job needs them."""

from collections.abc import Iterable

from huggingface_hub.errors import RevisionNotFoundError

from retscale.errors import UserError
from retscale.hub.listing import COMMIT, refs, tip
from retscale.hub.names import unknown
from retscale.hub.refusals import readable_errors


def missing(repo: str, revisions: Iterable[str], kind: str = "model") -> list[str]:
    """What is wrong with each of the revisions of a repository that does not exist; NO_NETWORK where nobody can tell."""
    try:
        with readable_errors(repo, "any revision", kind):
            known = refs(repo, kind)
            absent = dict.fromkeys(name for name in revisions if name not in known)
            return [
                unknown(repo, name, known)
                for name in absent
                if not (COMMIT.fullmatch(name) and _exists(repo, name, kind))
            ]
    except UserError as error:
        return [str(error)]


def _exists(repo: str, commit: str, kind: str) -> bool:
    try:
        return tip(repo, commit, kind) == commit
    except RevisionNotFoundError:
        return False
