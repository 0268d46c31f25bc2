"""What every archive command works with: settings, folders, store, engines, keys.

`open_native` opens it for the stack of this checkout.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from stack.archive import ArchiveError
from stack.archive.engines import ADAPTERS
from stack.archive.engines.protocol import Archivable
from stack.archive.storage.bucket import prepare, probe
from stack.archive.storage.ledger import Ledger
from stack.archive.storage.part_cache import PartCache
from stack.archive.storage.store import WITH_READER, Access, Store
from stack.common import exclusive_lock
from stack.engines import Engine
from stack.engines.factory import engine_of
from stack.engines.kinds import kind_of
from stack.records.timestamps import Clock, utc_now
from stack.settings import Settings
from stack.settings.secrets import SecretsError, archive_secrets, write_private
from stack.settings.targets import Target
from stack.settings.units import parse_bytes, parse_duration

OnProgress = Callable[[str, str], None]
"""Called with an item, such as an hour, and its state."""


def no_progress(name: str, text: str) -> None:
    """No-op progress callback."""


@dataclass(frozen=True)
class Archive:
    """One archive; leaving it closes the store's connections.

    `folder` holds its state, work files and a cache of manifests.

    `queries` asks the hot engine. `records` is the log file of the archiver itself; None: standard
    output, which goes to the journal on a host. `clock` is what the archive takes for the current
    time; engines and object stores have their own.
    """

    settings: Settings
    store: Store
    engine: Archivable
    restored: Archivable
    key: Ed25519PrivateKey
    folder: Path
    records: Path | None
    queries: Engine
    clock: Clock = utc_now

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.store.close()

    @property
    def tenant(self) -> str:
        return self.settings.archive.tenant

    @property
    def lateness(self) -> timedelta:
        return parse_duration(self.settings.archive.lateness)

    @property
    def work(self) -> Path:
        """The folder of nameless temporary files."""
        return _made(self.folder / "work")

    def ledger(self, known: Ledger | None = None) -> Ledger:
        """The chain as it is now, of which `known` may have been read before.

        Raises ArchiveError where it is shorter than this machine saw.
        """
        ledger = (known or self.new_ledger()).refresh()
        seen = self.state().get("length", 0)
        if ledger.length < seen:
            where = "the store" if self.store.can_read else self.manifests
            command = "./logstack archive verify" if self.store.can_read else WITH_READER
            raise ArchiveError(
                f"cannot read the chain of manifests: expected at least {seen}, which this machine "
                f"has seen, got {ledger.length} from {where}: the newest are missing. "
                f"Run: {command}"
            )
        return ledger

    def cached_ledger(self) -> Ledger:
        """Cached manifest chain, for read-only commands; only newer manifests are read."""
        try:
            return self.new_ledger().refresh_cached()
        except ArchiveError:  # something in the cache is damaged
            return self.ledger()

    @property
    def manifests(self) -> Path:
        """The folder of copies of manifests."""
        return _made(self.folder / "manifests")

    def new_ledger(self) -> Ledger:
        """A chain that has yet to be read."""
        return Ledger(self.store, self.tenant, self.key, self.manifests)

    @property
    def part_cache(self) -> PartCache:
        """Copies of parts, for a machine that cannot read them."""
        return PartCache(self.folder / "copies", parse_bytes(self.settings.archive.copies))

    def copies_of_new_parts(self) -> PartCache | None:
        """Where new parts are copied, if this machine exports without a reader's key, or did within
        the lateness."""
        last = self.state().get("without_reader", "")
        recently = last and datetime.fromisoformat(last) > self.now() - self.lateness
        return None if self.store.can_read and not recently else self.part_cache

    def save_state(self, **values: Any) -> None:
        """Write values to this machine's state file."""
        text = json.dumps({**self.state(), **values}, indent=2, sort_keys=True) + "\n"
        write_private(_made(self.folder) / "state.json", text)

    def state(self) -> dict[str, Any]:
        """The state file: among others the chain's length and head, and the verified days."""
        try:
            values = json.loads((self.folder / "state.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return values if isinstance(values, dict) else {}

    def dropped_days(self) -> dict[str, str]:
        """The days, as `2026-01-31`, that this machine deleted in the engine, with the moment."""
        return dict(self.state().get("dropped", {}))

    def prepare(self) -> None:
        """Set up and probe the bucket where that has not been done with these settings.

        Setting up needs the admin's key; a probe without a reader's key is repeated with one.
        """
        values = self.settings.archive.model_dump(mode="json")
        if not needs_setup(self.state().get("prepared"), values, can_read=self.store.can_read):
            return
        if self.store.access.admin:
            prepare(self.store, self.settings.archive)
        probe(self.store)
        self.save_state(prepared={**values, "read_back": self.store.can_read})

    def exclusive_lock(self, work: str = "run") -> AbstractContextManager[None]:
        """Hold this machine's lock for a kind of work, waiting for another process."""
        return exclusive_lock(_made(self.folder) / f"{work}.lock")

    def now(self) -> datetime:
        return self.clock()


def needs_setup(done: dict[str, Any] | None, values: dict[str, Any], *, can_read: bool) -> bool:
    """Whether `values` of [archive] differ from those set up, or a probe can now be read back."""
    if done is None:
        return True
    settings = {name: value for name, value in done.items() if name != "read_back"}
    return settings != values or (can_read and not done.get("read_back"))


def open_native(target: Target, clock: Clock = utc_now) -> Archive:
    """The archive of the native stack. Raises ArchiveError."""
    try:
        secrets = archive_secrets(target.data_dir, endpoint=target.settings.archive.endpoint)
    except SecretsError as error:
        raise ArchiveError(str(error)) from None
    return open_with(target, secrets, target.archiver_log_file, clock)


def open_with(
    target: Target, secrets: Mapping[str, str], records: Path | None, clock: Clock = utc_now
) -> Archive:
    """The archive of a target; `secrets` by the names of ARCHIVE_SECRETS. Raises ArchiveError."""
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
        queries=engine_of(target),
        clock=clock,
    )


def hot_engine(target: Target) -> Archivable:
    """The engine that is archived."""
    kind = kind_of(target.settings)
    return ADAPTERS[kind.name](target.url(kind.name), kind.tenant, target.storage_dir(kind.name))


def restored_engine(target: Target) -> Archivable:
    """The engine for restored records: another tenant of Loki, another VictoriaLogs."""
    kind = kind_of(target.settings)
    return ADAPTERS[kind.name](target.url(kind.restored_component), kind.restored_tenant, None)


def signing_key(text: str) -> Ed25519PrivateKey:
    """The key from 32 bytes in base64. Raises ArchiveError."""
    try:
        return Ed25519PrivateKey.from_private_bytes(base64.b64decode(text, validate=True))
    except ValueError:
        raise ArchiveError(
            "LOGSTACK_ARCHIVE_SIGNING_KEY: expected 32 bytes in base64, got something else"
        ) from None


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder
