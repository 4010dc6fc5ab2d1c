"""The number formats that a study may ask for; model/device.py says which one a machine can compute in."""

from typing import Literal

Precision = Literal["auto", "fp32", "bf16"]
