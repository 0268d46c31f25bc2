"""Tables of docs/operations.md about who reaches what, for the tests that ask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stack.hosts.secrets import reader_secret, writer_secret
from stack.settings import ROOT

DOCUMENT = ROOT / "docs" / "operations.md"
# What a gateway answers to those who may not; a permitted request may fail for another reason.
REFUSED = {401, 403, 404, 405, 421, 503}
REQUESTS = {
    "write records": ("POST", "/insert/opentelemetry/v1/logs"),
    "query": ("POST", "/select/logsql/query?query=*&limit=1"),
    "read the rules": ("GET", "/api/v1/rules"),
    "delete records": ("GET", "/delete/run_task?filter=*"),
    "read metrics": ("GET", "/metrics"),
    "silence alerts": ("POST", "/api/v2/silences"),
    "be a proxy": ("CONNECT", "/"),
}


@dataclass(frozen=True)
class Cell:
    """Who, what, and whether they may."""

    who: str
    what: str
    may: bool

    @property
    def request(self) -> tuple[str, str]:
        """Method and path."""
        return REQUESTS[self.what]

    def __str__(self) -> str:
        return f"{self.who}: {self.what}"


def table(heading: str) -> list[list[str]]:
    """The rows of the table below a heading, with the one of its columns' names."""
    text = DOCUMENT.read_text(encoding="utf-8")
    section = text.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return [row.strip("| ").split(" | ") for row in section.splitlines() if row.startswith("| ")]


def cells() -> list[Cell]:
    """Every cell of the table of what the gateway permits."""
    (_, *columns), *others = table("Who may do what")
    return [
        Cell(who, what, answer != "no")
        for who, *answers in others
        for what, answer in zip(columns, answers, strict=True)
    ]


def statuses() -> dict[str, int]:
    """What a request for another host name is answered, by the name of the port."""
    return {
        name.strip("`"): int(status)
        for names, status, _ in table("Pages in a browser")[1:]
        for name in names.split(", ")
    }


def credentials(who: str, secrets: Mapping[str, str]) -> tuple[str, str]:
    """User and password of a row; the reader is alice."""
    app, reader = secrets[writer_secret("app-1")], secrets[reader_secret("alice")]
    return {
        "an application host": ("app-1", app),
        "a log server's agent": ("logs-1", secrets[writer_secret("logs-1")]),
        "a user in `gateway.readers`": ("alice", reader),
        "another one's password": ("logs-1", reader),
        "a wrong password": ("app-1", "wrong"),
        "nobody": ("", ""),
    }[who]
