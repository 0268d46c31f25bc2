"""The layers of the settings, and what is said of a value that cannot be used."""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path

import pytest
from pydantic import ValidationError

from stack import settings
from stack.settings import ROOT, SettingsError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout with the shipped settings and nothing else."""
    (tmp_path / "stack").mkdir()
    shutil.copy(ROOT / "stack" / "settings.toml", tmp_path / "stack")
    return tmp_path


def refusal(root: Path, local: str = "", **environ: str) -> list[str]:
    """The lines of the error for a settings.local.toml or for variables."""
    if local:
        (root / "settings.local.toml").write_text(local, encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        settings.load(environ, root)
    return str(caught.value).splitlines()


def how_to_set(variable: str) -> str:
    return f"Set it in stack/settings.toml, in settings.local.toml or as {variable}."


@pytest.mark.parametrize(
    ("stop", "flush"), [("20s", "500ms"), ("20s", "2600ms"), ("7s", "1s"), ("1s", "0s")]
)
def test_the_engine_has_written_everything_before_it_is_killed(stop: str, flush: str) -> None:
    """A flush that is rarer than the time to stop allows would lose records at every stop."""
    variables = {"LOGSTACK_TIMING__STOP_TIMEOUT": stop, "LOGSTACK_TIMING__FLUSH_INTERVAL": flush}
    with pytest.raises(SettingsError, match="flush_interval: expected 1s or more, and at most an"):
        settings.load(variables)


def test_the_shipped_settings_are_valid(root: Path) -> None:
    """A fresh clone has every value and no mistake."""
    shipped = tomllib.loads((root / "stack" / "settings.toml").read_text(encoding="utf-8"))
    values = settings.load({}, root).model_dump(mode="json")
    assert values == shipped | {"agent": shipped["agent"] | {"files": []}}


def test_every_layer_wins_over_the_one_before(root: Path) -> None:
    """File, overlay, local file, environment: later ones replace single keys."""
    (root / "stack" / "settings.lab.toml").write_text(
        '[stack]\nenvironment = "overlay"\nhost = "overlay"\n[sample_app]\nservice = "overlay"\n',
        encoding="utf-8",
    )
    (root / "settings.local.toml").write_text(
        '[stack]\nenvironment = "local"\nhost = "local"\n', encoding="utf-8"
    )
    environ = {"LOGSTACK_ENV": "lab", "LOGSTACK_STACK__HOST": "variable"}
    layers = settings.read_layers(environ, root)
    values = settings.validate(layers)
    keys = [("stack", "engine"), ("sample_app", "service"), ("stack", "environment")]
    keys.append(("stack", "host"))
    found = [(getattr(getattr(values, s), k), settings.origin(layers, s, k)) for s, k in keys]
    assert found == [
        ("victorialogs", "stack/settings.toml"),
        ("overlay", "stack/settings.lab.toml"),
        ("local", "settings.local.toml"),
        ("variable", "the environment"),
    ]


def test_a_value_that_no_layer_gives_is_the_default(root: Path) -> None:
    """The origin of agent.files, which settings.toml only explains, is not a file."""
    assert settings.origin(settings.read_layers({}, root), "agent", "files") == "the default"


@pytest.mark.parametrize(
    ("variable", "text", "expected"),
    [
        ("LOGSTACK_PORTS__OFFSET", "1000", 1000),
        ("LOGSTACK_AGENT__FSYNC", "true", True),
        ("LOGSTACK_TIMING__START_TIMEOUT", "90s", "90s"),
        ("LOGSTACK_TIMING__START_TIMEOUT", '"90s"', "90s"),
        ("LOGSTACK_PATHS__DATA", "/some/folder with spaces", "/some/folder with spaces"),
        ("LOGSTACK_PATHS__CACHE", "", ""),
        ("LOGSTACK_VERSIONS__GO", "1.30", "1.30"),
        ("LOGSTACK_STACK__HOST", "10", "10"),
    ],
)
def test_a_variable_is_typed_as_toml(
    root: Path, variable: str, text: str, expected: object
) -> None:
    """Numbers and booleans are such; text needs no quotes, even if it looks like a number."""
    section, _, key = variable.removeprefix("LOGSTACK_").lower().partition("__")
    found = getattr(getattr(settings.load({variable: text}, root), section), key)
    assert (found, type(found)) == (expected, type(expected))


def test_a_list_of_tables_can_be_given_as_a_variable(root: Path) -> None:
    """Further log files need no file to be edited."""
    text = '[{service = "billing", path = "/var/log/billing/*.log"}]'
    (source,) = settings.load({"LOGSTACK_AGENT__FILES": text}, root).agent.files
    assert (source.service, source.path) == ("billing", "/var/log/billing/*.log")


def test_runtime_is_short_for_the_setting(root: Path) -> None:
    """For `./logstack` as for make; hosts have no local runtime, and others have a variable so."""
    environ = {"RUNTIME": "docker", "LOGSTACK_STACK__RUNTIME": "native"}
    layers = settings.read_layers(environ, root)
    assert settings.validate(layers).stack.runtime == "docker"
    assert settings.origin(layers, "stack", "runtime") == "RUNTIME"
    (line,) = refusal(root, RUNTIME="podman")
    assert "expected one of 'auto', 'native' or 'docker', got 'podman' (from RUNTIME)" in line
    for_hosts = settings.read_layers({"RUNTIME": "podman"}, root, for_hosts=True)
    assert settings.validate(for_hosts).stack.runtime == "auto"


@pytest.mark.parametrize(
    "name",
    ["LOGSTACK_TRACEBACK", "LOGSTACK_DJANGO_SERVICE", "LOGSTACK_SAMPLE_PASSWORD", "PATH"],
)
def test_variables_of_others_are_no_settings(root: Path, name: str) -> None:
    """What the library, the sample app and the launcher read is left alone."""
    assert settings.load({name: "x"}, root) == settings.load({}, root)


def test_settings_cannot_be_changed(root: Path) -> None:
    """What was checked once stays as it was."""
    values = settings.load({}, root)
    with pytest.raises(ValidationError, match="frozen"):
        values.ports.offset = 1
    assert values.ports.offset == 0


def test_a_key_that_does_not_exist_names_the_nearest(root: Path) -> None:
    """A typing mistake costs one look."""
    assert refusal(root, "[ports]\nofset = 1") == [
        "ports.ofset: unknown setting (from settings.local.toml). "
        "Did you mean ports.offset? `./logstack settings` lists all settings."
    ]


@pytest.mark.parametrize("local", ["[prots]\noffset = 1", "prots = 1"])
def test_a_section_that_does_not_exist_names_the_nearest(root: Path, local: str) -> None:
    """As a table or as a value: the error says which file it stands in."""
    assert refusal(root, local) == [
        "prots: unknown setting (from settings.local.toml). "
        "Did you mean ports? `./logstack settings` lists all settings."
    ]


@pytest.mark.parametrize(
    ("variable", "found", "nearest"),
    [
        ("LOGSTACK_PORTS_OFFSET", "LOGSTACK_PORTS_OFFSET", "LOGSTACK_PORTS__OFFSET"),
        ("LOGSTACK_PROTS__OFFSET", "LOGSTACK_PROTS__OFFSET", "LOGSTACK_PORTS__OFFSET"),
        ("LOGSTACK_ENVIRON", "LOGSTACK_ENVIRON", "LOGSTACK_ENV"),
        ("LOGSTACK_PORTS__OFSET", "ports.ofset", "ports.offset"),
    ],
)
def test_a_variable_that_is_no_setting_names_the_nearest(
    root: Path, variable: str, found: str, nearest: str
) -> None:
    """A variable with the prefix that changes nothing would be believed to change something."""
    assert refusal(root, **{variable: "1"}) == [
        f"{found}: unknown setting (from the environment). "
        f"Did you mean {nearest}? `./logstack settings` lists all settings."
    ]


@pytest.mark.parametrize(
    ("section", "key", "value", "expected"),
    [
        ("ports", "offset", "'1'", "a whole number, got '1'"),
        ("ports", "offset", "true", "a whole number, got True"),
        ("ports", "offset", "-1", "a number of at least 0, got -1"),
        ("ports", "offset", "50001", "a number of at most 50000, got 50001"),
        ("ports", "vmalert", "70000", "a port between 1 and 65535, got 70000"),
        ("retention", "hot_days", "1.5", "a whole number, got 1.5"),
        ("agent", "fsync", "'true'", "true or false, got 'true'"),
        ("agent", "compression", "'lz4'", "one of 'zstd', 'gzip' or 'none', got 'lz4'"),
        ("agent", "files", "3", "a list of tables, got 3"),
        ("receivers", "email_to", "3", "a list, got 3"),
        ("receivers", "slack_hosts", "[]", "a list with at least one entry, got []"),
        ("thresholds", "error_ratio", "0.0", "a number above 0.0, got 0.0"),
        ("thresholds", "error_ratio", "1.0", "a number below 1.0, got 1.0"),
        ("paths", "mirror", "'ftp://a'", "an http address, or '', got 'ftp://a'"),
        ("versions", "loki", "'latest'", "a version such as 1.2 or 1.2.3, got 'latest'"),
        ("stack", "host", "3", "text, got 3"),
        ("paths", "run", "''", "text that is not empty, got ''"),
        (
            "stack",
            "environment",
            "'A B'",
            "a name of lower-case letters, digits, `_`, `.` and `-`, at most 63 characters, "
            "got 'A B'",
        ),
        (
            "timing",
            "start_timeout",
            "'1 minute'",
            "a duration such as 200ms, 30s, 5m, 1h30m or 7d, got '1 minute'",
        ),
        (
            "timing",
            "start_timeout",
            "30",
            "a duration such as 200ms, 30s, 5m, 1h30m or 7d, got 30",
        ),
        ("limits", "queue", "'1GB'", "a size such as 512KiB, 64MiB or 1GiB, got '1GB'"),
        ("limits", "queue", "1024", "a size such as 512KiB, 64MiB or 1GiB, got 1024"),
    ],
)
def test_a_wrong_value_names_key_expected_got_and_where(
    root: Path, section: str, key: str, value: str, expected: str
) -> None:
    """The error is enough to correct the value, and says how else it could be set."""
    assert refusal(root, f"[{section}]\n{key} = {value}") == [
        f"{section}.{key}: expected {expected} (from settings.local.toml). "
        + how_to_set(f"LOGSTACK_{section}__{key}".upper())
    ]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("[{days = 3}]", "retention.shorter.0: expected a service, a level or both, got"),
        ("[{level = 'DEBUG', days = 30}]", "fewer days for DEBUG than hot_days = 30, got 30"),
        ("[{level = 'debug', days = 3}]", "retention.shorter.0.level: expected one of"),
    ],
)
def test_shorter_retention_is_of_something_and_shorter(
    root: Path, value: str, expected: str
) -> None:
    """Otherwise it would do nothing, or everything."""
    [line] = refusal(root, f"[retention]\nshorter = {value}")
    assert expected in line


def test_a_wrong_value_in_a_variable_is_said_to_come_from_there(root: Path) -> None:
    """The file may be right and the environment wrong."""
    assert refusal(root, LOGSTACK_PORTS__OFFSET="many") == [
        "ports.offset: expected a whole number, got 'many' (from the environment). "
        + how_to_set("LOGSTACK_PORTS__OFFSET")
    ]


def test_a_wrong_value_inside_a_list_says_where_in_it(root: Path) -> None:
    """The second file's path is named as such."""
    good = "[[agent.files]]\nservice = 'a'\npath = '/a'\n"
    assert refusal(root, f"{good}[[agent.files]]\nservice = 'b'\npath = 'b.log'\n") == [
        "agent.files.1.path: expected an absolute path, got 'b.log' "
        "(from settings.local.toml). " + how_to_set("LOGSTACK_AGENT__FILES")
    ]


def test_a_missing_value_is_named(root: Path) -> None:
    """Nothing has a hidden default."""
    path = root / "stack" / "settings.toml"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith("hot_days")]
    path.write_text("".join(kept), encoding="utf-8")
    assert refusal(root) == [
        "retention.hot_days: expected a value, got nothing. "
        + how_to_set("LOGSTACK_RETENTION__HOT_DAYS")
    ]


def test_all_mistakes_are_named_at_once(root: Path) -> None:
    """All errors are reported at once."""
    lines = refusal(root, "[retention]\nhot_days = 0\n[limits]\nline = 'long'\n")
    assert [line.partition(":")[0] for line in lines] == ["retention.hot_days", "limits.line"]


def test_a_value_where_a_section_belongs_is_refused(root: Path) -> None:
    """Also when a variable of the same section follows."""
    assert refusal(root, "ports = 3", LOGSTACK_PORTS__OFFSET="1") == [
        "ports: expected a table, got 3 (from settings.local.toml)."
    ]


def test_a_port_used_twice_is_refused(root: Path) -> None:
    """Both keys are named."""
    assert refusal(root, "[ports]\nvmalert = 21001\nalertmanager = 21001\n") == [
        "ports.alertmanager: expected a different port for each name, got 21001, "
        "which ports.vmalert also has (from settings.local.toml). "
        + how_to_set("LOGSTACK_PORTS__ALERTMANAGER")
    ]


def test_a_port_used_twice_is_named_with_the_offset(root: Path) -> None:
    """The number is the one that components would have listened on."""
    (line,) = refusal(root, "[ports]\noffset = 5\nvmalert = 21001\nsample_app = 21001\n")
    assert line.startswith(
        "ports.sample_app: expected a different port for each name, got 21006, "
        "which ports.vmalert also has"
    )


def test_a_port_that_the_offset_makes_too_large_is_refused(root: Path) -> None:
    """The sum counts, not its parts."""
    (line,) = refusal(root, "[ports]\noffset = 40000\nvmalert = 30000\n")
    assert line.startswith(
        "ports.vmalert: expected a port up to 65535 with the offset, got 70000 (from settings."
    )


def test_the_offset_is_added_to_every_port(root: Path) -> None:
    """A second checkout sets one value."""
    usual, moved = (
        settings.load({"LOGSTACK_PORTS__OFFSET": text}, root).ports for text in ("0", "700")
    )
    names = usual.names()
    assert len(names) > 5
    assert [moved.effective(n) for n in names] == [usual.effective(n) + 700 for n in names]


def test_a_file_that_is_no_toml_is_named_with_the_line(root: Path) -> None:
    """The parser's own message says where."""
    (line,) = refusal(root, "[ports]\noffset = = 1\n")
    path = root / "settings.local.toml"
    assert line.startswith(f"{path}: expected a readable TOML file, got: ")
    assert "line 2" in line


def test_a_file_with_a_byte_order_mark_is_read(root: Path) -> None:
    """Editors of Windows write one."""
    (root / "settings.local.toml").write_bytes(b"\xef\xbb\xbf[ports]\noffset = 7\n")
    assert settings.load({}, root).ports.offset == 7


def test_a_file_that_is_no_text_is_named(root: Path) -> None:
    """Invalid UTF-8 does not end in a traceback."""
    (root / "settings.local.toml").write_bytes(b"\xff\xfe")
    (line,) = refusal(root)
    assert "settings.local.toml: expected a readable TOML file, got: 'utf-8' codec" in line


def test_an_overlay_that_is_missing_is_refused(root: Path) -> None:
    """The error lists the ones that exist."""
    (root / "stack" / "settings.lab.toml").touch()
    (root / "stack" / "settings.prod.toml").touch()
    assert refusal(root, LOGSTACK_ENV="staging") == [
        "LOGSTACK_ENV: expected one of lab, prod, got 'staging'. "
        "An overlay is a file stack/settings.<name>.toml."
    ]


def test_a_host_that_is_not_set_is_the_name_of_this_machine(root: Path) -> None:
    """The label `host` is never empty."""
    with_name = settings.load({"LOGSTACK_STACK__HOST": "db-1"}, root)
    without = settings.load({}, root)
    assert (with_name.host, without.host != "") == ("db-1", True)


def test_every_setting_has_a_variable_of_its_own(root: Path) -> None:
    """The names that the errors and `logstack settings` show are accepted."""
    values = settings.load({}, root)
    for dotted in settings.setting_keys():
        section, _, key = dotted.partition(".")
        value = getattr(getattr(values, section), key)
        text = json.dumps(value) if isinstance(value, tuple | dict) else str(value)
        text = text.lower() if text in ("True", "False") else text
        assert settings.load({settings.variable_name(section, key): text}, root) == values


def test_the_sample_apps_section_is_no_variable_of_the_sample_app(root: Path) -> None:
    """Their names begin with the same prefix; two underscores mark a setting."""
    variables = {"LOGSTACK_SAMPLE_APP__TRAFFIC": "2.5", "LOGSTACK_SAMPLE_SERVICE": "other"}
    values = settings.load(variables, root)
    assert values.sample_app.traffic == 2.5
    assert values.sample_app.service != "other"


def test_no_setting_can_answer_with_a_regular_expression() -> None:
    """Patterns of pydantic stand in its errors; `match` says in words what it expects."""
    schema = json.dumps(settings.Settings.model_json_schema())
    assert '"pattern"' not in schema
