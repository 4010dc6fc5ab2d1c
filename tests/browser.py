"""A browser without a window, for pages at the width of a phone and of a screen. Run as a program, installs it."""

import json
import re
import subprocess
import sys
from html import unescape
from pathlib import Path

import debian

PROGRAM = "chromium-headless-shell"
WIDTHS = (400, 1280)
MISSING = f"not installed: {PROGRAM}; on Debian `make browser` installs it" if debian.absent({PROGRAM: PROGRAM}) else ""
# A page of the same folder that shows the one in question at each width, and says what came of it.
FRAMES = """<!doctype html><body><pre></pre><script>
const seen = {}, widths = WIDTHS;
for (const width of widths) {
  const frame = document.createElement("iframe");
  Object.assign(frame, {width, height: 900, src: "PAGE"});
  frame.style.border = 0;
  frame.onload = () => {
    const page = frame.contentDocument, root = page.documentElement;
    seen[width] = {
      room: root.clientWidth, content: root.scrollWidth, ground: getComputedStyle(root).backgroundColor,
      images: page.images.length, broken: [...page.images].filter(image => !image.naturalWidth).length,
    };
    if (Object.keys(seen).length == widths.length) document.querySelector("pre").textContent = JSON.stringify(seen);
  };
  document.body.append(frame);
}
</script></body>"""


def seen(page: Path, dark: bool = False) -> dict[int, dict]:
    """What a browser makes of `page` at each width: `room` for its `content`, both in pixels, the color of its `ground`,
    and how many of its `images` are `broken`; and under `errors` what it complains of."""
    frames = page.with_name("frames.html")
    frames.write_text(FRAMES.replace("PAGE", page.name).replace("WIDTHS", json.dumps(WIDTHS)))
    scheme = "--blink-settings=preferredColorScheme=0" if dark else "--blink-settings=preferredColorScheme=1"
    options = ["--no-sandbox", "--disable-gpu", "--allow-file-access-from-files", "--virtual-time-budget=20000"]
    done = subprocess.run(
        [PROGRAM, *options, "--enable-logging=stderr", scheme, "--dump-dom", frames.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    frames.unlink()
    results = json.loads(unescape(re.search(r"<pre>(.*?)</pre>", done.stdout)[1]))
    return {int(width): values for width, values in results.items()} | {
        "errors": [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    }


def problems(page: Path) -> list[str]:
    """What is wrong with `page` in a browser, light and dark; empty if nothing is."""
    wrong, grounds = [], set()
    for dark in (False, True):
        result = seen(page, dark)
        wrong += result.pop("errors")
        for width, values in result.items():
            if values["content"] > values["room"]:
                wrong.append(f"at {width} pixels the page is {values['content']} wide and has {values['room']}")
            if values["broken"]:
                wrong.append(f"at {width} pixels {values['broken']} of {values['images']} images are broken")
            grounds.add((dark, values["ground"]))
    return wrong if len({ground for _, ground in grounds}) == 2 else [*wrong, f"light and dark look alike: {grounds}"]


if __name__ == "__main__":
    if MISSING and (failure := debian.install([PROGRAM])):
        print(f"the tests in a browser are skipped: {failure}", file=sys.stderr)
