"""gunicorn's settings that are the same on every machine; the `serve` command passes the rest."""

from __future__ import annotations

from stack.sample_app.settings import LOGGING

wsgi_app = "stack.sample_app.wsgi:application"
worker_class = "gthread"
# Longer than most pauses of generated traffic, so that requests rarely arrive on a connection that
# the server is closing.
keepalive = 75
graceful_timeout = 10
# logstack_django logs every request; gunicorn's access log would repeat it as text.
accesslog = None
# gunicorn's own lines, those of its master included, go where the app's records go, as JSON.
logconfig_dict = LOGGING
# The control socket is not used, and two checkouts would share its path.
control_socket_disable = True
