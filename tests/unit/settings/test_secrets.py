"""The secrets of the local runtimes."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from stack.settings.secrets import (
    SAMPLE_APP_SECRETS,
    SIGNING_KEY,
    STORE_KEYS,
    SecretsError,
    archive_secrets,
    local_store_secrets,
    sample_app_secrets,
    secrets_file,
    write_private,
)


@pytest.fixture
def wide_umask() -> Iterator[None]:
    """A user whose new files everybody may read and write."""
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def keep(data_dir: Path, text: str) -> Path:
    """A secrets file with this text."""
    path = secrets_file(data_dir)
    write_private(path, text)
    return path


@pytest.mark.usefixtures("wide_umask")
def test_secrets_are_made_in_a_file_that_only_its_owner_reads(tmp_path: Path) -> None:
    """Whatever the umask is, the file is 0600 and its folder 0700."""
    made = sample_app_secrets(tmp_path / "data")
    assert tuple(made) == SAMPLE_APP_SECRETS
    assert mode(secrets_file(tmp_path / "data")) == 0o600
    assert mode(tmp_path / "data") == 0o700
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["secrets.json"]


def test_secrets_are_long_and_different(tmp_path: Path) -> None:
    """32 random bytes each, and others in another checkout."""
    ours, theirs = sample_app_secrets(tmp_path / "a"), sample_app_secrets(tmp_path / "b")
    texts = {*ours.values(), *theirs.values()}
    assert len(texts) == 2 * len(SAMPLE_APP_SECRETS)
    assert {len(text) for text in texts} == {43}


def test_secrets_are_made_once(tmp_path: Path) -> None:
    """A restart does not log everybody out."""
    first = sample_app_secrets(tmp_path)
    written = secrets_file(tmp_path).stat()
    assert sample_app_secrets(tmp_path) == first
    assert secrets_file(tmp_path).stat().st_mtime_ns == written.st_mtime_ns


def test_a_secret_that_is_missing_is_added_and_the_others_stay(tmp_path: Path) -> None:
    """Also those that this version does not know."""
    keep(tmp_path, '{"LOGSTACK_SAMPLE_PASSWORD": "mine", "OTHER": "theirs"}')
    made = sample_app_secrets(tmp_path)
    kept = json.loads(secrets_file(tmp_path).read_text(encoding="utf-8"))
    assert made["LOGSTACK_SAMPLE_PASSWORD"] == "mine"
    assert len(made["LOGSTACK_SAMPLE_SECRET_KEY"]) == 43
    assert kept == {**made, "OTHER": "theirs"}


def test_an_empty_secret_is_made_anew(tmp_path: Path) -> None:
    """Empty means missing."""
    keep(tmp_path, '{"LOGSTACK_SAMPLE_PASSWORD": ""}')
    assert len(sample_app_secrets(tmp_path)["LOGSTACK_SAMPLE_PASSWORD"]) == 43


@pytest.mark.parametrize("wide", [0o640, 0o604, 0o666, 0o610])
def test_a_file_that_others_may_read_is_refused(tmp_path: Path, wide: int) -> None:
    """The error says how to correct it, and nothing of the content."""
    path = keep(tmp_path, '{"LOGSTACK_SAMPLE_PASSWORD": "do-not-show"}')
    path.chmod(wide)
    with pytest.raises(SecretsError) as caught:
        sample_app_secrets(tmp_path)
    assert str(caught.value) == (
        f"{path}: expected mode 0600, got 0{wide:o}. Run: chmod 600 '{path}'"
    )


@pytest.mark.parametrize(
    "text",
    [
        '{"LOGSTACK_SAMPLE_PASSWORD": "do-not-show"',
        '["do-not-show"]',
        '"do-not-show"',
        '{"LOGSTACK_SAMPLE_PASSWORD": null, "x": "do-not-show"}',
        '{"LOGSTACK_SAMPLE_PASSWORD": {"do-not-show": 1}}',
        "",
    ],
)
def test_a_file_that_holds_no_secrets_is_refused(tmp_path: Path, text: str) -> None:
    """It is neither overwritten nor shown: somebody may want to restore it."""
    path = keep(tmp_path, text)
    with pytest.raises(SecretsError) as caught:
        sample_app_secrets(tmp_path)
    assert str(caught.value) == (
        f"{path}: expected a JSON object of secrets, got something else. "
        "Restore it, or remove it to generate new secrets"
    )
    assert caught.value.__cause__ is None
    assert path.read_text(encoding="utf-8") == text


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    """Invalid UTF-8 does not end in a traceback."""
    keep(tmp_path, "").write_bytes(b"\xff\xfe")
    with pytest.raises(SecretsError, match="expected a JSON object of secrets"):
        sample_app_secrets(tmp_path)


@pytest.mark.usefixtures("wide_umask")
def test_a_private_file_replaces_a_wide_one(tmp_path: Path) -> None:
    """Its old mode does not stay, and nothing is left beside it."""
    path = tmp_path / "file"
    path.write_text("old", encoding="utf-8")
    write_private(path, "new")
    assert (path.read_text(encoding="utf-8"), mode(path)) == ("new", 0o600)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_private_file_that_cannot_be_written_leaves_nothing_beside_it(tmp_path: Path) -> None:
    """Half of a secret is a secret too."""
    (tmp_path / "folder" / "full").mkdir(parents=True)
    with pytest.raises(OSError, match="irectory"):
        write_private(tmp_path / "folder", "new")
    with pytest.raises(UnicodeEncodeError):
        write_private(tmp_path / "file", "half \ud800")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_processes_that_write_a_private_file_at_once_do_not_break_each_other(
    tmp_path: Path,
) -> None:
    """Each writes complete texts; concurrent writers are not an error."""
    path = tmp_path / "file"
    write_private(path, "0" * 100_000)

    def write(number: int) -> int:
        for _ in range(100):
            write_private(path, str(number) * 100_000)
            assert len(set(path.read_text(encoding="utf-8"))) == 1
        return number

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(write, range(4))) == [0, 1, 2, 3]
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_secrets_that_are_made_at_once_are_the_same(tmp_path: Path) -> None:
    """The second process does not continue with keys that no other process has."""
    together = Barrier(8)

    def make(folder: Path) -> dict[str, str]:
        together.wait()
        return sample_app_secrets(folder)

    with ThreadPoolExecutor(8) as pool:
        for number in range(20):
            folder = tmp_path / str(number)
            made = list(pool.map(make, [folder] * 8))
            assert made == [sample_app_secrets(folder)] * 8


def test_who_is_given_one_key_of_the_store_has_no_other(tmp_path: Path) -> None:
    """A reader's key of the local store would not fit, and the writer is to be without one."""
    assert all(archive_secrets(tmp_path, {}).values())
    given = {"LOGSTACK_ARCHIVE_WRITER": "a:b"}
    ours = archive_secrets(tmp_path, given)
    assert {name: ours[name] for name in STORE_KEYS} == {**dict.fromkeys(STORE_KEYS, ""), **given}
    assert ours[SIGNING_KEY] == archive_secrets(tmp_path, {})[SIGNING_KEY]
    assert all(local_store_secrets(tmp_path, given).values())


@pytest.mark.parametrize(
    ("endpoint", "given"),
    [
        ("", {"LOGSTACK_ARCHIVE_READER": "a:b"}),
        ("https://s3.example", {"LOGSTACK_ARCHIVE_READER": "a:b"}),
        ("https://s3.example", {}),
    ],
)
def test_a_signing_key_is_not_made_for_a_store_of_others(
    tmp_path: Path, endpoint: str, given: dict[str, str]
) -> None:
    """With a new one, every manifest would look rewritten. Starting a local store makes none."""
    local_store_secrets(tmp_path, {})
    before = secrets_file(tmp_path).read_bytes()
    with pytest.raises(
        SecretsError, match=r"LOGSTACK_ARCHIVE_SIGNING_KEY: expected .*openssl rand"
    ):
        archive_secrets(tmp_path, given, endpoint=endpoint)
    assert secrets_file(tmp_path).read_bytes() == before
    signed = archive_secrets(tmp_path, {**given, SIGNING_KEY: "c2lnbg=="}, endpoint=endpoint)
    assert signed[SIGNING_KEY] == "c2lnbg=="
    assert secrets_file(tmp_path).read_bytes() == before


def test_a_signing_key_of_the_file_is_used_for_a_store_of_others(tmp_path: Path) -> None:
    """Set in the file, it counts as set; the store's keys are those of the environment."""
    keep(tmp_path, json.dumps({SIGNING_KEY: "c2lnbg==", "LOGSTACK_ARCHIVE_ADMIN": "local:local"}))
    found = archive_secrets(
        tmp_path, {"LOGSTACK_ARCHIVE_READER": "a:b"}, endpoint="https://s3.example"
    )
    assert found == {
        **dict.fromkeys(STORE_KEYS, ""),
        "LOGSTACK_ARCHIVE_READER": "a:b",
        SIGNING_KEY: "c2lnbg==",
    }
