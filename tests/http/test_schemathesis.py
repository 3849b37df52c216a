"""Generated requests, good and bad, against the document: no server error and no lie in it."""

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from app.http.api import described, make_app


@schemathesis.serializer("application/x-ndjson")
def as_text(_context, value):
    return value if isinstance(value, bytes) else str(value).encode()


schema = schemathesis.openapi.from_dict(described().openapi())


@pytest.fixture(scope="module")
def app(atlas):
    return make_app(atlas)


@schema.parametrize()
@settings(max_examples=3, deadline=None, database=None, suppress_health_check=list(HealthCheck))
def test_every_address_answers_as_its_document_says(case, app):
    case.call_and_validate(
        app=app, base_url="http://localhost", excluded_checks=[positive_data_acceptance]
    )
