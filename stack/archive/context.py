"""What every archive command works with: settings, folders, store, engines, keys.

`open_native` makes it for the stack of this checkout.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from stack.archive import ArchiveError
from stack.archive.engines import ADAPTERS
from stack.archive.engines.protocol import Archivable
from stack.archive.storage.bucket import prepare, probe
from stack.archive.storage.ledger import Ledger
from stack.archive.storage.part_cache import Copies
from stack.archive.storage.store import WITH_READER, Access, Store
from stack.common import exclusive_lock
from stack.engines.kinds import kind_of
from stack.settings import Settings
from stack.settings.secrets import SecretsError, archive_secrets, write_private
from stack.settings.targets import Target
from stack.settings.units import parse_bytes, parse_duration

OnProgress = Callable[[str, str], None]
"""Called with what is worked on and how far it is."""


def no_progress(name: str, text: str) -> None:
    """For those who do not want to know."""


@dataclass(frozen=True)
class Archive:
    """One archive. `folder` holds its state, work files and a cache of manifests.

    `records` is the file that the archiver's own records go to; None: standard output, which a
    host's journal keeps.
    """

    settings: Settings
    store: Store
    engine: Archivable
    restored: Archivable
    key: Ed25519PrivateKey
    folder: Path
    records: Path | None

    @property
    def tenant(self) -> str:
        return self.settings.archive.tenant

    @property
    def lateness(self) -> timedelta:
        return parse_duration(self.settings.archive.lateness)

    @property
    def work(self) -> Path:
        """For files without a name, gone when the process ends."""
        return _made(self.folder / "work")

    def ledger(self) -> Ledger:
        """The chain as it is now; refuses one that is older than what this machine has seen."""
        cache = _made(self.folder / "manifests")
        ledger = self._new_ledger(cache).refresh()
        seen = self.state()
        if ledger.length < seen.get("length", 0):
            here = "" if self.store.can_read else f" in {cache}"
            hint = "./logstack archive verify" if self.store.can_read else WITH_READER
            raise ArchiveError(
                f"wanted the {seen['length']} manifests that this machine has seen, found "
                f"{ledger.length}{here}: the newest are missing. Type: {hint}"
            )
        return ledger

    def known_ledger(self) -> Ledger:
        """The chain for who only reads parts: what was read before is not asked for again."""
        cache = _made(self.folder / "manifests")
        try:
            return self._new_ledger(cache).refresh(trust_cache=True)
        except ArchiveError:  # something in the cache is damaged
            return self.ledger()

    def _new_ledger(self, cache: Path) -> Ledger:
        return Ledger(self.store, self.tenant, self.key, cache)

    @property
    def copies(self) -> Copies:
        """Copies of parts, for a machine that cannot read them."""
        return Copies(self.folder / "copies", parse_bytes(self.settings.archive.copies))

    def keeps_copies(self) -> bool:
        """Whether this machine exports without a reader's key, or has done so a short time ago."""
        last = self.state().get("without_reader", "")
        recently = last and datetime.fromisoformat(last) > self.now() - self.lateness
        return not self.store.can_read or bool(recently)

    def remember(self, **values: Any) -> None:
        """Write values to this machine's state file."""
        text = json.dumps({**self.state(), **values}, indent=2, sort_keys=True) + "\n"
        write_private(_made(self.folder) / "state.json", text)

    def state(self) -> dict[str, Any]:
        """What this machine remembers: the chain's length and head, and which days are verified."""
        try:
            values = json.loads((self.folder / "state.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return values if isinstance(values, dict) else {}

    def dropped_days(self) -> dict[str, str]:
        """The days, as `2026-01-31`, that this machine had the engine drop, with the moment."""
        return dict(self.state().get("dropped", {}))

    def prepare(self) -> None:
        """Set the bucket up, once for each configuration, where the admin's key is there."""
        wanted = self.settings.archive.model_dump(mode="json")
        done = {"read_back": False, **self.state().get("prepared", {})}
        if done == {**wanted, "read_back": done["read_back"] or self.store.can_read}:
            return
        if self.store.access.admin:
            prepare(self.store, self.settings.archive)
        probe(self.store)
        self.remember(prepared={**wanted, "read_back": self.store.can_read})

    @contextmanager
    def alone(self, what: str = "run") -> Iterator[None]:
        """Hold this machine's lock for a kind of work, waiting for another process that has it."""
        with exclusive_lock(_made(self.folder) / f"{what}.lock"):
            yield

    def now(self) -> datetime:
        return datetime.now(UTC)


def open_native(target: Target) -> Archive:
    """The archive of the native stack. Raises ArchiveError."""
    try:
        secrets = archive_secrets(target.data_dir, endpoint=target.settings.archive.endpoint)
    except SecretsError as error:
        raise ArchiveError(str(error)) from None
    return open_with(target, secrets, target.archiver_log_file)


def open_with(target: Target, secrets: Mapping[str, str], records: Path | None) -> Archive:
    """The archive of a target with keys by the names of ARCHIVE_SECRETS. Raises ArchiveError."""
    settings = target.settings
    access = Access(
        endpoint=settings.archive.endpoint or target.url("seaweedfs"),
        region=settings.archive.region,
        bucket=settings.archive.bucket,
        writer=secrets["LOGSTACK_ARCHIVE_WRITER"],
        reader=secrets["LOGSTACK_ARCHIVE_READER"],
        admin=secrets["LOGSTACK_ARCHIVE_ADMIN"],
    )
    return Archive(
        settings=settings,
        store=Store(access),
        engine=hot_engine(target),
        restored=restored_engine(target),
        key=signing_key(secrets["LOGSTACK_ARCHIVE_SIGNING_KEY"]),
        folder=target.archive_dir,
        records=records,
    )


def hot_engine(target: Target) -> Archivable:
    """The engine that is archived."""
    kind = kind_of(target.settings)
    return ADAPTERS[kind.name](target.url(kind.name), kind.tenant, target.storage_dir(kind.name))


def restored_engine(target: Target) -> Archivable:
    """What `archive restore` fills: another tenant of Loki, another VictoriaLogs."""
    kind = kind_of(target.settings)
    return ADAPTERS[kind.name](target.url(kind.restored_component), kind.restored_tenant, None)


def signing_key(text: str) -> Ed25519PrivateKey:
    """The key of its 32 bytes in base64. Raises ArchiveError."""
    try:
        return Ed25519PrivateKey.from_private_bytes(base64.b64decode(text, validate=True))
    except ValueError:
        raise ArchiveError(
            "LOGSTACK_ARCHIVE_SIGNING_KEY: wanted 32 bytes in base64, found something else"
        ) from None


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder
