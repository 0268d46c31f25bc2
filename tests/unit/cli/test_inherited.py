"""Variables of the shell that are meant for other programs."""

from __future__ import annotations

import os
from urllib.request import proxy_bypass

import pytest
import requests.utils
from botocore.utils import should_bypass_proxies

from stack.cli import inherited


def test_variables_that_would_configure_our_programs_are_removed() -> None:
    """Others stay, those of settings and of certificates among them."""
    kept = {"PATH": "/bin", "LOGSTACK_ENV": "staging", "AWS_CA_BUNDLE": "/ca.pem", "TZ": "UTC"}
    foreign = {
        "DJANGO_SETTINGS_MODULE": "my.settings",
        "PYTHONPATH": "/app",
        "GUNICORN_CMD_ARGS": "--bind=0.0.0.0:80",
        "GF_SERVER_HTTP_ADDR": "192.0.2.1",
        "AWS_PROFILE": "work",
        "WEED_FILER_X": "1",
    }
    environ = {**kept, **foreign}
    inherited.correct(environ)
    assert environ == kept


@pytest.mark.parametrize("given", [None, "", "example.com", "10.0.0.0/8, .corp", "*"])
@pytest.mark.parametrize("name", ["no_proxy", "NO_PROXY"])
def test_no_proxy_is_asked_for_loopback(
    given: str | None, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By none of the libraries that ask for addresses; those that are given count as well."""
    for variable in list(os.environ):
        if variable.lower().endswith("_proxy"):
            monkeypatch.delenv(variable)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    if given is not None:
        monkeypatch.setenv(name, given)
    monkeypatch.setenv("no_proxy", os.environ.get("no_proxy", ""))
    inherited.correct(os.environ)
    for address in ("127.0.0.1:21001", "localhost:21001"):
        url = f"http://{address}/"
        assert requests.utils.should_bypass_proxies(url, None), address
        assert should_bypass_proxies(url), address
        assert proxy_bypass(address), address
    outside = requests.utils.should_bypass_proxies("http://elsewhere.example.org/", None)
    assert bool(outside) is (given == "*")
    if given == "example.com":
        assert requests.utils.should_bypass_proxies("http://example.com/", None)


def test_without_a_proxy_nothing_is_added() -> None:
    """The variables of most shells stay as they are."""
    environ = {"PATH": "/bin"}
    inherited.correct(environ)
    assert environ == {"PATH": "/bin"}
