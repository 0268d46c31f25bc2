"""Fetches built programs from an HTTP server instead of building them: settings.paths.mirror.

The server has a cache's folders below the machine's architecture, each with the sums of its files:
`<mirror>/x86_64/victorialogs/<version>/SHA256SUMS`. stack/artifacts/ asks it before it makes
anything.
"""

from __future__ import annotations

import hashlib
import platform
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import mkdtemp

import requests

SUMS = "SHA256SUMS"
CHUNK = 1024 * 1024
TIMEOUT = (5, 60)


class MirrorError(Exception):
    """The mirror does not answer, or not with what its own sums say; the text says what to do."""


def fetch(mirror: str, cache: Path, name: str, key: str, files: Sequence[str]) -> Path | None:
    """The folder in the cache with an artifact's files; None where the mirror has none of it."""
    where = f"{mirror.rstrip('/')}/{platform.machine()}/{name}/{key}"
    with requests.Session() as session:
        answer = _get(session, f"{where}/{SUMS}")
        if answer is None:
            return None
        sums = re.findall(r"^([0-9a-f]{64}) [ *](.+)$", answer.text, re.MULTILINE)
        digests = {file: digest for digest, file in sums}
        home = cache / name
        home.mkdir(parents=True, exist_ok=True)
        scratch = Path(mkdtemp(prefix=".fetching-", dir=home))
        try:
            for file in files:
                _download(session, f"{where}/{file}", digests.get(file, ""), scratch / file)
            scratch.chmod(0o755)
            shutil.rmtree(home / key, ignore_errors=True)
            scratch.rename(home / key)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return home / key


def _download(session: requests.Session, url: str, wanted: str, path: Path) -> None:
    answer = _get(session, url)
    if answer is None or not wanted:
        raise MirrorError(
            f"{url}: wanted the file and its sum in {SUMS}, found one of them or none"
        )
    digest = hashlib.sha256()
    try:
        with path.open("wb") as file:
            for chunk in answer.iter_content(CHUNK):
                digest.update(chunk)
                file.write(chunk)
    except requests.RequestException as error:
        raise MirrorError(
            f"{url}: wanted all of the file, found that it broke off: {error}"
        ) from None
    if digest.hexdigest() != wanted:
        raise MirrorError(
            f"{url}: wanted sha256 {wanted}, found {digest.hexdigest()}. Mend the mirror, or leave "
            "paths.mirror empty to build here"
        )
    path.chmod(0o755)


def _get(session: requests.Session, url: str) -> requests.Response | None:
    """None for what is not there. Raises MirrorError for every other answer."""
    try:
        answer = session.get(url, timeout=TIMEOUT, stream=True)
    except requests.RequestException as error:
        raise MirrorError(f"{url}: wanted an answer of paths.mirror, found: {error}") from None
    if answer.status_code == requests.codes.not_found:
        return None
    if answer.status_code != requests.codes.ok:
        raise MirrorError(f"{url}: wanted an answer of paths.mirror, found {answer.status_code}")
    return answer
