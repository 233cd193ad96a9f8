"""JSON Schemas of the records that leave this program, generated from the code: `python -m edge.bundle.schema`."""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from common import atomic_write
from edge.bundle.coreml.index import FORMAT as COREML_FORMAT
from edge.bundle.coreml.index import Index
from edge.bundle.manifest import FORMAT as MANIFEST_FORMAT
from edge.bundle.manifest import Manifest
from edge.bundle.nested.recipe import FORMAT as RECIPE_FORMAT
from edge.bundle.nested.recipe import Recipe
from edge.profiling.latency_table import FORMAT as LATENCY_FORMAT
from edge.profiling.latency_table import LatencyTable
from edge.runtime.predictions import FORMAT as PREDICTIONS_FORMAT
from edge.runtime.predictions import Metadata

DIALECT = "https://json-schema.org/draft/2020-12/schema"
FOLDER = Path(__file__).parent
RECORDS: dict[str, tuple[type[BaseModel], str]] = {
    "manifest": (Manifest, MANIFEST_FORMAT),
    "coreml": (Index, COREML_FORMAT),
    "recipe": (Recipe, RECIPE_FORMAT),
    "latency": (LatencyTable, LATENCY_FORMAT),
    "predictions": (Metadata, PREDICTIONS_FORMAT),
}
"""File stem → record and the name of its format. Of predictions, the schema describes the metadata."""


def schema(name: str) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of one of RECORDS; cross-checks between fields are left to readers."""
    record, format_name = RECORDS[name]
    return {
        "$schema": DIALECT,
        **record.model_json_schema(),
        "title": format_name,
    }


def write_schemas(folder: Path) -> None:
    """Write NAME.schema.json for every record to `folder`."""
    for name in RECORDS:
        with atomic_write(folder / f"{name}.schema.json") as temporary:
            temporary.write_text(json.dumps(schema(name), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write_schemas(FOLDER)
