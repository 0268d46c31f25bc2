"""The steps of a run on one host, in order: preflight, binary, config, service, files."""

from __future__ import annotations

from provisioning import refuse_as_deploy

refuse_as_deploy(__name__)
