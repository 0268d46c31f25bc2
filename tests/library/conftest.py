"""Sets Django up with the test project, in this process, without touching the environment.

Other tests start processes of their own with other settings, and would inherit a variable.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

import django
import pytest
from django.conf import settings
from django.test import Client
from logstack_django.contexts import current

from tests.library.project import settings as project

_folder = tempfile.TemporaryDirectory(prefix="logstack-library-")

if not settings.configured:
    values = {name: getattr(project, name) for name in dir(project) if name.isupper()}
    values["DATABASES"] = {
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": str(Path(_folder.name) / "database.sqlite3"),
        }
    }
    settings.configure(**values)
    django.setup()
    # What a test logs is for the test to read; pytest's own output stays readable.
    logging.root.handlers = [
        handler for handler in logging.root.handlers if handler.get_name() != "logstack"
    ]


@pytest.fixture(scope="session")
def database() -> Iterator[None]:
    """Tables, and the user ann with the password pw."""
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from django.db import connections

    call_command("migrate", verbosity=0)
    User.objects.create_user("ann", password="pw")
    yield
    connections.close_all()
    _folder.cleanup()


@pytest.fixture(autouse=True)
def empty_context() -> Iterator[None]:
    """No test sees fields that another one bound."""
    current.set(None)
    yield
    current.set(None)


@pytest.fixture
def client() -> Client:
    """A browser whose failures are answers, as in production."""
    return Client(raise_request_exception=False)
