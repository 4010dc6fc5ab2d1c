"""How many threads a model computes with on a CPU: the bits of its results depend on it."""

from typing import Annotated

from pydantic import Field

Threads = Annotated[int, Field(ge=1, le=256)]
