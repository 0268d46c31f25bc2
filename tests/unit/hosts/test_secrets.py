"""The secrets of an environment: made once, by name, never shown."""

from __future__ import annotations

import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import bcrypt
import pytest
from cryptography import x509

from stack.hosts import HostsError, secrets
from stack.hosts.certificates import is_valid
from stack.hosts.gateway import password_hash
from stack.settings import Settings
from tests.support.example import settings_with


@pytest.fixture
def values() -> Settings:
    return settings_with(
        hosts={
            "logs-1": {"address": "10.0.0.1", "roles": ["log_server"]},
            "app-1": {"address": "app.example.net", "roles": ["app_host"]},
        },
        gateway={"readers": ["alice"], "name": "logs.example.net"},
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "secrets.staging.json"


def test_what_is_missing_is_made_once(values: Settings, path: Path) -> None:
    """A second run makes nothing and changes nothing; only the owner reads the file."""
    made = secrets.init(path, values, {})
    assert sorted(made) == sorted(secrets.generated_names(values))
    before = path.read_bytes()
    assert secrets.init(path, values, {}) == []
    assert path.read_bytes() == before
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_new_host_gets_its_own_and_the_others_keep_theirs(values: Settings, path: Path) -> None:
    """Adding a host needs no new password anywhere else."""
    secrets.init(path, values, {})
    before = secrets.read_file(path)
    more = values.model_copy(update={"hosts": {**values.hosts, "app-2": values.hosts["app-1"]}})
    assert secrets.init(path, more, {}) == ["writer_app-2"]
    assert {name: secrets.read_file(path)[name] for name in before} == before


def test_a_rotated_secret_is_another_one_and_alone(values: Settings, path: Path) -> None:
    """The rest stays."""
    secrets.init(path, values, {})
    before = secrets.read_file(path)
    assert secrets.rotate(path, values, "writer_app-1") == ["writer_app-1"]
    after = secrets.read_file(path)
    assert {name for name in after if after[name] != before[name]} == {"writer_app-1"}


def test_a_new_authority_issues_every_certificate_anew(values: Settings, path: Path) -> None:
    """The old ones would be worth nothing."""
    secrets.init(path, values, {})
    made = secrets.rotate(path, values, "ca_key")
    assert sorted(made) == sorted(
        ["ca_certificate", "ca_key", "certificate_logs-1", "certificate_key_logs-1"]
    )


def test_a_certificate_is_good_for_every_name_of_its_server(values: Settings, path: Path) -> None:
    """Address, common name, and the name that clusters use; issued by the authority."""
    secrets.init(path, values, {})
    known = secrets.read_file(path)
    certificate = x509.load_pem_x509_certificate(known["certificate_logs-1"].encode())
    authority = x509.load_pem_x509_certificate(known["ca_certificate"].encode())
    certificate.verify_directly_issued_by(authority)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(name.value) for name in names] == [
        "10.0.0.1",
        "logs.example.net",
        "log-server.logstack.internal",
    ]


def test_a_server_with_another_address_gets_another_certificate(
    values: Settings, path: Path
) -> None:
    """Its own and no other secret is made anew."""
    secrets.init(path, values, {})
    server = values.hosts["logs-1"].model_copy(update={"address": "10.0.0.9"})
    moved = values.model_copy(update={"hosts": {**values.hosts, "logs-1": server}})
    assert secrets.init(path, moved, {}) == ["certificate_logs-1", "certificate_key_logs-1"]
    assert secrets.init(path, moved, {}) == []


def test_a_certificate_that_ends_soon_is_no_longer_good(values: Settings, path: Path) -> None:
    """Two months before its end, so that a deploy is due in time."""
    secrets.init(path, values, {})
    certificate = secrets.read_file(path)["certificate_logs-1"]
    names = ["10.0.0.1", "logs.example.net"]
    now = datetime.now(UTC)
    assert [is_valid(certificate, names, now + timedelta(days=d)) for d in (0, 739, 741)] == [
        True,
        True,
        False,
    ]


def test_the_environment_wins_and_is_not_written(values: Settings, path: Path) -> None:
    """A secret of a build system stays there."""
    given = {"LOGSTACK_SECRET_WRITER_APP_1": "given"}
    assert "writer_app-1" not in secrets.init(path, values, given)
    assert secrets.read(path, values, given)["writer_app-1"] == "given"
    assert "given" not in path.read_text(encoding="utf-8")


def test_an_unknown_secret_cannot_be_rotated(values: Settings, path: Path) -> None:
    """The known names are listed, no value is."""
    secrets.init(path, values, {})
    expected = r"expected one of gateway_salt, writer_logs-1, writer_app-1.*'writer'"
    with pytest.raises(HostsError, match=expected):
        secrets.rotate(path, values, "writer")


def test_a_file_that_others_can_read_is_refused(values: Settings, path: Path) -> None:
    """The error says what to type."""
    secrets.init(path, values, {})
    path.chmod(0o644)
    with pytest.raises(HostsError, match=r"expected mode 0600, got 0644\. Run: chmod 600"):
        secrets.read(path, values, {})


@pytest.mark.parametrize("text", ["[]", '{"a": 1}', "{"])
def test_a_file_of_another_form_is_refused(values: Settings, path: Path, text: str) -> None:
    """It is left as it is."""
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    with pytest.raises(HostsError, match="expected a JSON object"):
        secrets.init(path, values, {})
    assert path.read_text(encoding="utf-8") == text


def test_a_missing_secret_is_named_with_what_to_type(values: Settings) -> None:
    """A deploy before the first init."""
    with pytest.raises(HostsError, match=r"secret writer_app-1: .* \./logstack secrets init ENV"):
        secrets.secret({}, "writer_app-1")


def test_sops_decrypts_a_file_of_its_own(
    values: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program is called with the file; what it prints is read."""
    program = tmp_path / "sops"
    text = json.dumps({"writer_app-1": "hidden"})
    program.write_text(f"#!/bin/sh\n[ \"$1\" = --decrypt ] && echo '{text}'\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    path = tmp_path / "secrets.sops.json"
    path.write_text("{}", encoding="utf-8")
    assert secrets.read(path, values, {})["writer_app-1"] == "hidden"
    with pytest.raises(HostsError, match=r"cannot write .*: it is encrypted with sops"):
        secrets.init(path, values, {})


def test_a_hash_depends_on_the_user_and_is_the_same_every_time() -> None:
    """Otherwise every deploy would change the gateway."""
    one, same = (
        password_hash("app-1", "password", "salt"),
        password_hash("app-1", "password", "salt"),
    )
    other = password_hash("app-2", "password", "salt")
    assert one == same != other
    assert one.split("$")[3][:22] != other.split("$")[3][:22]
    assert bcrypt.checkpw(b"password", one.encode())
    assert not bcrypt.checkpw(b"wrong", one.encode())


def test_all_that_is_missing_is_named_at_once(values: Settings, path: Path) -> None:
    """What can be made and what has to be given, with the command of this environment."""
    more = settings_with(
        hosts=values.model_dump()["hosts"],
        stack={"environment": "staging", "engine": "loki"},
        loki_storage={"bucket": "logs", "endpoint": "https://s3.example.net"},
        archive={"endpoint": "https://s3.example.net"},
    )
    assert secrets.external_names(more) == ["archive_writer", "loki_storage"]
    with pytest.raises(HostsError) as caught:
        secrets.read_all(path, more, {})
    assert "writer_app-1" in str(caught.value)
    assert "Run: ./logstack secrets init staging" in str(caught.value)
    secrets.init(path, more, {})
    with pytest.raises(HostsError) as caught:
        secrets.read_all(path, more, {})
    variables = "LOGSTACK_SECRET_ARCHIVE_WRITER, LOGSTACK_SECRET_LOKI_STORAGE"
    assert f"Set {variables} to key:secret of your store" in str(caught.value)
    assert "secrets init" not in str(caught.value)
    keys = dict.fromkeys(variables.split(", "), "key:secret")
    assert secrets.read_all(path, more, keys)["loki_storage"] == "key:secret"


def test_a_secret_that_is_given_cannot_be_rotated(values: Settings, path: Path) -> None:
    """A new one in the file would change nothing: the variable wins."""
    secrets.init(path, values, {})
    before = path.read_bytes()
    with pytest.raises(HostsError, match=r"Change the value of LOGSTACK_SECRET_WRITER_APP_1"):
        secrets.rotate(path, values, "writer_app-1", {"LOGSTACK_SECRET_WRITER_APP_1": "given"})
    assert path.read_bytes() == before


def test_an_address_in_another_spelling_keeps_its_certificate(path: Path) -> None:
    """A second run makes nothing."""
    host = {"address": "2001:0DB8:0::10", "roles": ["log_server"]}
    values = settings_with(hosts={"logs-1": host})
    secrets.init(path, values, {})
    assert secrets.init(path, values, {}) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", r"got no JSON \(line 1\)"),
        ("[]", "got another value"),
        ('{"a": "1", "b": 2}', "got another value for b"),
    ],
)
def test_a_file_of_secrets_that_cannot_be_used_says_why(
    tmp_path: Path, text: str, expected: str
) -> None:
    path = tmp_path / "secrets.json"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(HostsError, match=f"expected a JSON object .*, {expected}$"):
        secrets.read_file(path)


def test_a_folder_is_no_file_of_secrets(tmp_path: Path) -> None:
    """Its mode is not what is wrong with it."""
    with pytest.raises(HostsError, match="expected a file of secrets, got another kind of file"):
        secrets.read_file(tmp_path)
