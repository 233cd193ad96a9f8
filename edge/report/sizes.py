"""What sharing saves: the bytes of one artifact against those of a plain file for each of its widths."""

from edge.bundle.checks import artifact_bytes, artifact_widths
from edge.bundle.manifest import Artifact
from edge.bundle.plain_files import separate_model
from edge.bundle.reader import Bundle
from edge.errors import RuntimeUnavailableError
from edge.report.content import Sizes


def sizes(bundle: Bundle) -> list[Sizes]:
    """Return the sizes of every artifact; its plain files are made in memory. Raises BundleError for a damaged one."""
    return [_sizes(bundle, artifact) for artifact in bundle.manifest.artifacts]


def _sizes(bundle: Bundle, artifact: Artifact) -> Sizes:
    shared = artifact_bytes(bundle.manifest, artifact)
    try:
        singles = [sum(map(len, separate_model(bundle, artifact, width))) for width in artifact_widths(artifact)]
    except RuntimeUnavailableError as error:
        return Sizes(artifact.runtime, artifact.precision, shared, (), str(error))
    return Sizes(artifact.runtime, artifact.precision, shared, singles)
