"""The pages, in the order of menus."""

from __future__ import annotations

from dashboards.model import Page
from dashboards.pages.errors import ERRORS
from dashboards.pages.http import HTTP
from dashboards.pages.organization import ORGANIZATION
from dashboards.pages.overview import OVERVIEW
from dashboards.pages.pipeline import PIPELINE
from dashboards.pages.request import REQUEST
from dashboards.pages.security import SECURITY

PAGES: tuple[Page, ...] = (OVERVIEW, ERRORS, HTTP, ORGANIZATION, REQUEST, SECURITY, PIPELINE)

__all__ = ["ERRORS", "HTTP", "ORGANIZATION", "OVERVIEW", "PAGES", "PIPELINE", "REQUEST", "SECURITY"]
