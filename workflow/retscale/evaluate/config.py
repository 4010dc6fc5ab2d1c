"""What a study says about evaluation."""

from pydantic import BaseModel, ConfigDict, Field


class EvaluateConfig(BaseModel):
    """`k`: documents kept for each query; Recall@100 needs 100."""

    model_config = ConfigDict(extra="forbid")
    k: int = Field(100, ge=100)
