"""What decides between programs while they are timed, whoever runs them: this process, dsnet-runner or the app."""

from collections.abc import Mapping, Sequence

from edge.bundle.manifest import Artifact, Program
from edge.bundle.policies import TreeNode, TreePolicy, leaves
from edge.runtime.route import Route


def timed_policy(artifact: Artifact) -> TreePolicy:
    """Return the policy that decides between programs while they are timed.

    What it decides does not matter, as the programs are given; how many thresholds it compares with at each gate does.
    """
    paths = Route.of(artifact).paths
    return TreePolicy(widths=list(paths), root=_node(paths, 0))


def timed_nodes(artifact: Artifact) -> dict[str, TreeNode]:
    """Return the node of `timed_policy` that is asked after each program, by its name; none where nothing is left to
    decide."""
    root, found = timed_policy(artifact).root, dict[str, TreeNode]()
    for width, chain in Route.of(artifact).chains.items():
        place: TreeNode | int = root
        for program in chain[:-1]:
            if isinstance(place, TreeNode):
                found[program.name] = place
                place = next(child for child in place.next if width in leaves(child))
    return found


def _node(paths: Mapping[int, Sequence[Program]], gate: int) -> TreeNode:
    """Return the node of a gate that chooses between widths whose paths are the same up to it."""
    branches: dict[str, dict[int, Sequence[Program]]] = {}
    for width, path in paths.items():
        branches.setdefault(path[gate].name, {})[width] = path
    return TreeNode(
        thresholds=[0.0] * (len(branches) - 1),
        next=[_node(below, gate + 1) if len(below) > 1 else next(iter(below)) for below in branches.values()],
    )
