"""The app factory: an opened atlas and settings in, an ASGI app out.

Write the committed OpenAPI document anew with: python -m app.http.api
"""

from hashlib import sha256

from fastapi import Depends, FastAPI
from fastapi.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware

from app.http import answer, docs, errors, evidence, export, hypotheses, labels, notes, prompt, sql
from app.http.document import COMMITTED, ERRORS, document, text
from app.http.explorers import Explorers
from app.http.guard import Guard
from app.http.parameters import known_parameters, strict
from app.http.settings import Settings
from atlas.api import Atlas

_SMALLEST_GZIP = 1000
_GZIP_LEVEL = 4  # half the time of 6 for a few percent more bytes


def make_app(atlas: Atlas, settings: Settings | None = None) -> FastAPI:
    """The query API over an opened atlas."""
    settings = settings or Settings()
    app = described()
    app.state.atlas, app.state.settings = atlas, settings
    app.state.snapshots = answer.Snapshots(atlas, settings.older)
    app.state.explorers = Explorers(settings.prompt_seconds, settings.prompts_waiting)
    errors.handle(app)
    app.add_exception_handler(answer.NotModified, answer.not_modified)
    _wrap(app, atlas, settings)
    return app


def described() -> FastAPI:
    """The addresses with their document, over no atlas yet."""
    app = FastAPI(
        title="feature-atlas",
        version=answer.VERSION,
        description=evidence.ABOUT,
        docs_url=None,
        redoc_url=None,
        responses=ERRORS,
        dependencies=[Depends(strict)],
        generate_unique_id_function=lambda route: route.name,
    )
    for part in (evidence, hypotheses, labels, prompt, export, notes, sql, docs):
        app.include_router(part.router)
    made = document(app)
    app.openapi = lambda: made  # type: ignore[method-assign]
    # What answers look like is part of what a cache may hold.
    app.state.edition = sha256(text(made).encode()).hexdigest()[:8]
    app.state.parameters = known_parameters(made)
    return app


def _wrap(app: FastAPI, atlas: Atlas, settings: Settings) -> None:
    app.add_middleware(GZipMiddleware, minimum_size=_SMALLEST_GZIP, compresslevel=_GZIP_LEVEL)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=settings.origins,
        allow_methods=["GET", "HEAD", "POST", "PUT", "DELETE"],
        allow_headers=["Authorization", "Content-Type", "X-Author", "If-None-Match"],
        expose_headers=[answer.SNAPSHOT_HEADER, "ETag", "Content-Location", "Location"],
    )
    app.add_middleware(
        Guard,
        atlas=atlas,
        hosts=settings.hosts,
        body_bytes=settings.body_bytes,
        per_minute=settings.per_minute,
    )


if __name__ == "__main__":
    COMMITTED.write_text(text(described().openapi()))
