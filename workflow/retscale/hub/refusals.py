"""Turns what the hub's client raises into messages, except for the lack of a network."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
from huggingface_hub import constants, get_token
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from retscale.errors import UserError
from retscale.hub.client import LOST_CONNECTION
from retscale.hub.listing import printable, quoted, refs
from retscale.hub.names import unknown

NO_NETWORK = (OfflineModeIsEnabled, httpx2.TransportError, ConnectionError)
INVALID_ANSWER = (
    httpx2.RequestError,
    httpx2.InvalidURL,
    ValueError,
)  # endless redirects, impossible addresses and headers


@contextmanager
def readable_errors(repo: str, revision: str, kind: str) -> Iterator[None]:
    """Turn what the hub's client raises into what to do about it. The lack of a network passes through."""
    source = f"{repo} at {revision}"
    page = f"{constants.ENDPOINT}/{'datasets/' if kind == 'dataset' else ''}{repo}"
    try:
        yield
    except GatedRepoError:
        token_advice = "with the account of HF_TOKEN" if get_token() else "and set HF_TOKEN to a token of that account"
        raise UserError(
            f"{repo} is gated: accept its terms at {page} {token_advice}, then run this job again"
        ) from None
    except RevisionNotFoundError:
        raise UserError(_unknown(repo, revision, kind)) from None
    except RepositoryNotFoundError:
        raise UserError(
            f"there is no {kind} {repo} on the hub, or it is private and HF_TOKEN holds no token that may read it"
        ) from None
    except HfHubHTTPError as error:
        if error.response.status_code == 401:
            raise UserError(f"the hub does not accept the token in HF_TOKEN (asked for {source}); renew it") from None
        raise UserError(f"the hub refused {source} with HTTP {error.response.status_code}; look at {page}") from None
    except (httpx2.LocalProtocolError, UnicodeEncodeError):  # whose texts hold the header
        raise UserError("HF_TOKEN contains characters that no token has; set it again") from None
    except HFValidationError as error:
        raise UserError(f"{quoted(repo)} is not a name of a repository: {_first_line(error)}") from None
    except LOST_CONNECTION:
        raise UserError(
            f"the connection was lost repeatedly while {source} was fetched; run this job again: it resumes from what is there"
        ) from None
    except NO_NETWORK:
        raise
    except OSError as error:
        if isinstance(error.__cause__, NO_NETWORK):  # lost after the listing came
            raise error.__cause__ from None
        if error.errno == errno.ENOSPC:
            raise
        raise UserError(f"{source} could not be fetched ({_first_line(error)}); run this job again") from None
    except INVALID_ANSWER as error:
        raise UserError(
            f"the hub's answer for {source} is not valid ({type(error).__name__}); check HF_ENDPOINT and the proxy"
        ) from None


def _unknown(repo: str, revision: str, kind: str) -> str:
    try:
        return unknown(repo, revision, refs(repo, kind))
    except (OSError, *INVALID_ANSWER):  # the refusal counts, not that a hub which refuses does not say what it has
        return f"{repo} has no revision {revision!r}"


def _first_line(error: BaseException) -> str:
    return printable((str(error).strip().splitlines() or [type(error).__name__])[0])
