"""Files of a hub repository at one commit: fetched once into the hub's cache, and verified whenever they are used."""

import errno
import glob
import hashlib
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
from huggingface_hub import (
    HfApi,
    constants,
    get_cached_repo_tree,
    get_token,
    snapshot_download,
    try_to_load_from_cache,
)
from huggingface_hub.errors import (
    CachedRepoTreeNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile, RepoSibling

from retscale.errors import UserError
from retscale.hub.client import BROKEN, metered, prepare
from retscale.hub.names import nearest

NO_NETWORK = (OfflineModeIsEnabled, httpx2.TransportError, ConnectionError)
COMMIT = re.compile("[0-9a-f]{40}")
# The cache names a blob by what the hub states of its content: the sha256 of a large file, the git id of a small one.
GIT_ID, SHA256 = 40, 64
BLOCK = 2**20


@dataclass(frozen=True)
class Snapshot:
    """A folder of the hub's cache, its commit, and the sha256 of the files that were asked for, by name."""

    folder: Path
    commit: str
    sha256: dict[str, str]


def snapshot(repo: str, revision: str, choose: Callable[[list[str]], list[str]], kind: str = "model") -> Snapshot:
    """The files that `choose` takes from the names in `repo` (`kind`: model or dataset) at a tag, branch or commit.

    A commit whose files are all in the cache needs no network; neither does any revision where there is none. UserError
    says what is missing, refused or damaged.
    """
    prepare()
    found = _cached(repo, revision, choose, kind, certain=True) if COMMIT.fullmatch(revision) else None
    if found is None:
        try:
            with in_words(repo, revision, kind):
                found = _online(repo, revision, choose, kind)
        except NO_NETWORK:
            found = _cached(repo, revision, choose, kind, certain=False)
    if found is None:
        raise UserError(
            f"{repo} at {revision} is not in the cache {constants.HF_HUB_CACHE} and the hub cannot be reached; "
            "run this job once with network access"
        )
    folder, names = found
    return Snapshot(folder, folder.name, {name: verified(folder / name, f"{repo} at {revision}") for name in names})


def missing(repo: str, revisions: Iterable[str], kind: str = "model") -> list[str]:
    """What is wrong with each of the revisions of a repository that does not exist; NO_NETWORK where nobody can tell."""
    prepare()
    try:
        with in_words(repo, "any revision", kind):
            known = refs(repo, kind)
    except UserError as error:
        return [str(error)]
    wanted = dict.fromkeys(name for name in revisions if name not in known)
    return [unknown(repo, name, known) for name in wanted if not (COMMIT.fullmatch(name) and _exists(repo, name, kind))]


def refs(repo: str, kind: str = "model") -> list[str]:
    """Names of the branches and tags of a repository."""
    prepare()
    found = HfApi().list_repo_refs(repo, repo_type=kind)
    return [ref.name for ref in (*found.branches, *found.tags)]


def unknown(repo: str, revision: str, known: Iterable[str]) -> str:
    return f"{repo} has no revision {revision!r}; {nearest(revision, known)}"


def _exists(repo: str, commit: str, kind: str) -> bool:
    try:
        HfApi().repo_info(repo, repo_type=kind, revision=commit)
    except RevisionNotFoundError:
        return False
    return True


def download_bytes(files: Iterable[RepoFile | RepoSibling]) -> int:
    """What the files take, on the wire and on the disk."""
    return sum(file.lfs.size if file.lfs else file.size for file in files)


def _online(repo: str, revision: str, choose, kind: str) -> tuple[Path, list[str]]:
    """Fetch what is not in the cache yet; the hub's client locks each file, so that parallel jobs fetch it once."""
    info = HfApi().repo_info(repo, repo_type=kind, revision=revision, files_metadata=True)
    files = {file.rfilename: file for file in info.siblings}
    names = choose(sorted(files))
    lacking = [name for name in names if not _in_cache(repo, name, info.sha, kind)]
    wanted, at = download_bytes(files[name] for name in lacking), f"{repo} at {revision}"
    if huge := [name for name in lacking if download_bytes([files[name]]) > constants.MAX_HTTP_DOWNLOAD_SIZE]:
        raise UserError(
            f"{huge[0]} of {at} is larger than the {constants.MAX_HTTP_DOWNLOAD_SIZE / 1e9:.0f} GB that the hub gives over "
            "plain HTTP; fetch the repository with `hf download`, and name the folder as the source"
        )
    check_room(wanted, Path(constants.HF_HUB_CACHE), at)
    with metered(at, wanted):
        # Asked by the revision's own name, it notes the commit, and a run without network finds it.
        folder = Path(_fetch(repo, revision, names, kind))
    if folder.name != info.sha:
        raise UserError(f"{revision} of {repo} moved from {info.sha} to {folder.name} meanwhile; run this job again")
    return folder, names


def _cached(repo: str, revision: str, choose, kind: str, certain: bool) -> tuple[Path, list[str]] | None:
    """The same from the cache alone; None if a file is not there, or, with `certain`, if nothing says which should be."""
    try:
        tree = get_cached_repo_tree(repo, repo_type=kind, revision=revision)
        names = choose(sorted(file.path for file in tree))
    except CachedRepoTreeNotFoundError:  # the cache was filled by other means, which may keep no listing
        if certain:
            return None
        names = None
    try:
        folder = Path(_fetch(repo, revision, names, kind, local_files_only=True))
    except LocalEntryNotFoundError:
        return None
    if names is None:
        names = choose(sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()))
    return folder, names


def _fetch(repo: str, revision: str, names: list[str] | None, kind: str, **options) -> str:
    patterns = None if names is None else list(map(glob.escape, names))
    return snapshot_download(repo, repo_type=kind, revision=revision, allow_patterns=patterns, **options)


def _in_cache(repo: str, name: str, commit: str, kind: str) -> bool:
    return isinstance(try_to_load_from_cache(repo, name, revision=commit, repo_type=kind), str)


def check_room(wanted: int, folder: Path, what: str) -> None:
    """UserError unless the disk that `folder` is or will be on has `wanted` bytes free."""
    place = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(place).free
    if wanted > free:
        raise UserError(
            f"{what} wants {wanted / 1e9:,.1f} GB more and the disk of {folder} has {free / 1e9:,.1f} GB free; make room "
            "there, or set HF_HOME to a folder on a larger disk"
        )


def verified(path: Path, what: str) -> str:
    """The sha256 of a cached file; UserError, and no such file any more, unless its bytes are those the hub states."""
    blob = path.resolve()
    stated = blob.name
    if len(stated) not in (GIT_ID, SHA256):
        raise UserError(
            f"{path} does not say its hash: the hub's cache keeps files under their hash and links to them, so it needs a "
            "file system with symbolic links, and HF_HUB_DISABLE_SYMLINKS must not be set"
        )
    sha256 = hashlib.sha256()
    git = hashlib.sha1(f"blob {blob.stat().st_size}\0".encode(), usedforsecurity=False)
    with blob.open("rb") as file:
        while block := file.read(BLOCK):
            sha256.update(block)
            if len(stated) == GIT_ID:
                git.update(block)
    if stated not in (sha256.hexdigest(), git.hexdigest()):
        damaged = f"{path.name} of {what} is damaged: its bytes do not have the hash that the hub states, {stated}"
        try:
            path.unlink(missing_ok=True)
            blob.unlink(missing_ok=True)
        except OSError as error:
            raise UserError(
                f"{damaged}; take {blob} out of the cache, which this job may not ({error.strerror})"
            ) from None
        raise UserError(
            f"{damaged}; it was taken out of the cache, so run this job again; should it come damaged again, suspect the "
            "disk or a proxy"
        )
    return sha256.hexdigest()


@contextmanager
def in_words(repo: str, revision: str, kind: str) -> Iterator[None]:
    """Turn what the hub's client raises into what to do about it. The lack of a network passes through."""
    at = f"{repo} at {revision}"
    page = f"{constants.ENDPOINT}/{'datasets/' if kind == 'dataset' else ''}{repo}"
    try:
        yield
    except GatedRepoError:
        whose = "with the account of HF_TOKEN" if get_token() else "and set HF_TOKEN to a token of that account"
        raise UserError(f"{repo} is gated: accept its terms at {page} {whose}, then run this job again") from None
    except RevisionNotFoundError:
        raise UserError(unknown(repo, revision, refs(repo, kind))) from None
    except RepositoryNotFoundError:
        raise UserError(
            f"there is no {kind} {repo} on the hub, or it is private and HF_TOKEN holds no token that may read it"
        ) from None
    except HfHubHTTPError as error:
        if error.response.status_code == 401:
            raise UserError(f"the hub does not accept the token in HF_TOKEN (asked for {at}); renew it") from None
        raise UserError(f"the hub refused {at} with HTTP {error.response.status_code}; look at {page}") from None
    except BROKEN:
        raise UserError(
            f"the connection broke again and again while {at} came; run this job again: whole files are kept"
        ) from None
    except NO_NETWORK:
        raise
    except OSError as error:
        if isinstance(error.__cause__, NO_NETWORK):  # lost after the listing came
            raise error.__cause__ from None
        if error.errno == errno.ENOSPC:
            raise
        raise UserError(f"{at} could not be fetched ({_first_line(error)}); run this job again") from None


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
