"""JSON from hypercorn itself, in its configuration file:

import logstack_django.hypercorn
logconfig_dict = logstack_django.hypercorn.logconfig_dict(service="...")
"""

from __future__ import annotations

from typing import Any

from logstack_django.config import build_config
from logstack_django.options import resolve_options


def logconfig_dict(service: str | None = None, **arguments: Any) -> dict[str, Any]:
    """For the setting of this name; arguments as for `logging_config`."""
    return build_config(resolve_options({"service": service, **arguments}))
