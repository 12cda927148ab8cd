"""The web pages: rendered here, kept fresh by a little JavaScript that fetches fragments of the same templates.

A page is a file of this folder, its template in web/templates, its module in web/static, its words in web/words.
"""

from __future__ import annotations

from fastapi import APIRouter

from api.pages import admin, agents, assets, chat, cost, home, sessions, settings

router = APIRouter()
for page in (home, sessions, chat, cost, settings, agents, admin, assets):
    router.include_router(page.router)
