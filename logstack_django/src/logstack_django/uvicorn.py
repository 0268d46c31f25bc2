"""JSON from uvicorn itself.

    uvicorn.run(app, log_config=logstack_django.uvicorn.log_config(service="..."))

or, for the command line, with the options in LOGSTACK_DJANGO_… variables:

    python -m logstack_django.uvicorn > log_config.json
    uvicorn --log-config log_config.json erp.asgi:application
"""

from __future__ import annotations

import json
import sys
from typing import Any

from logstack_django.config import build_config
from logstack_django.options import resolve_options


def log_config(service: str | None = None, **arguments: Any) -> dict[str, Any]:
    """For uvicorn's log_config; arguments as for `logging_config`."""
    return build_config(resolve_options({"service": service, **arguments}))


if __name__ == "__main__":
    sys.stdout.write(json.dumps(log_config(), indent=2) + "\n")
