"""WSGI entry point: gunicorn runs `stack.sample_app.wsgi:application`."""

from __future__ import annotations

import os

from django.core.wsgi import get_wsgi_application

# Not that of an application which a shell was set up for.
os.environ["DJANGO_SETTINGS_MODULE"] = "stack.sample_app.settings"

application = get_wsgi_application()
