"""What is printed: each line harmless on a terminal, whatever a name from a hub, a file or a study holds."""

import json
import re
import sys

# Control characters and ends of lines (C0, DEL, C1, U+2028, U+2029), which move the cursor, set titles and forge lines;
# marks that reverse the order of the letters after them; halves of surrogate pairs, which cannot be printed at all.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str) -> str:
    r"""The text as one line, with control characters as their escapes, such as `\x1b`; all other letters stay."""
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def is_text(text: str) -> bool:
    """Whether all of it may be printed and drawn, ends of lines and tabs included."""
    return not _CONTROL.search(text.replace("\n", "").replace("\t", ""))


def say(line: str) -> None:
    """Print what happens: one line on stderr, at once."""
    write(visible(line))


def write(line: str) -> None:
    """Print to stderr at once. The end of the line goes with it: processes of one job share a log."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def answer(line: str = "") -> None:
    """Print a line of what was asked for, on stdout."""
    print(visible(line))


def answer_json(value: dict) -> None:
    """Print a JSON object as what was asked for: other letters than ASCII are escaped, and so are control characters."""
    print(json.dumps(value, indent=1).replace("\x7f", r"\u007f"))
