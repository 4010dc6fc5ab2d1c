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

from retscale.common.regular import require_regular
from retscale.errors import UserError
from retscale.hub.blob import Blob
from retscale.hub.cache import blob_of, check_room, link, plain, sweep, verified
from retscale.hub.client import metered, prepare
from retscale.hub.listing import COMMIT, Listing, check_names, is_path, listing, quoted
from retscale.hub.refusals import NO_NETWORK, readable_errors

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
    source = f"{repo} at {revision}"
    with readable_errors(repo, revision, kind):
        home = Path(constants.HF_HUB_CACHE).resolve() / repo_folder_name(repo_id=repo, repo_type=kind)
    if not is_path(revision):
        raise UserError(f"{repo} cannot have a revision {quoted(revision)}; name a branch, a tag or a commit")
    located = _cached(home, repo, revision, choose, kind, need_listing=True) if COMMIT.fullmatch(revision) else None
    if located is None:
        try:
            with readable_errors(repo, revision, kind):
                located = _online(home, repo, revision, choose, kind)
        except NO_NETWORK:
            located = _cached(home, repo, revision, choose, kind, need_listing=False)
    if located is None:
        raise UserError(
            f"{source} is not in the cache {constants.HF_HUB_CACHE} and the hub cannot be reached; run this job once with "
            "network access"
        )
    folder, names = located
    return Snapshot(folder, folder.name, {name: verified(folder / name, home, source) for name in names})


def _online(home: Path, repo: str, revision: str, choose: Choose, kind: str) -> tuple[Path, list[str]]:
    """Fetch what is not in the cache yet; each file is made under a lock, so that parallel jobs fetch it once."""
    info, source = listing(repo, revision, kind), f"{repo} at {revision}"
    if COMMIT.fullmatch(revision) and info.sha != revision:
        raise UserError(f"asked for {source}, the hub gives {info.sha}; check HF_ENDPOINT")
    files = {file.name: file for file in info.siblings}
    names = choose(sorted(files))
    check_names(names, source)
    folder, blobs = home / "snapshots" / info.sha, plain(home / "blobs", home)
    sweep(blobs)
    missing = [files[name] for name in names if blob_of(folder / name, home) != blobs / files[name].blob]
    if too_large := [file for file in missing if file.size > constants.MAX_HTTP_DOWNLOAD_SIZE]:
        raise UserError(
            f"{too_large[0].name} of {source} is larger than the {constants.MAX_HTTP_DOWNLOAD_SIZE / 1e9:.0f} GB that the hub "
            "serves over plain HTTP; fetch the repository with `hf download`, and name the folder as the source"
        )
    downloads = {}  # by path: a file that has two names is one blob
    for file in missing:
        url, path = hf_hub_url(repo, file.name, repo_type=kind, revision=info.sha), blobs / file.blob
        if not path.is_file():
            downloads[path] = Blob(f"{file.name} of {source}", url, path, file.size)
    n_bytes = sum(blob.size - blob.fetched_bytes() for blob in downloads.values())
    check_room(n_bytes, home.parent, source)
    with metered(source, n_bytes), ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(Blob.fetch, downloads.values()))
    for file in missing:
        link(folder / file.name, blobs / file.blob, home)
    _write_commit(home, revision, info)
    return folder, names


def _write_commit(home: Path, revision: str, info: Listing) -> None:
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


def _read_commit(home: Path, revision: str) -> str | None:
    """The commit that the cache knows a revision to be."""
    ref = plain(home / "refs" / revision, home)
    require_regular(ref)
    try:
        with ref.open(encoding="utf-8", errors="replace") as file:
            commit = file.read(100)  # enough to see that it is longer than a commit
    except OSError:
        return None
    if not COMMIT.fullmatch(commit):
        raise UserError(f"{ref} names no commit; delete it and run this job with network access")
    return commit


def _cached(
    home: Path, repo: str, revision: str, choose: Choose, kind: str, need_listing: bool
) -> tuple[Path, list[str]] | None:
    """The same from the cache alone; None if a file is missing, or, with `need_listing`, if nothing says which are needed."""
    commit = revision if COMMIT.fullmatch(revision) else _read_commit(home, revision)
    if commit is None:
        return None
    folder = home / "snapshots" / commit
    require_regular(home / "trees" / f"{commit}.json")
    try:
        tree = get_cached_repo_tree(repo, repo_type=kind, revision=commit)
        paths = [file.path for file in tree]
    except (CachedRepoTreeNotFoundError, AttributeError, RecursionError):
        # The cache was filled by other means, which may keep no listing, or the listing is in ruins.
        if need_listing or not folder.is_dir():
            return None
        paths = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
    names = choose(sorted(paths))
    check_names(names, f"{repo} at {revision}")
    return (folder, names) if all(blob_of(folder / name, home) for name in names) else None
