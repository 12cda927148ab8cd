"""Static files: read once, named by the hash of them all, so that a browser keeps them for ever and never mixes two."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from api.pages.route import PageRoute
from nightshift.errors import NotFound

STATIC = Path(__file__).parents[2] / "web" / "static"
router = APIRouter(include_in_schema=False, route_class=PageRoute)
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}
WORKER = STATIC.parent / "sw.js"
"""The service worker. No page loads it: the browser does, once notifications are on, and keeps looking for a newer."""
_NO_CACHE = {"Cache-Control": "no-cache"}


@dataclass(frozen=True)
class Asset:
    content: bytes
    type: str


@lru_cache(maxsize=1)
def assets() -> dict[str, Asset]:
    """All static files by name: a request's path never gets near the file system."""
    return {
        path.name: Asset(path.read_bytes(), _TYPES[path.suffix])
        for path in sorted(STATIC.iterdir())
        if path.suffix in _TYPES
    }


@lru_cache(maxsize=1)
def version() -> str:
    """Of all files together: a module imports its neighbours by relative names, and so of its own version."""
    digest = hashlib.sha256()
    for name, asset in assets().items():
        digest.update(f"{name} {len(asset.content)} ".encode() + asset.content)
    return digest.hexdigest()[:12]


def static(name: str) -> str:
    """Its URL."""
    if name not in assets():
        raise KeyError(name)
    return f"/static/{version()}/{name}"


@lru_cache
def modules(*scripts: str) -> list[str]:
    """The scripts of a page and all that they import, or a browser would find them one round trip after the other."""
    found = list(scripts)
    for name in found:  # which grows meanwhile
        imported = re.findall(r"from '\./([^']+)'", assets()[name].content.decode())
        found += [each for each in dict.fromkeys(imported) if each not in found]
    return found


@router.get("/static/{wanted}/{name}")
async def send_asset(wanted: str, name: str, request: Request) -> Response:
    """A page of an earlier deployment gets today's file, but may not keep it."""
    asset = assets().get(name)
    if asset is None:
        raise NotFound(f"There is no file '{name}'", "no-file")
    headers = {
        "ETag": f'"{version()}"',
        "Cache-Control": "public, max-age=31536000, immutable" if wanted == version() else "no-cache",
    }
    if request.headers.get("If-None-Match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    return Response(asset.content, media_type=asset.type, headers=headers)


@router.get("/sw.js")
async def send_worker() -> Response:
    """From the root: a service worker is in charge of the folder that it comes from. It may fetch nothing."""
    headers = _NO_CACHE | {"Content-Security-Policy": "default-src 'none'"}
    return Response(WORKER.read_bytes(), media_type=_TYPES[".js"], headers=headers)


@router.get("/manifest.webmanifest")
async def send_manifest() -> Response:
    """With it a phone can put Nightshift on its home screen; an iPhone has notifications only there."""
    manifest = {
        "id": "/",
        "name": "Nightshift",
        "short_name": "Nightshift",
        "start_url": "/",
        "display": "standalone",
        "background_color": "#17151f",
        "theme_color": "#17151f",
        "icons": [
            {"src": static("icon.png"), "sizes": "512x512", "type": "image/png", "purpose": "any maskable"},
            {"src": static("favicon.svg"), "sizes": "any", "type": "image/svg+xml"},
        ],
    }
    return JSONResponse(manifest, media_type="application/manifest+json", headers=_NO_CACHE)
