"""What a study says about the look of its figures."""

from pydantic import Field

from retscale.common.strict import Strict


class FigureConfig(Strict):
    """Size in inches, resolution, fonts in points, colors."""

    width: float = Field(6.75, ge=3, le=20, description="inches; the text width of a two-column paper")
    dpi: int = Field(300, ge=72, le=1200, description="of the PNG")
    font_size: float = Field(8.0, ge=7, le=16)
    # Ordered also in gray and for color-blind readers; cut where its contrast with white falls below 3:1.
    palette: str = Field("viridis", description="a matplotlib color map, for sizes from small to large")
    palette_from: float = Field(0.0, ge=0, le=1)
    palette_to: float = Field(0.6, ge=0, le=1)
    trend: str = Field("#333333", pattern=r"^#[0-9a-fA-F]{6}$")
    accent: str = Field("#c44e52", pattern=r"^#[0-9a-fA-F]{6}$", description="the second recipe")


class Spec(FigureConfig):
    """The spec of one job of this stage."""

    name: str
