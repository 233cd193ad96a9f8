import json

import pytest

from edge.bundle.schema import FOLDER, RECORDS, schema


@pytest.mark.parametrize("name", RECORDS)
def test_the_shipped_schema_is_the_codes_schema(name: str) -> None:
    shipped = json.loads((FOLDER / f"{name}.schema.json").read_text())
    assert shipped == schema(name), "run: python -m edge.bundle.schema"


def test_the_manifest_schema_demands_the_fields_of_the_contract() -> None:
    required = schema("manifest")["required"]
    assert required == ["format", "model", "widths", "gates", "artifacts", "provenance"]
