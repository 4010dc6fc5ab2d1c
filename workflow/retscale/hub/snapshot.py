"""Files of a hub repository at one commit: fetched once into the hub's cache, and verified whenever they are used.

The cache is the one that the hub's own tools share, laid out as they document: `blobs/` keeps each file under its hash,
`snapshots/COMMIT/` links to them by name, `refs/` notes the commit of a branch or tag, `trees/` the files of a commit.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from huggingface_hub import constants, get_cached_repo_tree, hf_hub_url
from huggingface_hub._tree_cache import TreeCacheEntry, write_tree_cache  # private; the former reads what it writes
from huggingface_hub.errors import CachedRepoTreeNotFoundError
from huggingface_hub.file_download import repo_folder_name

from retscale.errors import UserError
from retscale.hub.blob import Blob
from retscale.hub.cache import blob_of, check_room, link, plain, sweep, verified
from retscale.hub.client import metered, prepare
from retscale.hub.listing import COMMIT, Listing, check_names, is_path, listing, shown
from retscale.hub.refusals import NO_NETWORK, in_words

AT_ONCE = 8  # files, as the hub's client does

Choose = Callable[[list[str]], list[str]]


@dataclass(frozen=True)
class Snapshot:
    """A folder of the hub's cache, its commit, and the sha256 of the files that were asked for, by name."""

    folder: Path
    commit: str
    sha256: dict[str, str]


def snapshot(repo: str, revision: str, choose: Choose, kind: str = "model") -> Snapshot:
    """The files that `choose` takes from the names in `repo` (`kind`: model or dataset) at a tag, branch or commit.

    A commit whose files are all in the cache needs no network; neither does any revision where there is none. UserError
    says what is missing, refused or damaged.
    """
    prepare()
    at = f"{repo} at {revision}"
    with in_words(repo, revision, kind):
        home = Path(constants.HF_HUB_CACHE).resolve() / repo_folder_name(repo_id=repo, repo_type=kind)
    if not is_path(revision):
        raise UserError(f"{repo} cannot have a revision {shown(revision)}; name a branch, a tag or a commit")
    got = _cached(home, repo, revision, choose, kind, certain=True) if COMMIT.fullmatch(revision) else None
    if got is None:
        try:
            with in_words(repo, revision, kind):
                got = _online(home, repo, revision, choose, kind)
        except NO_NETWORK:
            got = _cached(home, repo, revision, choose, kind, certain=False)
    if got is None:
        raise UserError(
            f"{at} is not in the cache {constants.HF_HUB_CACHE} and the hub cannot be reached; run this job once with "
            "network access"
        )
    folder, names = got
    return Snapshot(folder, folder.name, {name: verified(folder / name, home, at) for name in names})


def _online(home: Path, repo: str, revision: str, choose: Choose, kind: str) -> tuple[Path, list[str]]:
    """Fetch what is not in the cache yet; each file is made under a lock, so that parallel jobs fetch it once."""
    info, at = listing(repo, revision, kind), f"{repo} at {revision}"
    if COMMIT.fullmatch(revision) and info.sha != revision:
        raise UserError(f"asked for {at}, the hub gives {info.sha}; check HF_ENDPOINT")
    files = {file.name: file for file in info.siblings}
    names = choose(sorted(files))
    check_names(names, at)
    folder, blobs = home / "snapshots" / info.sha, plain(home / "blobs", home)
    sweep(blobs)
    lacking = [files[name] for name in names if blob_of(folder / name, home) != blobs / files[name].blob]
    if huge := [file for file in lacking if file.size > constants.MAX_HTTP_DOWNLOAD_SIZE]:
        raise UserError(
            f"{huge[0].name} of {at} is larger than the {constants.MAX_HTTP_DOWNLOAD_SIZE / 1e9:.0f} GB that the hub "
            "serves over plain HTTP; fetch the repository with `hf download`, and name the folder as the source"
        )
    coming = {}  # by path: a file that has two names is one blob
    for file in lacking:
        url, path = hf_hub_url(repo, file.name, repo_type=kind, revision=info.sha), blobs / file.blob
        if not path.is_file():
            coming[path] = Blob(f"{file.name} of {at}", url, path, file.size)
    wanted = sum(blob.size - blob.kept() for blob in coming.values())
    check_room(wanted, home.parent, at)
    with metered(at, wanted), ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(Blob.fetch, coming.values()))
    for file in lacking:
        link(folder / file.name, blobs / file.blob, home)
    _note(home, revision, info)
    return folder, names


def _note(home: Path, revision: str, info: Listing) -> None:
    """Note which commit a revision is and which files it has, for runs without network."""
    entries = {}
    for file in info.siblings:
        lfs = (file.lfs.sha256, file.lfs.size) if file.lfs else ()
        entries[file.name] = TreeCacheEntry(file.size_in_git, file.git_id, *lfs)
    write_tree_cache(str(plain(home / "trees", home).parent), info.sha, entries)
    if revision != info.sha:
        ref = plain(home / "refs" / revision, home)
        with suppress(OSError):  # a cache with all the files may be one that only others write to
            ref.parent.mkdir(parents=True, exist_ok=True)
            fresh = ref.with_name(f"{ref.name}.{uuid4().hex}.tmp")
            fresh.write_text(info.sha)
            fresh.replace(ref)


def _noted(home: Path, revision: str) -> str | None:
    """The commit that the cache knows a revision to be."""
    try:
        commit = plain(home / "refs" / revision, home).read_text()
    except OSError:
        return None
    if not COMMIT.fullmatch(commit):
        raise UserError(f"{home / 'refs' / revision} names no commit; delete it and run this job with network access")
    return commit


def _cached(
    home: Path, repo: str, revision: str, choose: Choose, kind: str, certain: bool
) -> tuple[Path, list[str]] | None:
    """The same from the cache alone; None if a file is not there, or, with `certain`, if nothing says which should be."""
    commit = revision if COMMIT.fullmatch(revision) else _noted(home, revision)
    if commit is None:
        return None
    folder = home / "snapshots" / commit
    try:
        tree = get_cached_repo_tree(repo, repo_type=kind, revision=commit)
        known = [file.path for file in tree]
    except (CachedRepoTreeNotFoundError, AttributeError, RecursionError):
        # The cache was filled by other means, which may keep no listing, or the listing is in ruins.
        if certain or not folder.is_dir():
            return None
        known = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
    names = choose(sorted(known))
    check_names(names, f"{repo} at {revision}")
    return (folder, names) if all(blob_of(folder / name, home) for name in names) else None
