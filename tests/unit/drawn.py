"""What a reader of a drawn page sees."""

from itertools import combinations

from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

SMALLEST = 7  # points


def texts(figure: Figure, monkeypatch) -> list[tuple[str, float, Bbox]]:
    """What every text that is drawn says, its size in points and its box in pixels."""
    seen: dict[Text, tuple] = {}
    draw = Text.draw

    def watched(text: Text, renderer) -> None:
        draw(text, renderer)
        if text.get_visible() and text.get_text().strip():
            seen[text] = (text.get_text(), text.get_fontsize(), text.get_window_extent(renderer))

    figure.canvas.draw()
    monkeypatch.setattr(Text, "draw", watched)
    figure.canvas.draw()
    return list(seen.values())


def require_legible(figure: Figure, monkeypatch) -> list[tuple[str, float, Bbox]]:
    """The texts; each is large enough, on the page, and beside all others."""
    boxes, page = texts(figure, monkeypatch), figure.bbox.frozen()
    assert boxes
    for text, size, box in boxes:
        assert size >= SMALLEST, text
        inside = box.x0 >= -1 and box.y0 >= -1 and box.x1 <= page.x1 + 1 and box.y1 <= page.y1 + 1
        assert inside, f"{text!r} runs off the page: {box}"
    for (a, _, first), (b, _, second) in combinations(boxes, 2):
        width = min(first.x1, second.x1) - max(first.x0, second.x0)
        height = min(first.y1, second.y1) - max(first.y0, second.y0)
        assert width <= 1 or height <= 1, f"{a!r} and {b!r} overlap by {width:.0f} x {height:.0f} pixels"
    return boxes
