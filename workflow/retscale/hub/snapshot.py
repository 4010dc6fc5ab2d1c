"""Files of a hub repository at one commit: fetched once into the hub's cache, and verified whenever they are used."""

import glob
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import (
    HfApi,
    constants,
    get_cached_repo_tree,
    hf_hub_url,
    snapshot_download,
    try_to_load_from_cache,
)
from huggingface_hub.errors import CachedRepoTreeNotFoundError, LocalEntryNotFoundError
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.hf_api import RepoFile, RepoSibling

from retscale.errors import UserError
from retscale.hub.blob import Blob
from retscale.hub.cache import check_room, sweep, verified
from retscale.hub.client import metered, prepare
from retscale.hub.refusals import NO_NETWORK, in_words

COMMIT = re.compile("[0-9a-f]{40}")
AT_ONCE = 8  # large files, as the hub's client does


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


def download_bytes(files: Iterable[RepoFile | RepoSibling]) -> int:
    """What the files take, on the wire and on the disk."""
    return sum(file.lfs.size if file.lfs else file.size for file in files)


def _online(repo: str, revision: str, choose, kind: str) -> tuple[Path, list[str]]:
    """Fetch what is not in the cache yet; each file is made under a lock, so that parallel jobs fetch it once."""
    info = HfApi().repo_info(repo, repo_type=kind, revision=revision, files_metadata=True)
    files = {file.rfilename: file for file in info.siblings}
    names, at = choose(sorted(files)), f"{repo} at {revision}"
    lacking = [files[name] for name in names if not _in_cache(repo, name, info.sha, kind)]
    if huge := [file for file in lacking if download_bytes([file]) > constants.MAX_HTTP_DOWNLOAD_SIZE]:
        raise UserError(
            f"{huge[0].rfilename} of {at} is larger than the {constants.MAX_HTTP_DOWNLOAD_SIZE / 1e9:.0f} GB that the hub "
            "gives over plain HTTP; fetch the repository with `hf download`, and name the folder as the source"
        )
    cache = Path(constants.HF_HUB_CACHE)
    blobs = cache / repo_folder_name(repo_id=repo, repo_type=kind) / "blobs"
    sweep(blobs)
    large = []
    for file in lacking:
        if file.lfs:
            url = hf_hub_url(repo, file.rfilename, repo_type=kind, revision=info.sha)
            large.append(Blob(f"{file.rfilename} of {at}", url, blobs / file.lfs.sha256, file.lfs.size))
    wanted = download_bytes(lacking) - sum(blob.kept() for blob in large)
    check_room(wanted, cache, at)
    with metered(at, wanted):
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(Blob.fetch, large))
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
