"""What may stand in the table ``[preparation]`` of a campaign file."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from active_learning.domain.options import Options

__all__ = ["PreparationOptions", "RankBy"]

RankBy = Literal["mutual_information", "permutation_importance", "correlation"]


class PreparationOptions(Options):
    """Keys of ``[preparation]``. Each is off unless it is given."""

    polynomial: int = Field(
        1, ge=1, le=4, description="Combine features into products of up to this many factors; 1 combines none."
    )
    interactions_only: bool = Field(False, description="Combine different features only: no powers of one feature.")
    max_combinations: int = Field(
        10_000,
        ge=1,
        le=100_000,
        description="Combinations looked at. Where there would be more, only the features that tell most are combined.",
    )
    drop_constant: bool = Field(False, description="Leave out features that are the same for all labels.")
    max_correlation: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Of two features whose |Pearson correlation| is above this, keep the one that tells more about the "
        "target.",
    )
    keep: int | None = Field(None, ge=1, description="Keep this many features, those that tell most about the target.")
    rank_by: RankBy = Field(
        "mutual_information",
        description="How much a feature tells about the target: 'mutual_information', 'correlation' (|Spearman|), or "
        "'permutation_importance' (of a small forest, on labels held out from it). With fewer than 20 labels always "
        "'correlation'.",
    )

    @property
    def is_off(self) -> bool:
        """Whether nothing is asked for."""
        return not (self.polynomial > 1 or self.drop_constant or self.max_correlation or self.keep)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.interactions_only and self.polynomial == 1:
            raise ValueError("interactions_only goes with polynomial = 2 or more")
        return self
