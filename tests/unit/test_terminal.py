"""What is printed arrives whole."""

import io
import sys

import pytest

from retscale import cli
from retscale.common.terminal import say


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
