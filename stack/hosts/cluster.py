"""The certificates with which log servers authenticate to each other. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping

from stack.components.loki import CLUSTER_NAME
from stack.hosts.secrets import CA_CERTIFICATE, secret
from stack.settings.targets import Target


def cluster_files(
    component: str, target: Target, host: str, secrets: Mapping[str, str]
) -> tuple[dict[str, str], set[str]]:
    """Certificates below /etc/logstack and which of them are secret; none for a single server."""
    if target.cluster is None:
        return {}, set()
    folder = f"{component}/{target.cluster.tls_dir}"
    files = {
        f"{folder}/ca.pem": secret(secrets, CA_CERTIFICATE),
        f"{folder}/certificate.pem": secret(secrets, f"certificate_{host}"),
        f"{folder}/key.pem": secret(secrets, f"certificate_key_{host}"),
    }
    if component == "alertmanager":
        files[f"{folder}/tls.yml"] = _alertmanager(str(target.run_dir / folder))
    return files, {f"{folder}/key.pem"}


def _alertmanager(folder: str) -> str:
    """Client and server both present a certificate of the environment's CA; JSON is YAML."""
    own = {"cert_file": f"{folder}/certificate.pem", "key_file": f"{folder}/key.pem"}
    ca_file = f"{folder}/ca.pem"
    document = {
        "tls_server_config": {
            **own,
            "client_ca_file": ca_file,
            "client_auth_type": "RequireAndVerifyClientCert",
        },
        "tls_client_config": {**own, "ca_file": ca_file, "server_name": CLUSTER_NAME},
    }
    return json.dumps(document, indent=2) + "\n"
