"""What an engine on a host reports about itself, read on the host's loopback."""

from __future__ import annotations

from datetime import timedelta

from provisioning import DeployError
from provisioning.session import Session
from stack.alerting.loaded import LoadedRule, parse_rules
from stack.engines import EngineError
from stack.engines.kind import Fetch
from stack.engines.kinds import kind_of
from stack.settings import Settings

LOOK_BACK = "10m"


def find_record(session: Session, settings: Settings, request_id: str) -> dict[str, str] | None:
    """The newest record with a request id, its fields as text; None until it arrives."""
    kind = kind_of(settings)
    try:
        return kind.find(_fetcher(session, settings, kind.name), request_id, LOOK_BACK)
    except DeployError:
        return None  # not yet: the engine may be starting


def retention(session: Session, settings: Settings) -> timedelta:
    """How long the running engine keeps records. Raises DeployError."""
    kind = kind_of(settings)
    try:
        return kind.retention(_fetcher(session, settings, kind.name))
    except EngineError as error:
        raise DeployError(str(error)) from None


def loaded_rules(session: Session, settings: Settings) -> list[LoadedRule]:
    """The alert rules that the engine's evaluator has loaded. Raises DeployError."""
    kind = kind_of(settings)
    return parse_rules(_fetcher(session, settings, kind.evaluator)(kind.rules))


def _fetcher(session: Session, settings: Settings, component: str) -> Fetch:
    """A function from a path to the component's answer, which raises DeployError without one."""
    port = settings.ports.effective(component)

    def fetch(path: str) -> str:
        url = f"http://127.0.0.1:{port}{path}"
        answer = session.ask("fetch", url=url, headers=kind_of(settings).headers)
        if not answer["ok"]:
            raise DeployError(f"cannot read {url} on {session.name}: {answer['text']}")
        return str(answer["text"])

    return fetch
