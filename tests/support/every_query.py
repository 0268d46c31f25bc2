"""Every query of the catalogue and of the alert rules, called with fitting arguments."""

from __future__ import annotations

import inspect

from stack.queries import catalogue as queries
from stack.queries.language import Query, Scope, Window


def every_query(scope: Scope, window: Window) -> list[Query]:
    """Each query of the catalogue, with arguments where they have no default."""
    arguments = {"field": "route", "quantile": 0.5, "identifier": "req-1", "events": ("x",)}
    found = []
    for name, function in inspect.getmembers(queries, inspect.isfunction):
        if function.__module__ != queries.__name__ or name.startswith("_"):
            continue
        parameters = inspect.signature(function).parameters
        if "window" in parameters:
            arguments |= {"window": window}
        needed = {
            name: arguments[name]
            for name, parameter in parameters.items()
            if name != "scope" and parameter.default is inspect.Parameter.empty
        }
        found.append(function(scope, **needed))
    assert len(found) > 25
    return found
