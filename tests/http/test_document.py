"""The committed OpenAPI document is the one the code gives."""

import json
import os

from app.http.api import described
from app.http.document import COMMITTED, text


def test_the_committed_document_is_that_of_the_code():
    found = text(described().openapi())
    if os.environ.get("WRITE_OPENAPI"):
        COMMITTED.write_text(found)
    told = "write it anew: WRITE_OPENAPI=1 pytest tests/http/test_document.py"
    assert COMMITTED.read_text() == found, told


def test_every_answer_and_every_error_has_a_schema():
    document = json.loads(COMMITTED.read_text())
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for status in ("4XX", "5XX"):
                assert status in operation["responses"], (path, method)
            success = next(code for code in operation["responses"] if code.startswith("2"))
            assert success == "204" or operation["responses"][success]["content"], (path, method)
