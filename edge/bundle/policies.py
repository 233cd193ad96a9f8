"""Policies of operating points: which width answers. docs/policies.md is their contract."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from edge.bundle.fields import MAX_GATES, MAX_WIDTHS, AscendingWidths, Finite, Record, WidthIndex


def _check_thresholds(thresholds: list[float], ways: int, what: str) -> None:
    """Raise a ValueError unless the thresholds tell so many ways apart."""
    if len(thresholds) != ways - 1:
        raise ValueError(f"{ways} {what} need {ways - 1} thresholds, found {len(thresholds)}")
    if thresholds != sorted(thresholds):
        raise ValueError("thresholds must not decrease")


class WidthPolicy(Record):
    """What every policy has: the widths it may use, narrow → wide."""

    widths: AscendingWidths

    @property
    def asks_gate(self) -> bool:
        """Return whether the gate's logits are needed to choose."""
        return len(self.widths) > 1


class ThresholdPolicy(WidthPolicy):
    """The gate's score picks the width: score = Σ_j j·softmax(gate logits)_j, `widths[thresholds below the score]`."""

    kind: Literal["thresholds"] = "thresholds"
    thresholds: list[Finite]

    @model_validator(mode="after")
    def _thresholds_fit_widths(self) -> "ThresholdPolicy":
        _check_thresholds(self.thresholds, len(self.widths), "widths")
        return self

    @property
    def next(self) -> list[int]:
        """Return the widths: it is the tree whose root decides everything."""
        return self.widths


class TreeNode(Record):
    """What one gate decides: it goes on with `next[thresholds below the score]`, a width or what the next gate decides.

    With one entry in `next` nothing is to decide.
    """

    thresholds: list[Finite] = Field(max_length=MAX_WIDTHS)
    next: list["TreeNode | WidthIndex"] = Field(min_length=1, max_length=MAX_WIDTHS)

    @model_validator(mode="after")
    def _thresholds_fit_next(self) -> "TreeNode":
        _check_thresholds(self.thresholds, len(self.next), "ways on")
        return self

    @property
    def leaves(self) -> list[int]:
        """Return the widths that answer below it, from left to right."""
        return [leaf for child in self.next for leaf in leaves(child)]

    @property
    def depth(self) -> int:
        """Return how many gates it needs, from its own on."""
        return 1 + max(child.depth if isinstance(child, TreeNode) else 0 for child in self.next)


class TreePolicy(WidthPolicy):
    """Every gate on the way decides: the first one by `root`, each further one by the node that is reached."""

    kind: Literal["tree"] = "tree"
    root: TreeNode

    @field_validator("root", mode="before")
    @classmethod
    def _bounded(cls, root: Any) -> Any:
        """Check how deep and how wide it is before anything is made of it."""
        level, found = [root], 0
        for _ in range(MAX_GATES + 1):
            lists = [node["next"] for node in level if isinstance(node, dict) and isinstance(node.get("next"), list)]
            level = [child for children in lists for child in children]
            found += sum(not isinstance(child, dict) for child in level)
        if level or found > MAX_WIDTHS:
            raise ValueError(f"at most {MAX_GATES} nodes lie on one another, with at most {MAX_WIDTHS} widths")
        return root

    @model_validator(mode="after")
    def _widths_are_those_of_the_leaves(self) -> "TreePolicy":
        if self.widths != sorted(set(self.root.leaves)):
            raise ValueError(f"widths {self.widths[:8]} are not those that the tree ends with, {self.root.leaves[:8]}")
        return self


def leaves(place: TreeNode | int) -> list[int]:
    """Return the widths that answer below a place in a tree, from left to right."""
    return place.leaves if isinstance(place, TreeNode) else [place]


class UtilityPolicy(WidthPolicy):
    """Each width's chance of being right, less a price for its cost: the width of the highest utility answers.

    utility_k = sigmoid(weights[k] · gate logits + biases[k]) − penalties[k], the first of equal ones.
    """

    kind: Literal["utility"] = "utility"
    weights: list[Annotated[list[Finite], Field(min_length=1, max_length=MAX_WIDTHS)]] = Field(max_length=MAX_WIDTHS)
    """[w][m]: one row for each width, one number for each gate logit."""
    biases: list[Finite]
    penalties: list[Finite]
    """λ·cost, in probability."""

    @model_validator(mode="after")
    def _a_row_for_each_width(self) -> "UtilityPolicy":
        found = {name: len(getattr(self, name)) for name in ("weights", "biases", "penalties")}
        wrong = [f"{count} {name}" for name, count in found.items() if count != len(self.widths)]
        if wrong or len({len(row) for row in self.weights}) > 1 or not self.weights[0]:
            raise ValueError(f"{len(self.widths)} widths need as many weights (of equal length), biases and penalties")
        return self


class CascadePolicy(WidthPolicy):
    """The narrowest width answers; where it is unsure the next one runs as well, up to the widest. No gate is asked.

    The answer of `widths[i]` stands when its top-1 softmax probability is at least `confidences[i]`.
    """

    kind: Literal["cascade"] = "cascade"
    confidences: list[Annotated[float, Field(ge=0, allow_inf_nan=False)]]

    @model_validator(mode="after")
    def _confidences_fit_widths(self) -> "CascadePolicy":
        if len(self.confidences) != len(self.widths) - 1:
            raise ValueError(
                f"{len(self.widths)} widths need {len(self.widths) - 1} confidences, found {len(self.confidences)}"
            )
        return self

    @property
    def asks_gate(self) -> bool:
        """Return False: the answers themselves tell."""
        return False


Policy = ThresholdPolicy | TreePolicy | UtilityPolicy | CascadePolicy
