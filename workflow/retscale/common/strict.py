"""The base of every model of what users and other programs write."""

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """Unknown keys, infinities and NaN are refused."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
