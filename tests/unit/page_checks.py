"""What a page must be to be read anywhere: its structure, what fits a narrow screen, contrast of its colours."""

import re
from html.parser import HTMLParser

VOID = {"meta", "img", "br", "link", "col"}
NARROW = 360  # CSS pixels of text on a screen of 400
PIXELS = {"px": 1, "rem": 16, "em": 16, "pt": 4 / 3, "in": 96, "cm": 37.8, "ch": 8}
NOWRAP = {"n", "verdict"}  # classes of text that does not wrap


class Page(HTMLParser):
    """The tree as a list of (tag, attributes, classes of what encloses it)."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[tuple[str, set[str]]] = []
        self.elements: list[tuple[str, dict[str, str | None], set[str]]] = []
        self.problems: list[str] = []
        self.tables: list[dict[str, int]] = []
        self.feed(text)
        self.problems += [f"<{tag}> is not closed" for tag, _ in self.open]

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        around = set().union(*(classes for _, classes in self.open)) if self.open else set()
        self.elements.append((tag, attributes, around))
        if tag == "table":
            self.tables.append({"captions": 0, "th": 0, "scoped": 0})
        if self.tables and tag == "caption":
            self.tables[-1]["captions"] += 1
        if self.tables and tag == "th":
            self.tables[-1]["th"] += 1
            self.tables[-1]["scoped"] += "scope" in attributes
        if tag not in VOID:
            self.open.append((tag, set((attributes.get("class") or "").split())))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop()[0] != tag:
            self.problems.append(f"</{tag}> closes something else")


def problems(text: str) -> list[str]:
    """Everything that is wrong with a page."""
    page = Page(text)
    style = "\n".join(re.findall(r"<style>(.*?)</style>", text, re.DOTALL))
    return [*page.problems, *structure(page), *width(page, style), *contrast(style)]


def structure(page: Page) -> list[str]:
    faults = []
    levels = [int(tag[1]) for tag, _, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    if levels.count(1) != 1 or levels[0] != 1:
        faults.append(f"headings are {levels}: not one h1 first")
    faults += [f"h{a} is followed by h{b}" for a, b in zip(levels, levels[1:], strict=False) if b > a + 1]
    for tag, attributes, _ in page.elements:
        if tag in ("script", "iframe", "link", "object"):
            faults.append(f"<{tag}>")
        if tag == "img" and not attributes.get("alt"):
            faults.append("an image without alt")
        if any(name.startswith("on") for name in attributes):
            faults.append(f"<{tag}> has a handler")
        if re.match("https?:", attributes.get("src") or attributes.get("href") or ""):
            faults.append(f"<{tag}> loads another file")
    ids = [attributes["id"] for _, attributes, _ in page.elements if "id" in attributes]
    faults += [f"the id {name} is there twice" for name in set(ids) if ids.count(name) > 1]
    faults += [
        f"a table has no caption, or headers without scope: {table}"
        for table in page.tables
        if not table["captions"] or table["th"] != table["scoped"] or not table["th"]
    ]
    return faults


def width(page: Page, style: str) -> list[str]:
    """What would make the page scroll sideways on a narrow screen: only a scrolling box may be wider than it."""
    faults = []
    rules = declarations(re.sub(r"@media print\s*\{(?:[^{}]|\{[^{}]*\})*\}", "", style))
    scrolling = {name for name, values in rules.items() if values.get("overflow-x") == "auto"}
    if not {".wide", "pre"} <= scrolling:
        faults.append(f"of .wide and pre only {scrolling} scroll")
    if rules.get("body", {}).get("overflow-wrap") not in ("break-word", "anywhere"):
        faults.append("long words of the body do not break")
    if rules.get("figure img", {}).get("width") != "100%":
        faults.append("images have a width of their own")
    for name, values in rules.items():
        for key in ("width", "min-width"):
            if match := re.fullmatch(r"([\d.]+)(\D+)", values.get(key, "")):
                if match[2] in PIXELS and float(match[1]) * PIXELS[match[2]] > NARROW:
                    faults.append(f"{name} is {values[key]} wide")
    for tag, attributes, around in page.elements:
        if tag == "table" and "wide" not in around:
            faults.append("a table outside a box that scrolls")
        if NOWRAP & set((attributes.get("class") or "").split()) and "wide" not in around:
            faults.append(f"<{tag}> does not wrap and is outside a box that scrolls")
        if "style" in attributes or "width" in attributes:
            faults.append(f"<{tag}> has a style or width of its own")
    return faults


def contrast(style: str) -> list[str]:
    """Of every colour of text with the grounds that it is on, in both schemes."""
    faults = []
    schemes = re.findall(r":root\s*\{([^{}]*)\}", style)
    if len(schemes) != 2 or "prefers-color-scheme: dark" not in style:
        return ["there are not two colour schemes"]
    for scheme in schemes:
        colors = dict(re.findall(r"--(\w+):\s*(#[0-9a-f]{6})", scheme))
        for text in colors.keys() - {"paper", "wash", "line"}:
            for ground in ("paper", "wash"):
                if ratio(colors[text], colors[ground]) < 4.5:
                    faults.append(f"{text} {colors[text]} on {ground} {colors[ground]}")
    for name, values in declarations(style).items():
        if re.search("#[0-9a-f]{3}", values.get("color", "")):
            faults.append(f"{name} has a colour outside the schemes")
    if declarations(style).get("figure img", {}).get("background") != "#ffffff":
        faults.append("figures, which are drawn for white, have no white ground")
    return faults


def declarations(style: str) -> dict[str, dict[str, str]]:
    """Property by selector, of every rule that holds no other."""
    rules: dict[str, dict[str, str]] = {}
    for selectors, body in re.findall(r"([^{}]+)\{([^{}]*)\}", style):
        values = {name: value.strip() for name, value in re.findall(r"([\w-]+):\s*([^;]+)", body)}
        for selector in selectors.split(","):
            rules.setdefault(selector.strip(), {}).update(values)
    return rules


def ratio(a: str, b: str) -> float:
    """Contrast of two colours as WCAG 2 defines it."""
    lighter, darker = sorted((luminance(a), luminance(b)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(color: str) -> float:
    channels = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
