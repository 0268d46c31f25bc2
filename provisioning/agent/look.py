"""What a check asks on a host: addresses of its loopback, certificates, logs."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import time
import urllib.request

from provisioning.agent.base import Json, owner_of, run_as, run_as_service

APPEND_SECONDS = 10


def fetch(request: Json) -> Json:
    """The response body of an address on the host's loopback."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    asked = urllib.request.Request(request["url"], headers=request.get("headers", {}))
    try:
        with opener.open(asked, timeout=20) as answer:
            return {"ok": True, "text": answer.read().decode("utf-8", "replace")}
    except (OSError, ValueError) as error:
        return {"ok": False, "text": str(error)}


def certificate(request: Json) -> Json:
    """The certificate that this host presents at the address that others use."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # checked by who asked; only fetched here
    context.verify_mode = ssl.CERT_NONE
    try:
        plain = socket.create_connection((request["name"], request["port"]), timeout=10)
        with context.wrap_socket(plain, server_hostname=request["name"]) as secured:
            data = secured.getpeercert(binary_form=True) or b""
            return {"ok": True, "text": ssl.DER_cert_to_PEM_cert(data)}
    except OSError as error:
        return {"ok": False, "text": str(error)}


def append(request: Json) -> Json:
    """Append a line to a log file as the owner of its folder.

    Not as root: the owner controls the folder, so the file may be a link to anything.
    """
    folder = os.path.dirname(request["path"])
    os.makedirs(folder, exist_ok=True)
    script = 'umask 027 && cat >> "$1"'
    argv = ["runuser", "-u", owner_of(folder), "--", "sh", "-c", script, "sh", request["path"]]
    result = subprocess.run(
        argv,
        input=request["line"].encode() + b"\n",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=APPEND_SECONDS,
        cwd="/",
    )
    if result.returncode != 0:
        text = result.stdout.decode("utf-8", "replace").strip()
        raise OSError("cannot append to %s as %s: %s" % (request["path"], argv[2], text))
    return {"time": time.time()}


def check(request: Json) -> Json:
    """Run a program as a user, or as a service would run it; `text` is the end of its output."""
    if "name" in request:
        ok, text = run_as_service(request["name"], request["argv"])
    else:
        ok, text = run_as(request["user"], request["argv"])
    return {"ok": ok, "text": text[-200_000:]}
