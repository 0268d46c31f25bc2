"""System checks: each misconfiguration is named, with a hint; a sound project has none."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.checks import run_checks
from django.test import override_settings
from logstack_django.checks import MIDDLEWARE

from logstack_django import logging_config
from tests.library.support import logging_setting


def found(**overrides: Any) -> list[str]:
    """Numbers of the library's warnings under these settings."""
    config = overrides.pop("LOGGING", settings.LOGGING)
    with override_settings(**overrides), logging_setting(config):
        messages = [
            message for message in run_checks() if str(message.id).startswith("logstack_django.")
        ]
    assert all(message.hint for message in messages)
    return [str(message.id).partition(".")[2] for message in messages]


def config(**changes: Any) -> dict[str, Any]:
    """The project's LOGGING with changes."""
    return {**copy.deepcopy(settings.LOGGING), **changes}


def test_a_sound_project_has_no_warning() -> None:
    """The one that the other tests use."""
    assert found() == []


@pytest.mark.parametrize("name", ["RotatingFileHandler", "TimedRotatingFileHandler"])
def test_w001_a_rotating_handler(name: str) -> None:
    """Loses records as soon as two workers write."""
    handlers = {"own": {"class": f"logging.handlers.{name}", "filename": "x"}}
    assert found(LOGGING=config(handlers={**settings.LOGGING["handlers"], **handlers})) == ["W001"]


def test_w002_existing_loggers_are_disabled() -> None:
    """Also by leaving the key out."""
    assert found(LOGGING=config(disable_existing_loggers=True)) == ["W002"]
    without = config()
    del without["disable_existing_loggers"]
    assert found(LOGGING=without) == ["W002"]


@pytest.mark.parametrize("levels", [{"": "DEBUG"}, {"app": "DEBUG"}])
def test_w003_debug_level_in_production(levels: dict[str, str]) -> None:
    """Of the root or of any logger."""
    production = logging_config("s", environment="production", levels=levels)
    assert found(LOGGING=production) == ["W003"]
    assert found(LOGGING=logging_config("s", environment="dev", levels=levels)) == []


def test_w004_the_middleware_is_missing() -> None:
    """No request id, no access log."""
    others = [path for path in settings.MIDDLEWARE if path != MIDDLEWARE]
    assert found(MIDDLEWARE=others) == ["W004"]


def test_w005_the_middleware_is_in_the_wrong_place() -> None:
    """Behind one of Django's, or there twice."""
    others = [path for path in settings.MIDDLEWARE if path != MIDDLEWARE]
    assert found(MIDDLEWARE=[*others, MIDDLEWARE]) == ["W005"]
    assert found(MIDDLEWARE=[MIDDLEWARE, *others, MIDDLEWARE]) == ["W005"]
    assert found(MIDDLEWARE=["whitenoise.first", MIDDLEWARE, *others]) == []


def test_w006_records_are_written_twice() -> None:
    """By a handler of a logger and again by that of the root."""
    loggers = {**settings.LOGGING["loggers"], "app": {"handlers": ["logstack"]}}
    assert found(LOGGING=config(loggers=loggers)) == ["W006"]
    loggers["app"] = {"handlers": ["logstack"], "propagate": False}
    assert found(LOGGING=config(loggers=loggers)) == []


def test_w007_logging_was_not_built_by_the_library() -> None:
    """Nothing of it is in effect then."""
    assert found(LOGGING={"version": 1, "disable_existing_loggers": False}) == ["W007"]


def test_w008_the_file_cannot_be_written(tmp_path: Path) -> None:
    """A folder stands in its place."""
    assert found(LOGGING=logging_config("s", sink="file", path=tmp_path)) == ["W008"]
    assert found(LOGGING=logging_config("s", sink="file", path=tmp_path / "new" / "a.log")) == []


def test_w009_a_variable_without_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most likely misspelled."""
    monkeypatch.setenv("LOGSTACK_DJANGO_ENVIROMENT", "prod")
    assert found() == ["W009"]


def test_w010_admins_that_nobody_mails() -> None:
    """A configuration of the project without the handler."""
    handlers = dict(settings.LOGGING["handlers"])
    del handlers["mail_admins"]
    loggers = {**settings.LOGGING["loggers"], "django": {"handlers": []}}
    with override_settings(ADMINS=["ann@shop.example"]):
        assert found(LOGGING=config(handlers=handlers, loggers=loggers)) == ["W010"]
        assert found() == []
