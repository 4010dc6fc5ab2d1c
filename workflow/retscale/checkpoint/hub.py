"""A checkpoint from the Hugging Face hub, pinned to a commit; from the cache alone when there is no network."""

from pathlib import Path

import httpx2
from huggingface_hub import HfApi, constants, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from retscale.checkpoint.config import Hub, Job
from retscale.checkpoint.files import has_weights, needed
from retscale.checkpoint.obtained import Obtained
from retscale.errors import UserError

# httpx2 is what the hub's client sends with; it raises its own errors where there is no network.
NO_NETWORK = (OfflineModeIsEnabled, httpx2.TransportError, ConnectionError)


def obtain(job: Job, source: Hub, text: Path | None, out: Path) -> Obtained:
    """Download into the hub's cache what is not there yet; the model stays there. UserError if it cannot be had."""
    at = f"{source.repo} at {source.revision}"
    page = f"https://huggingface.co/{source.repo}"
    try:
        folder, licence = _online(source)
    except NO_NETWORK:
        folder, licence = _cached(source, at), None
    except GatedRepoError:
        raise UserError(
            f"{source.repo} is gated: accept its terms at {page} and set HF_TOKEN to a token that may read it"
        ) from None
    except RevisionNotFoundError:
        raise UserError(
            f"{source.repo} has no revision {source.revision!r}; see the branches and tags at {page}"
        ) from None
    except RepositoryNotFoundError:
        raise UserError(
            f"there is no repository {source.repo} on the hub, or it is private and HF_TOKEN is not set"
        ) from None
    except LocalEntryNotFoundError as error:  # the download broke off
        raise UserError(
            f"the download of {at} broke off ({_first_line(error)}); run this job again, it goes on from there"
        ) from None
    except HfHubHTTPError as error:
        raise UserError(f"the hub refused {at}: {_first_line(error)}; try again later") from None
    names = [path.name for path in folder.iterdir()]
    if not has_weights(names) or "config.json" not in names:
        raise UserError(
            f"{at} has no config.json with weights in safetensors or .bin beside it, so transformers cannot load it"
        )
    return Obtained(folder, job.tokens, card={"revision": folder.name, "hub_licence": licence})


def _online(source: Hub) -> tuple[Path, str | None]:
    info = HfApi().model_info(source.repo, revision=source.revision)
    files = needed(sibling.rfilename for sibling in info.siblings or [])
    folder = snapshot_download(source.repo, revision=info.sha, allow_patterns=files)
    return Path(folder), (info.card_data or {}).get("license")


def _cached(source: Hub, at: str) -> Path:
    """The snapshot that an earlier download left; its folder is named by the commit."""
    try:
        return Path(snapshot_download(source.repo, revision=source.revision, local_files_only=True))
    except LocalEntryNotFoundError:
        raise UserError(
            f"{at} is not in the cache {constants.HF_HUB_CACHE} and the hub cannot be reached; "
            "run this job once with network access"
        ) from None


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
