"""Services of a host: replaced as one transaction, started, probed, rolled back."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
import urllib.request

from provisioning.agent.base import Json, pending_file, service_state, systemctl, unit_of
from provisioning.agent.changes import restore, swap

SETTLED_SECONDS = 3
JOURNAL_LINES = 15


def replace(request: Json) -> Json:
    """Put what was staged in place, restart, wait until healthy; otherwise roll back.

    Where the connection breaks meanwhile, the component stays as it is and marked: the next run
    completes it.
    """
    swap(request)
    answer = start({**request, "restarted": True})
    if answer["ok"] or answer["lost"]:
        return answer
    back = roll_back({**request, "keep": False})
    return {"ok": False, "text": "%s\n%s" % (answer["text"], back["text"])}


def start(request: Json) -> Json:
    """Enable a service, start or restart it and wait until it is healthy."""
    _set_running(request["name"], restarted=request["restarted"])
    answer = probe(request)
    if not (answer["ok"] or answer["lost"]):
        lines = journal({**request, "lines": JOURNAL_LINES})["text"].splitlines()
        answer["text"] = "not healthy within %g s: %s. Journal:\n%s" % (
            request["timeout"],
            answer["text"],
            "\n".join("    " + line for line in lines),
        )
    return answer


def roll_back(request: Json) -> Json:
    """Restore what the last swap replaced, and wait until it is healthy; `text` is a sentence.

    `keep`: keep what is replaced now, so that it can be restored in turn.
    """
    name = request["name"]
    if not restore(request)["existed"]:
        return {"ok": True, "text": "%s was not installed before and was removed" % name}
    _set_running(name, restarted=True)
    answer = probe(request)
    if answer["ok"]:
        return {"ok": True, "text": "%s rolled back and healthy" % name}
    text = "%s rolled back but not healthy: %s. Run on the host: journalctl -u %s"
    return {"ok": False, "text": text % (name, answer["text"], unit_of(name)[: -len(".service")])}


def _set_running(name: str, restarted: bool) -> None:
    """Enable and start it; whether it runs is for the probe to say."""
    systemctl("enable", unit_of(name))
    systemctl("restart" if restarted else "start", unit_of(name))


def probe(request: Json) -> Json:
    """Wait until a service is active and its health address answers 200.

    Without an address: until it has run for SETTLED_SECONDS. `lost`: the connection has ended.
    """
    deadline = time.monotonic() + request["timeout"]
    while True:
        found = _request_error(request["url"]) if request["url"] else ""
        service = service_state(request["name"])
        if not (found or request["url"]) and service["seconds"] < SETTLED_SECONDS:
            found = "it has run for less than %d s" % SETTLED_SECONDS
        if not found and service["active"]:
            if os.path.exists(pending_file(request["name"])):
                os.unlink(pending_file(request["name"]))
            return {"ok": True, "text": "", "lost": False}
        state = service["state"]
        lost = _is_connection_lost()
        if lost or time.monotonic() > deadline or state == "failed":
            text = "%s; the service is %s" % (found, state)
            return {"ok": False, "text": text, "lost": lost}
        time.sleep(0.2)


def _is_connection_lost() -> bool:
    """Whether nobody reads the answer any more: then another run may be at work already."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def _request_error(url: str) -> str:
    """The error of a request to an address; empty if the answer is 200."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=3) as answer:
            return "" if answer.status == 200 else "HTTP %d" % answer.status
    except (OSError, ValueError) as error:
        return str(error)


def journal(request: Json) -> Json:
    """The last lines of a service's journal."""
    argv = ["journalctl", "--no-pager", "-o", "cat", "-n", str(request["lines"]), "-u"]
    result = subprocess.run(
        [*argv, unit_of(request["name"])], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    return {"text": result.stdout.decode("utf-8", "replace")}
