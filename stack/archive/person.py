"""Finds what ties records to a person, so that `erase` removes all of them, in the engines, too.

A user's failed logins have a name and no id, and what somebody did before logging in has a session
alone. What records of others have as well, such as a shared account's name, is not followed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime

from stack.archive import search
from stack.archive.context import Archive, OnProgress, no_progress
from stack.archive.engines.protocol import Archivable
from stack.archive.orphans import EVER
from stack.archive.suppression import text_in
from stack.engines import Record, Selection
from stack.records.timestamps import EPOCH

# Not the client's address: many people share one.
FOLLOWED = ("user_id", "username", "session_id", "client_id")
Match = tuple[str, str]
"""A field and its value as text."""


@dataclass
class Person:
    """The matches of a person, the first one as it was given, with their archived records.

    `shared` are those that records of others have, too. `services` counts records by service: the
    same id may be another person's in another application.
    """

    matches: Counter[Match] = field(default_factory=Counter)
    shared: set[Match] = field(default_factory=set)
    services: Counter[str] = field(default_factory=Counter)


def find(
    archive: Archive, name: str, value: str, *, on_progress: OnProgress = no_progress
) -> Person:
    """Follow the fields FOLLOWED from `name` = `value` through the archive. Raises ArchiveError."""
    person = Person()
    given = (name, value)
    pending: set[Match] = {given}
    while pending:
        links = _links(archive, pending, given, person, on_progress)
        found = set().union(*links.values())
        pending = found - person.matches.keys() - person.shared
    return person


def _links(
    archive: Archive,
    pending: Collection[Match],
    given: Match,
    person: Person,
    on_progress: OnProgress,
) -> dict[Match, set[Match]]:
    """What is in the records of each pending match that is the person's alone; adds these."""
    links: dict[Match, set[Match]] = {match: set() for match in pending}
    counts: Counter[Match] = Counter()
    services: dict[Match, Counter[str]] = {match: Counter() for match in pending}
    selection = Selection(since=EPOCH, until=EVER)
    records = search.run(archive, selection, any_of=tuple(pending), on_progress=on_progress)
    with closing(records):
        for record in records:
            held = _matches_in(record, given[0])
            of_others = any(match[0] == given[0] and match != given for match in held)
            counted_before = bool(held & person.matches.keys())
            for match in held & links.keys():
                counts[match] += 1
                if of_others:
                    person.shared.add(match)
                    continue
                links[match] |= held
                services[match][str(record.get("service_name", ""))] += not counted_before
                counted_before = True
    for match in person.shared & links.keys():
        del links[match]
    for match in links:
        person.matches[match] = counts[match]
        person.services += services[match]
    return links


def _matches_in(record: Record, name: str) -> set[Match]:
    texts = ((each, text_in(record, each)) for each in {name, *FOLLOWED})
    return {(each, text) for each, text in texts if text}


def erase_in_engine(engine: Archivable, matches: Iterable[Match], until: datetime) -> str:
    """Delete a person's records of before `until` in an engine; what stays, or nothing.

    Raises EngineError.
    """
    if not engine.supports_delete():
        return "the records stay until their day is deleted (see retention.allow_delete)"
    return engine.erase(list(matches), until)
