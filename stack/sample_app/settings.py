"""Django settings of the sample app; what differs between machines comes from environment.py.

The last lines are the configuration that logstack_django needs.
"""

from __future__ import annotations

import os

import logstack_django
from stack.sample_app.environment import read_environment

_environment = read_environment(os.environ)

SECRET_KEY = _environment.secret_key
DEBUG = False
ALLOWED_HOSTS = list(_environment.allowed_hosts)
ROOT_URLCONF = "stack.sample_app.urls"
WSGI_APPLICATION = "stack.sample_app.wsgi.application"
USE_TZ = True
TIME_ZONE = "UTC"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "stack.sample_app.accounts",
    "stack.sample_app.organizations",
    "stack.sample_app.invoices",
    "stack.sample_app.operations",
    "logstack_django",
]

MIDDLEWARE = [
    "logstack_django.middleware.RequestLogMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]

# With WAL, readers continue while one process writes; the timeout (seconds) is how long a second
# writer waits; IMMEDIATE takes the write lock at once, so that no transaction fails half way.
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(_environment.database),
        "CONN_MAX_AGE": 60,
        "OPTIONS": {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }
}

PASSWORD_HASHERS = ["stack.sample_app.accounts.hashers.DemoPasswordHasher"]
SESSION_COOKIE_AGE = 8 * 60 * 60

LOGGING = logstack_django.logging_config(
    service=_environment.service,
    environment=_environment.environment,
    sink="file" if _environment.log_file else "stdout",
    path=str(_environment.log_file) if _environment.log_file else None,
    trusted_proxies=["127.0.0.1"],
    quiet_paths=["/healthz"],
)
