"""All sources, as the configuration and the formatter ask for them."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from typing import Any

from logstack_django.redaction import Redactor
from logstack_django.sources import celery, django, opentelemetry, python, servers
from logstack_django.sources.source import Translation, Translator

SOURCES = (django.SOURCE, servers.SOURCE, celery.SOURCE, opentelemetry.SOURCE, python.SOURCE)
LOGGERS: Mapping[str, Mapping[str, Any]] = {
    name: logger for source in SOURCES for name, logger in source.loggers.items()
}
FILTERS = {name: found for source in SOURCES for name, found in source.filters.items()}
HIDDEN = frozenset[str]().union(*(source.hidden for source in SOURCES))
_TRANSLATORS = {name: found for source in SOURCES for name, found in source.translators.items()}


@functools.lru_cache(maxsize=1024)
def find_translator(logger: str) -> Translator | None:
    """What translates the records of a logger."""
    found = _TRANSLATORS.get(logger)
    while found is None and "." in logger:
        logger = logger.rpartition(".")[0]
        found = _TRANSLATORS.get(logger + ".")
    return found


def translate(record: logging.LogRecord, redactor: Redactor | None) -> Translation:
    """What the record becomes; nothing of its own for a record of no framework."""
    name = record.name if isinstance(record.name, str) else ""
    translator = find_translator(name)
    try:
        found = translator(record, redactor) if translator is not None else None
    except Exception:
        found = None  # an unknown format: logged like any other record
    return found or python.translate_mapping(record) or Translation()
