"""logging_config: arguments, environment variables, errors that name the argument."""

from __future__ import annotations

import dataclasses
import importlib.util
import inspect
import json
import logging
import logging.config
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from logstack_django.options import ENV_PREFIX, Options, resolve_options, unknown_variables

from logstack_django import logging_config
from tests.library.support import parse, run_python


def test_the_arguments_are_the_options() -> None:
    """One name for each setting: argument, field, environment variable."""
    arguments = list(inspect.signature(logging_config).parameters)
    assert arguments == [*(field.name for field in dataclasses.fields(Options)), "handlers"]
    documented = inspect.getdoc(Options) or ""
    assert [name for name in arguments[:-1] if name not in documented] == []


def test_the_setting_is_plain_data() -> None:
    """It can be printed, written to a file and sent to another process."""
    config = logging_config("s", levels={"a": "DEBUG"}, trusted_proxies=["10.0.0.0/8"])
    assert json.loads(json.dumps(config)) == config


def test_levels_are_set_per_logger() -> None:
    """Also for loggers that the library configures itself."""
    config = logging_config(
        "s", levels={"": "WARNING", "app": logging.DEBUG, "django.request": "error"}
    )
    assert config["root"]["level"] == "WARNING"
    assert config["loggers"]["app"]["level"] == "DEBUG"
    assert config["loggers"]["django.request"]["level"] == "ERROR"


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("service", "from-environment", "from-environment"),
        ("environment", "prod", "prod"),
        ("sink", "stderr", "stderr"),
        ("levels", "WARNING,app.views=debug", {"": "WARNING", "app.views": "DEBUG"}),
        ("levels", '{"app": "ERROR"}', {"app": "ERROR"}),
        ("trusted_proxies", "10.0.0.0/8, unix", ("10.0.0.0/8", "unix")),
        ("redact_patterns", '["a{2,3}", "b"]', ("a{2,3}", "b")),
        ("redaction", "no", False),
        ("access_log", "0", False),
        ("server_access_log", "TRUE", True),
        ("slow_request_ms", "250.5", 250.5),
        ("max_record_bytes", "4096", 4096),
        ("flood_rate", "2", 2.0),
        ("username_field", "", ""),
        ("organization_fields", "tenant.pk", ("tenant.pk",)),
    ],
)
def test_the_environment_wins_over_the_arguments(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str, expected: object
) -> None:
    """So that one build runs everywhere."""
    monkeypatch.setenv(ENV_PREFIX + name.upper(), text)
    given: dict[str, Any] = {"service": "s", "path": "/tmp/x.log", name: getattr(Options(), name)}
    assert getattr(resolve_options(given), name) == expected


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("sink", "syslog", "expected stdout, stderr or file, got 'syslog'"),
        ("sink", "file", "(sink is file)"),
        ("levels", {"app": "LOUD"}, "name of a level for logger 'app'"),
        ("levels", "[", "JSON"),
        ("levels", 5, "mapping"),
        ("redaction", "maybe", "true or false"),
        ("slow_request_ms", "soon", "a number"),
        ("max_record_bytes", True, "a number"),
        ("max_record_bytes", 100, "2048 to 1048576"),
        ("redact_patterns", ["("], "expected a regular expression"),
        ("redact_patterns", "[1]", "expected a string, got 1"),
        ("redact_keys", ["pin", ""], "a key with letters or digits"),
        ("redact_keys", "pin,*", "a key with letters or digits"),
        ("keep_keys", ["*"], "a key with letters or digits"),
        ("keep_keys", [" _-"], "a key with letters or digits"),
        ("trusted_proxies", 5, "a list of strings"),
        ("trusted_proxies", ["10.0.0.0/40"], "an address"),
        ("service", 5, "expected a string, got 5"),
    ],
)
def test_a_wrong_value_is_refused_by_name(name: str, value: Any, said: str) -> None:
    """With the expected value, the given one, and the name of the variable."""
    with pytest.raises(ImproperlyConfigured) as caught:
        resolve_options({"service": "s", name: value}, {})
    assert said in str(caught.value)
    assert "LOGSTACK_DJANGO_" in str(caught.value)


def test_a_service_is_required() -> None:
    """Every record names it."""
    with pytest.raises(ImproperlyConfigured, match="service"):
        logging_config()


def test_an_unknown_argument_is_refused_with_the_nearest_one() -> None:
    """In LOGGING, where it may have been written by hand."""
    with pytest.raises(ImproperlyConfigured, match="did you mean 'environment'"):
        Options.from_mapping({"enviroment": "x"})
    assert unknown_variables({"LOGSTACK_DJANGO_SERVIC": "x", "LOGSTACK_SERVICE": "y"}) == [
        ("LOGSTACK_DJANGO_SERVIC", " (did you mean 'service'?)")
    ]


def test_each_logger_writes_each_record_once(tmp_path: Path) -> None:
    """Also when the framework has put a handler of its own there before."""
    path = tmp_path / "app.log"
    names = ["django", "django.server", "django.request", "django.db.backends", "gunicorn.error",
             "uvicorn", "uvicorn.error", "celery", "celery.task", "celery.worker",
             "app.views"]  # fmt: skip
    code = (
        "import logging, logging.config, logstack_django\n"
        "from django.conf import settings\n"
        "from django.utils.log import DEFAULT_LOGGING\n"
        "settings.configure()\n"
        "logging.config.dictConfig(DEFAULT_LOGGING)\n"
        "for name in ('gunicorn.error', 'uvicorn', 'celery', 'celery.task'):\n"
        "    logging.getLogger(name).addHandler(logging.StreamHandler())\n"
        "    logging.getLogger(name).propagate = False\n"
        f"config = logstack_django.logging_config('s', sink='file', path={str(path)!r})\n"
        "logging.config.dictConfig(config)\n"
        f"for name in {names}:\n"
        "    logging.getLogger(name).warning('once')\n"
    )
    done = run_python(code)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    records = [parse(line) for line in path.read_bytes().splitlines(keepends=True)]
    assert [record["logger_name"] for record in records] == names


def test_the_access_lines_of_servers_are_off_unless_asked_for() -> None:
    """Ours say more."""
    off = logging_config("s")["loggers"]["uvicorn.access"]
    on = logging_config("s", server_access_log=True)["loggers"]["uvicorn.access"]
    assert off["level"] > logging.CRITICAL
    assert on["level"] == "INFO"


def test_the_library_works_without_orjson() -> None:
    """And gives the same parsed record."""
    code = (
        "import sys\n"
        "{block}"
        "import logging.config, logstack_django\n"
        "from logstack_django.encoding import HAVE_ORJSON\n"
        "assert HAVE_ORJSON is {have}, HAVE_ORJSON\n"
        "logging.config.dictConfig(logstack_django.logging_config('s'))\n"
        "logging.getLogger('a').info('é %s', 1.5, extra={{'own': [1e300, None, 'x']}})\n"
    )
    installed = importlib.util.find_spec("orjson") is not None
    with_it = run_python(code.format(block="", have=installed))
    without = run_python(code.format(block="sys.modules['orjson'] = None\n", have=False))
    assert without.stderr == b""
    first, second = parse(with_it.stdout), parse(without.stdout)
    first.pop("timestamp")
    second.pop("timestamp")
    assert first == second


def test_the_library_never_imports_the_stack() -> None:
    """Applications install it alone."""
    source = Path(inspect.getfile(logging_config)).parent
    for module in source.rglob("*.py"):
        text = module.read_text(encoding="utf-8")
        assert "import stack" not in text
        assert "from stack" not in text
