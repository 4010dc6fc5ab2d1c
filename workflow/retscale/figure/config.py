"""What a study says about the look of its figures."""

from pydantic import Field

from retscale.common.strict import Strict


class FigureConfig(Strict):
    """Size in inches, resolution, fonts in points, colors."""

    width: float = Field(6.75, ge=3, le=20, description="inches; the text width of a two-column paper")
    dpi: int = Field(300, ge=72, le=1200, description="of the PNG")
    font_size: float = Field(8.0, ge=5, le=16)
    # Cut at both ends so that the palest size still shows on white; ordered also in gray and for color-blind readers.
    palette: str = Field("viridis", description="a matplotlib color map, for sizes from small to large")
    palette_from: float = Field(0.02, ge=0, le=1)
    palette_to: float = Field(0.88, ge=0, le=1)
    trend: str = Field("#333333", pattern=r"^#[0-9a-fA-F]{6}$")
    accent: str = Field("#c44e52", pattern=r"^#[0-9a-fA-F]{6}$", description="the second recipe")


class Spec(FigureConfig):
    """The spec of one job of this stage."""

    name: str
