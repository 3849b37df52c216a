"""Generated requests, good and bad, against the document: no server error and no lie in it."""

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from app.http.api import described, make_app
from app.http.settings import Settings
from atlas.api import Atlas
from atlas.store.publish import publish
from ingest.job import run_job
from tests.builders import a_bundle
from tests.ingest.jobs import a_job


@schemathesis.serializer("application/x-ndjson")
def as_text(_context, value):
    return value if isinstance(value, bytes) else str(value).encode()


schema = schemathesis.openapi.from_dict(described().openapi())


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    """Over an atlas of a tiny model whose prompts can be run."""
    folder = tmp_path_factory.mktemp("any")
    store = folder / "store"
    publish(store, [run_job(a_job(folder), store).path, a_bundle(folder / "toy").path])
    with Atlas.open(store) as atlas:
        yield make_app(atlas, Settings(prompts=True))


@schema.parametrize()
@settings(max_examples=3, deadline=None, database=None, suppress_health_check=list(HealthCheck))
def test_every_address_answers_as_its_document_says(case, app):
    case.call_and_validate(
        app=app, base_url="http://localhost", excluded_checks=[positive_data_acceptance]
    )
