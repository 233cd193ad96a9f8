"""Networks of several gates, as small as they can be while every rule about paths says something in them."""

from train.spec import GateSpec, StageSpec, SupernetSpec

TWO_GATES = SupernetSpec(
    name="two_gates", resolution=16, classes=3, stem=StageSpec((8,), 1, 2),
    stages=(StageSpec((8, 16), 1, 1), StageSpec((8, 16, 24), 1, 2)),
    gates=(GateSpec(0, (0, 1)), GateSpec(1, (0, 1, 2), reach=1)),
    activation="relu", family="resnet_basic",
)  # fmt: skip
"""Paths (0, 0), (0, 1), (1, 0), (1, 1), (1, 2): 8 programs, and no tail_00_02, which is out of reach."""

THREE_GATES = SupernetSpec(
    name="three_gates", resolution=32, classes=10, stem=StageSpec((8,), 1, 2),
    stages=(StageSpec((8,), 1, 1), StageSpec((8, 16), 1, 2), *[StageSpec((8, 16, 24), 1, 2)] * 2),
    gates=(GateSpec(1, (0, 1)), GateSpec(2, (0, 1, 2), reach=1), GateSpec(3, (0, 2), reach=2)),
    activation="relu", family="resnet_basic",
)  # fmt: skip
"""15 widths, 17 programs."""
