"""Settings of the project; the environment chooses the sink, as it does in production."""

from __future__ import annotations

import os

import logstack_django

SECRET_KEY = "only-for-tests"
DEBUG = False
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "logstack_django",
    "tests.library.project",
]
MIDDLEWARE = [
    "logstack_django.middleware.RequestLogMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
ROOT_URLCONF = "tests.library.project.urls"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("PROJECT_DATABASE", ":memory:"),
    }
}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
USE_TZ = True
STATIC_URL = "/static/"
LOGGING = logstack_django.logging_config(
    "erp-test",
    environment="test",
    sink="stdout",
    levels={"tests": "DEBUG"},
    trusted_proxies=["127.0.0.1", "10.0.0.0/8"],
    slow_request_ms=60_000,
    quiet_paths=["/health", "/quiet/*"],
)
