"""Django's objects as one line each, without running a query."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

from logstack_django.paths import safe_path
from logstack_django.redaction import Redactor
from logstack_django.text import safe_text, type_name

Describer = Callable[[Any, Redactor | None], str]


def describe(value: Any, redactor: Redactor | None) -> str:
    """One line about an object, without SQL and without reading what it wraps."""
    try:
        return _describer(type(value))(value, redactor)
    except Exception:
        return f"<unprintable {type_name(type(value))}>"


def _describer(kind: type) -> Describer:
    for base in kind.__mro__:
        found = _DESCRIBERS.get((base.__module__, base.__qualname__))
        if found is not None:
            return found
    return _describe_object


def _describe_object(value: Any, redactor: Redactor | None) -> str:
    if issubclass(type(value), BaseException):
        return f"{type_name(type(value))}: {safe_text(value)}"
    return safe_text(value)


def _describe_model(value: Any, redactor: Redactor | None) -> str:
    return f"{type(value)._meta.label}(pk={loaded_pk(value)})"


def loaded_pk(value: Any) -> Any:
    """Primary key of a model instance as far as it is loaded; never a query."""
    return value.__dict__.get(type(value)._meta.pk.attname)


def _describe_queryset(value: Any, redactor: Redactor | None) -> str:
    model = value.model
    return f"<QuerySet of {model._meta.label if model is not None else 'nothing'}>"


def _describe_manager(value: Any, redactor: Redactor | None) -> str:
    model = getattr(value, "model", None)
    return f"<Manager of {model._meta.label if model is not None else 'nothing'}>"


def resolved(value: Any) -> Any:
    """The object in a Django lazy object, None while it is not loaded; other values unchanged."""
    if not _is_lazy(type(value)):  # type: ignore[arg-type]
        return value
    wrapped = value.__dict__.get("_wrapped")
    empty = getattr(sys.modules.get("django.utils.functional"), "empty", None)
    return None if wrapped is empty else wrapped


@functools.lru_cache(maxsize=1024)
def _is_lazy(kind: type) -> bool:
    return any(
        base.__qualname__ == "LazyObject" and base.__module__ == "django.utils.functional"
        for base in kind.__mro__
    )


def _describe_lazy(value: Any, redactor: Redactor | None) -> str:
    wrapped = resolved(value)
    return "<lazy object, not loaded>" if wrapped is None else describe(wrapped, redactor)


def _describe_request(value: Any, redactor: Redactor | None) -> str:
    # Not str(): it shows the query string.
    return f"{value.method} {safe_path(value, redactor)}"


def _describe_response(value: Any, redactor: Redactor | None) -> str:
    return f"<{type(value).__name__} status_code={value.status_code}>"


# By name, because the library is imported while settings are being loaded, when importing the
# models would be too early.
_DESCRIBERS: dict[tuple[str, str], Describer] = {
    ("django.db.models.base", "Model"): _describe_model,
    ("django.db.models.query", "QuerySet"): _describe_queryset,
    ("django.db.models.query", "RawQuerySet"): _describe_queryset,
    ("django.db.models.manager", "BaseManager"): _describe_manager,
    ("django.utils.functional", "LazyObject"): _describe_lazy,
    ("django.http.request", "HttpRequest"): _describe_request,
    ("rest_framework.request", "Request"): _describe_request,
    ("django.http.response", "HttpResponseBase"): _describe_response,
}
