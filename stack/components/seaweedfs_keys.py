"""The keys that SeaweedFS's servers require of each other, and of whoever else connects to them.

Without them the volume server lets every client read, write and delete, and so do the gRPC ports of
master and filer. All are derived from the administrator's key, which allows all of that: there is
nothing more to store, and rendering again gives the same texts.
"""

from __future__ import annotations

import hmac
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

SERVERS = ("master", "volume", "filer", "s3", "client")
CERTIFICATE, KEY = "grpc.crt", "grpc.key"
# It never leaves the machine. Who should no longer have it gets another administrator's key.
VALID = (datetime(2026, 1, 1, tzinfo=UTC), datetime(2126, 1, 1, tzinfo=UTC))


def store_security(folder: Path, admin: str) -> dict[str, str]:
    """SeaweedFS's files, which it reads in `folder`: security.toml, a certificate and its key."""
    text = "# Rendered by stack/components/seaweedfs_keys.py: change it there.\n"
    for table in ("jwt.signing", "jwt.signing.read"):
        key = _derive(admin, table).hex()
        text += f'[{table}]\nkey = "{key}"\nexpires_after_seconds = 60\n'
    text += f'[grpc]\nca = "{folder / CERTIFICATE}"\n'
    for server in SERVERS:
        text += f'[grpc.{server}]\ncert = "{folder / CERTIFICATE}"\nkey = "{folder / KEY}"\n'
    # The master shows a page, also without its HTTP interface.
    pair = f'cert = "{folder / CERTIFICATE}"\nkey = "{folder / KEY}"\n'
    text += f'[https.master]\nca = "{folder / CERTIFICATE}"\n{pair}'
    certificate, key_text = _certificate(admin)
    return {
        "seaweedfs/security.toml": text,
        f"seaweedfs/{CERTIFICATE}": certificate,
        f"seaweedfs/{KEY}": key_text,
    }


def _derive(admin: str, purpose: str) -> bytes:
    return hmac.digest(admin.encode(), purpose.encode(), "sha256")


def _certificate(admin: str) -> tuple[str, str]:
    """A certificate that is its own authority, and its key. Equal keys give equal texts."""
    key = Ed25519PrivateKey.from_private_bytes(_derive(admin, "grpc"))
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "logstack archive store")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(VALID[0])
        .not_valid_after(VALID[1])
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, None)
    )
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return certificate.public_bytes(Encoding.PEM).decode(), text
