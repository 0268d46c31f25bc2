"""Variables of the shell that are meant for other programs, put right before a command begins.

Every program of the native runtime inherits the variables of the `up` that started it.
"""

from __future__ import annotations

from collections.abc import MutableMapping

# Of the user's own application, of its server, and of tools that the components are built of.
FOREIGN = (
    *("DJANGO_SETTINGS_MODULE", "PYTHONPATH", "PYTHONHOME", "WEB_CONCURRENCY"),
    *("GUNICORN_", "GF_", "WEED_", "AWS_", "OTEL_"),
)
KEPT = ("AWS_CA_BUNDLE",)
LOOPBACK = "127.0.0.1,localhost,::1"


def correct(environ: MutableMapping[str, str]) -> None:
    """Remove what would configure our programs by accident; no proxy is asked for loopback."""
    for name in [name for name in environ if name.startswith(FOREIGN) and name not in KEPT]:
        del environ[name]
    if not any(name.lower().endswith("_proxy") for name in environ):
        return
    given = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    if given.strip() != "*":  # which is "no proxy at all" only where it stands alone
        given = ",".join(filter(None, (given, LOOPBACK)))
    environ["no_proxy"] = environ["NO_PROXY"] = given
