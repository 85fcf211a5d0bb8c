"""The page's own files: HTML, styles and scripts, as they are in the package."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter
from starlette.responses import Response

from airflow_provider_wati.sandbox.errors import ApiError
from airflow_provider_wati.sandbox.page.responses import PAGE_HEADERS

STATIC = Path(__file__).parent / "static"

_MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


def routes(prefix: str) -> APIRouter:
    """
    Return the routes of the page and its files.

    :param prefix: path under which the files are; the page itself is ``/``.
    """
    router = APIRouter()
    # Only names that are in the package now: no path of a request is ever joined to a directory.
    files = {
        file.relative_to(STATIC).as_posix(): file for file in STATIC.rglob("*") if file.suffix in _MEDIA_TYPES
    }

    @router.get("/")
    async def get_page() -> Response:
        return _file(files["index.html"])

    @router.get(f"{prefix}/static/{{name:path}}")
    async def get_file(name: str) -> Response:
        if name not in files:
            raise ApiError(404)
        return _file(files[name])

    return router


def _file(file: Path) -> Response:
    # No media type argument: it would add a second charset.
    return Response(file.read_bytes(), headers={**PAGE_HEADERS, "Content-Type": _MEDIA_TYPES[file.suffix]})
