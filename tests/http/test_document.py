"""The committed OpenAPI document is the one the code gives."""

import json

from app.http.api import described
from app.http.document import COMMITTED, text


def test_the_committed_document_is_that_of_the_code():
    now = text(described().openapi())
    assert COMMITTED.read_text() == now, "write it anew with: python -m app.http.api"


def test_every_answer_and_every_error_has_a_schema():
    document = json.loads(COMMITTED.read_text())
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for status in ("4XX", "5XX"):
                assert status in operation["responses"], (path, method)
            success = next(code for code in operation["responses"] if code.startswith("2"))
            assert success == "204" or operation["responses"][success]["content"], (path, method)


def test_members_are_described_in_the_words_of_the_types():
    schemas = json.loads(COMMITTED.read_text())["components"]["schemas"]
    features = schemas["HeadRow"]["properties"]["features"]
    assert features["description"] == "Live features whose largest measured share is this head's."
    assert schemas["Feature"]["properties"]["id"]["type"] == "string"
    assert "path" not in schemas["Snapshot"]["properties"]
