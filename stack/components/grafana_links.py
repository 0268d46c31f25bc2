"""Links from values in records to dashboards."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Link:
    """A link from a value of `field` to a page, with the value in `variable`."""

    field: str
    page: str
    variable: str
    title: str


LINKS = (
    Link("request_id", "request", "request_id", "Everything about this request"),
    Link("trace_id", "request", "request_id", "Everything about this trace"),
    Link("exception_type", "errors", "exception_type", "Errors of this type"),
    Link("organization_id", "organization", "organization_id", "This organization"),
)


def uid(page: str, engine: str) -> str:
    """The fixed uid of a page's dashboard, the last part of its address in Grafana."""
    return f"logstack-{page}-{engine}"


def link_url(link: Link, engine: str, value: str) -> str:
    """The address for a value, with the same time range, data source and environment."""
    return (
        f"/d/{uid(link.page, engine)}?${{__url_time_range}}&${{datasource:queryparam}}"
        f"&${{environment:queryparam}}&var-{link.variable}=${{{value}:percentencode}}"
    )
