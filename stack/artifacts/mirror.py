"""Fetches built programs from an HTTP server instead of building them: settings.paths.mirror.

The server has a cache's folders below the machine's architecture, each with the sums of its files:
`<mirror>/x86_64/victorialogs/<version>/SHA256SUMS`. stack/artifacts/ tries it before it builds.
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
    """The mirror does not answer, or a file does not match its sum; the text says what to do."""


def fetch(mirror: str, cache: Path, name: str, key: str, files: Sequence[str]) -> Path | None:
    """Fetch an artifact's files; returns their folder in the cache, None if the mirror has none."""
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


def _download(session: requests.Session, url: str, expected: str, path: Path) -> None:
    answer = _get(session, url)
    if answer is None or not expected:
        raise MirrorError(
            f"cannot fetch {url}: the mirror has not both the file and its sum in {SUMS}"
        )
    try:
        digest = save(answer, path)
    except requests.RequestException as error:
        raise MirrorError(f"cannot fetch {url}: the download is incomplete: {error}") from None
    if digest != expected:
        raise MirrorError(
            f"{url}: expected sha256 {expected}, got {digest}. Repair the mirror, or "
            "leave paths.mirror empty to build here"
        )
    path.chmod(0o755)


def save(answer: requests.Response, path: Path) -> str:
    """Write an answer's body to a file; returns its sha256. Raises requests.RequestException."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for chunk in answer.iter_content(CHUNK):
            digest.update(chunk)
            file.write(chunk)
    return digest.hexdigest()


def _get(session: requests.Session, url: str) -> requests.Response | None:
    """The answer, None for a 404. Raises MirrorError for any other status."""
    try:
        answer = session.get(url, timeout=TIMEOUT, stream=True)
    except requests.RequestException as error:
        raise MirrorError(f"cannot fetch {url} from paths.mirror: {error}") from None
    if answer.status_code == requests.codes.not_found:
        return None
    if answer.status_code != requests.codes.ok:
        raise MirrorError(f"cannot fetch {url} from paths.mirror: HTTP {answer.status_code}")
    return answer
