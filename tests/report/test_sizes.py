"""Sizes are those of real files: the artifact's own, and what `dsnet hydrate` would write."""

from pathlib import Path

from edge.bundle.plain_files import plain_files
from edge.report.sizes import sizes
from tests.report.cases import Files


def test_an_artifact_is_compared_with_a_plain_file_for_each_of_its_widths(written: Files) -> None:
    bundle = written.bundle
    artifact = bundle.artifact()
    (found,) = sizes(bundle)
    hydrated = [plain_files(bundle, artifact, [width], None, Path("plain.tflite")) for width in (0, 1)]
    assert found.shared_bytes == (written.root / artifact.file).stat().st_size
    assert found.single_bytes == [sum(map(len, files.values())) for files in hydrated]
