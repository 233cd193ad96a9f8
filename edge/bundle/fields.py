"""What the records of a bundle are made of: their base, and the fields that several share."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

MAX_WIDTHS, MAX_GATES = 256, 8
MAX_PROGRAMS = 1 + MAX_WIDTHS * MAX_GATES
"""The prefix, and for each width's path one program after each gate."""

Finite = Annotated[float, Field(allow_inf_nan=False)]


class Record(BaseModel):
    """Base of every record: unknown fields are accepted and kept, values are not coerced from strings."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)


WidthIndex = Annotated[int, Field(ge=0, lt=MAX_WIDTHS)]


def _ascending(widths: list[int]) -> list[int]:
    if widths != sorted(set(widths)):
        raise ValueError("widths must ascend")
    return widths


AscendingWidths = Annotated[list[WidthIndex], Field(min_length=1, max_length=MAX_WIDTHS), AfterValidator(_ascending)]
