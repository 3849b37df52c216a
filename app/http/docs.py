"""A page that lists every address, for reading in a browser; it needs no network and no script."""

from html import escape
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse

router = APIRouter()
_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}: the query API</title><style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 56rem; margin: 2rem auto; padding: 0 1rem;
  color-scheme: light dark }}
h3 {{ margin: 1.6rem 0 0 }} h3 code {{ font-size: 1.05em }} table {{ border-collapse: collapse }}
td {{ padding: .1rem .8rem .1rem 0; vertical-align: top }} p {{ margin: .2rem 0 }}
</style></head><body><h1>{title}</h1><p>{about}</p>
<p>Everything wrong is answered as <code>{{"error": {{"kind", "message", "hint"}}}}</code>. Every
answer names its snapshot in <code>X-Atlas-Snapshot</code>; <code>?snapshot=000003</code> asks an
older one that is kept. The whole description, with every member of every answer:
<a href="openapi.json">openapi.json</a>.</p>
{operations}</body></html>
"""


@router.get("/docs", include_in_schema=False)
def docs(request: Request) -> HTMLResponse:
    """Every address with what it takes."""
    document = request.app.openapi()
    operations = (
        _operation(method, path, one)
        for path, methods in document["paths"].items()
        for method, one in methods.items()
    )
    page = _PAGE.format(
        title=escape(document["info"]["title"]),
        about=escape(document["info"]["description"]),
        operations="\n".join(operations),
    )
    return HTMLResponse(
        page, headers={"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
    )


def _operation(method: str, path: str, one: dict[str, Any]) -> str:
    address = f"<code>{method.upper()} {escape(path)}</code>"
    if method == "get" and "{" not in path and not _needed(one):
        address = f'<a href=".{escape(path)}">{address}</a>'
    rows = "".join(_row(parameter) for parameter in one.get("parameters", ()))
    return f"<h3>{address}</h3><p>{escape(one.get('description', ''))}</p><table>{rows}</table>"


def _needed(one: dict[str, Any]) -> bool:
    return any(parameter.get("required") for parameter in one.get("parameters", ()))


def _row(parameter: dict[str, Any]) -> str:
    told = parameter.get("description") or parameter["schema"].get("description", "")
    default = parameter["schema"].get("default")
    told += f" Default: {default}." if default not in (None, "") else ""
    return f"<tr><td><code>{escape(parameter['name'])}</code></td><td>{escape(told)}</td></tr>"
