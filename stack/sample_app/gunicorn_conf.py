"""gunicorn's settings that are the same on every machine; the `serve` command passes the rest."""

from __future__ import annotations

from stack.sample_app.settings import LOGGING

wsgi_app = "stack.sample_app.wsgi:application"
worker_class = "gthread"
# Longer than most pauses of a client of generated traffic, so that hardly ever a request meets a
# connection that the server is just closing.
keepalive = 75
graceful_timeout = 10
# logstack_django logs every request; gunicorn's access log would say it again, as text.
accesslog = None
# gunicorn's own lines, those of its master included, go where the app's records go, as JSON.
logconfig_dict = LOGGING
# Nobody asks for the control socket, and two checkouts would fight for its path.
control_socket_disable = True
