"""The stage `items`: items.jsonl, the file of one in-context task as released, and items.json with its hash."""

import hashlib
import json
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from retscale.errors import UserError
from retscale.items.config import JsonlSource

HOST = "https://raw.githubusercontent.com"
TIMEOUT_S = 60


def run(spec: dict, inputs: dict, out: Path) -> None:
    """Fetch the file that `spec` names; UserError if it cannot be had or is not the pinned one."""
    source = JsonlSource.model_validate(spec["source"])
    content = fetch(source)
    digest = hashlib.sha256(content).hexdigest()
    where = f"{source.repo}/{source.path_in_repo()} at {source.revision}"
    if source.sha256 not in (None, digest):
        raise UserError(f"{where} has the sha256 {digest}, but {source.sha256} is pinned; it is not the released file")
    (out / "items.jsonl").write_bytes(content)
    facts = {"id": spec["id"], "from": where, "sha256": digest, "lines": content.count(b"\n")}
    (out / "items.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def fetch(source: JsonlSource) -> bytes:
    """The bytes of the file at the pinned commit."""
    url = f"{HOST}/{source.repo}/{source.revision}/{urllib.parse.quote(source.path_in_repo())}"
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
            return answer.read()
    except (urllib.error.URLError, OSError) as error:
        raise UserError(
            f"cannot fetch {url}: {error}; check repository, commit and network, or name a `folder` that holds "
            f"{source.file}"
        ) from None
