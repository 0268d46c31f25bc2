"""`/healthz`, requested by the runtimes every few seconds."""

from __future__ import annotations

from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponseBase

from stack.sample_app.api import JsonResponse, endpoint, problem


@endpoint("GET", "HEAD", login=False)
def health(request: HttpRequest) -> HttpResponseBase:
    """Answer 200 when the database has its tables, 503 when not."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM organizations_organization LIMIT 1")
    except DatabaseError as error:
        return problem(503, f"database: {error}")
    return JsonResponse({"status": "ok"})
