"""What README.md, CONTRIBUTING.md and docs/*.md link to or name is there."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
TARGET = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`|^ {4,}(\S.*)$", re.MULTILINE)
PATH = re.compile(r"(?<![\w./{}<*-])(?:[\w.-]+/)+[\w.-]*|(?<![\w./{}<*-])\w[\w-]*\.(?:py|md|smk|toml|yaml)\b(?!/)")
# Where a study writes, and what lies in a folder of a user's.
ELSEWHERE = (
    "results/",
    "logs/",
    ".state/",
    ".venv/",
    "data/",
    "models/",
    "qrels/",
    "finetune/",
    "1_Pooling/",
    "d24-10/",
    "OWNER/",
)


def heading_ids(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.fixture(scope="module")
def files() -> set[Path]:
    listing = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    if listing.returncode:
        pytest.skip("not a git clone")
    return {Path(name) for name in listing.stdout.splitlines()}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_leads_somewhere(page):
    for target in TARGET.findall(page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        linked = page.parent / path if path else page
        assert linked.is_file(), f"{page.name} links to {target}"
        assert not anchor or anchor in heading_ids(linked), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_path_that_is_named_exists(page, files):
    """Below the clone or a folder of the package, or, of a bare name, anywhere."""
    places = [Path(), Path("workflow/retscale"), page.parent.relative_to(ROOT)]
    known = files | {folder for file in files for folder in file.parents}
    bare = {file.name for file in files}
    for match in CODE.finditer(page.read_text(encoding="utf-8")):
        for name in PATH.findall(match[1] or match[2]):
            if name.startswith(ELSEWHERE) or "STAGE" in name:
                continue
            there = any(place / name in known for place in places) or ("/" not in name and name in bare)
            assert there, f"{page.name} names {name}"
