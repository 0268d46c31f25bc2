"""The environment's certificate authority and its servers' certificates, as PEM texts."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from stack.components.loki import CLUSTER_NAME
from stack.settings.units import is_ip_address

AUTHORITY_LIFE = timedelta(days=3650)
# Browsers and Apple's systems refuse server certificates that are valid for more than 825 days.
CERTIFICATE_LIFE = timedelta(days=800)
RENEW_BEFORE = timedelta(days=60)
CLOCK_DIFFERENCE = timedelta(hours=1)


@dataclass(frozen=True)
class Authority:
    """A certificate authority."""

    certificate: str
    key: str


@dataclass(frozen=True)
class Issued:
    """A server's certificate and key."""

    certificate: str
    key: str


def make_authority(environment: str) -> Authority:
    """A new certificate authority, valid for AUTHORITY_LIFE."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"Logstack {environment}")
    usage = _key_usage(key_cert_sign=True, crl_sign=True)
    certificate = (
        _builder(name, name, key.public_key(), AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(_pem(certificate), _pem_key(key))


def issue(authority: Authority, server: str, names: Sequence[str]) -> Issued:
    """A certificate for a log server, valid for `names`, also as a client of the other servers.

    Raises ValueError for an authority whose key is not an elliptic curve key.
    """
    issuer = x509.load_pem_x509_certificate(authority.certificate.encode())
    signer = serialization.load_pem_private_key(authority.key.encode(), password=None)
    if not isinstance(signer, ec.EllipticCurvePrivateKey):
        raise ValueError("ca_key: expected an elliptic curve key")
    key = ec.generate_private_key(ec.SECP256R1())
    alternatives: list[x509.GeneralName] = [
        x509.IPAddress(ipaddress.ip_address(name)) if is_ip_address(name) else x509.DNSName(name)
        for name in (*names, CLUSTER_NAME)
    ]
    uses = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    certificate = (
        _builder(_name(server), issuer.subject, key.public_key(), CERTIFICATE_LIFE)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(_key_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
        .sign(signer, hashes.SHA256())
    )
    return Issued(_pem(certificate), _pem_key(key))


def is_valid(certificate: str, names: Sequence[str], now: datetime) -> bool:
    """Whether it covers exactly these names and stays valid for more than RENEW_BEFORE."""
    parsed = x509.load_pem_x509_certificate(certificate.encode())
    found = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    same = {str(name.value) for name in found} == {*names, CLUSTER_NAME}
    return same and parsed.not_valid_after_utc - now > RENEW_BEFORE


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, life: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_DIFFERENCE)
        .not_valid_after(now + life)
    )


def _key_usage(
    *, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _pem_key(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
