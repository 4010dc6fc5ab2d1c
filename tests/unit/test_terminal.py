"""What is printed arrives whole."""

import io
import json
import sys

import pytest

from retscale import cli
from retscale.common.terminal import answer_json, say


class Writes(io.StringIO):
    """Remembers what was written at once."""

    def __init__(self):
        super().__init__()
        self.parts = []

    def write(self, text: str) -> int:
        self.parts.append(text)
        return len(text)


@pytest.mark.parametrize("print_it", [say, lambda line: cli._fail("finetune", line)], ids=["say", "fail"])
def test_a_line_is_written_with_its_end(print_it, monkeypatch):
    """Two processes of a training that write to one log do not mix their lines."""
    monkeypatch.setattr(sys, "stderr", stderr := Writes())
    print_it("a line")
    assert len(stderr.parts) == 1 and stderr.parts[0].endswith("a line\n")


def test_json_for_programs_holds_no_control_character(capsys):
    value = {"a\x9b2K": "\u202e\x7f café"}
    answer_json(value)
    printed = capsys.readouterr().out
    assert printed.isascii() and "\x7f" not in printed and json.loads(printed) == value
