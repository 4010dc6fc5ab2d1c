"""Generated programs, run where they can do no harm (confine.py), and whether they pass their tests."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from retscale.errors import UserError
from retscale.icl.confine import UNCONFINED
from retscale.icl.item import Program
from retscale.progress import progress

SECONDS, WALL_SECONDS, MEMORY = 5, 15, 2**30  # for one test; compiling counts as well
CONFINE = str(Path(__file__).with_name("confine.py"))
PASSED = 42  # an exit status that no program has by accident

PYTHON = f"""
import json, os
test = json.load(open("test.json"))
scope = {{"__name__": "test_module"}}
try:
    exec(test["code"], scope)
    found = scope[test["entry_point"]](*eval(test["input"], {{}}))
    try:
        expected = eval(test["output"], {{}})
    except Exception:
        expected = test["output"]
    same = bool(found == expected)
except BaseException:
    same = False
os._exit({PASSED} if same else 1)
"""

CPP = """
#include <cmath>
#include <iostream>
#include <map>
#include <math.h>
#include <string>
#include <vector>
using namespace std;
template <class T> bool issame(T a, T b) { return a == b; }
inline bool issame(float a, float b) { return fabs(a - b) < 1e-4; }
inline bool issame(double a, double b) { return fabs(a - b) < 1e-3; }
inline bool issame(vector<float> a, vector<float> b) {
    bool same = a.size() == b.size();
    for (size_t i = 0; same && i < a.size(); i++) same = fabs(a[i] - b[i]) <= 1e-4;
    return same;
}
"""


def passes(programs: list[tuple[str, str, Program]], what: str) -> list[bool]:
    """For each (prompt, generated text, tests): whether the program passes all of its tests.

    UserError if this machine cannot confine them, or lacks what a language needs.
    """
    for language in sorted({tests.language for _, _, tests in programs}):
        _need(language)
    return [
        all(_passes(prompt + ended(output), tests, i) for i in range(len(tests.inputs)))
        for prompt, output, tests in progress(programs, f"{what}: tests", unit="programs")
    ]


def ended(output: str) -> str:
    """The generated text up to the first line that is not indented: there a function ends."""
    return re.split(r"\n[A-Za-z0-9#`]", output)[0]


def _passes(code: str, tests: Program, i: int) -> bool:
    """Test number `i`, compared as the release does it in each language."""
    entry, given, expected = tests.entry_point, tests.inputs[i], tests.outputs[i]
    if tests.language == "python":
        test = json.dumps({"code": code, "entry_point": entry, "input": given, "output": expected})
        return run("test.json", test, [sys.executable, "-I", "-c", PYTHON])[0] == PASSED
    if tests.language == "javascript":
        code += f"\nconsole.log(JSON.stringify({entry}({given})) === JSON.stringify({expected}));"
        return run("test.js", code, ["node", "--max-old-space-size=512", "test.js"])[1] == "true\n"
    code = f"{CPP}{code}\nint main() {{ cout << issame({entry}({given}), {expected}); return 0; }}\n"
    return run("test.cpp", code, ["sh", "-c", "g++ -std=c++11 test.cpp -o test && ./test"])[1] == "1"


def run(name: str, content: str, command: list[str], seconds: int = SECONDS) -> tuple[int, str]:
    """Status and output of `command` beside the file `name`, confined; UserError if it cannot be."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as output:
        call = [sys.executable, "-I", "-S", CONFINE, folder, name, str(seconds), str(MEMORY), *command]
        with subprocess.Popen(
            call, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.PIPE, start_new_session=True
        ) as process:
            try:
                errors = process.communicate(content.encode("utf-8", "replace"), timeout=WALL_SECONDS)[1]
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                return -signal.SIGKILL, ""
        if process.returncode == UNCONFINED:
            raise UserError(
                "generated programs cannot be run safely here, for this machine does not let a user leave its network "
                f"and files ({errors.decode().strip()}); leave `execute` off"
            )
        output.seek(0)
        return process.returncode, output.read().decode("utf-8", "replace")


def _need(language: str) -> None:
    needed = {"python": sys.executable, "javascript": "node", "c++": "g++", "cpp": "g++"}
    if language not in needed:
        raise UserError(f"programs in {language!r} cannot be run; known are {', '.join(needed)}")
    if shutil.which(needed[language]) is None:
        raise UserError(f"programs in {language} need {needed[language]}, which is not installed; leave `execute` off")
