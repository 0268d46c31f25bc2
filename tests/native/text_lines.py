"""Lines as well-known programs write them, and the records that the agent must make of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

# The agent's: half an hour beside whole hours, so that nothing else gives the same time.
TIMEZONE = "Asia/Kolkata"
MOMENT = (datetime.now(UTC) - timedelta(hours=2)).replace(microsecond=405_000)
_LOCAL = MOMENT.astimezone(ZoneInfo(TIMEZONE))
WHOLE = {"timestamp": MOMENT.strftime("%Y-%m-%dT%H:%M:%S.000000Z")}
MILLIS = {"timestamp": MOMENT.strftime("%Y-%m-%dT%H:%M:%S.405000Z")}
ACCESS = {"format": "access", **WHOLE}


@dataclass(frozen=True)
class Case:
    """`{mark}` in the text names the case; times are MOMENT: `{local:...}`, `{utc:...}`.

    `expected`: fields of the record, None for one that it may not have.
    """

    text: str
    expected: dict[str, object] = field(default_factory=dict)
    file: str = "auto"

    def lines(self, mark: str) -> str:
        return self.text.format(mark=mark, local=_LOCAL, utc=MOMENT)


def _leveled(level: str, **others: object) -> dict[str, object]:
    return {"level": level, "format": "text", **others}


CASES = {
    "python basicConfig": Case("ERROR:root:text {mark}", _leveled("ERROR", logger_name="root")),
    "python dotted": Case(
        "CRITICAL:shop.orders:text {mark}", _leveled("CRITICAL", logger_name="shop.orders")
    ),
    "python asctime and name": Case(
        "{local:%Y-%m-%d %H:%M:%S},405 - shop - ERROR - text {mark}",
        _leveled("ERROR", logger_name="shop", **MILLIS),
    ),
    "python asctime and level": Case(
        "{local:%Y-%m-%d %H:%M:%S},405 WARNING django.request Not Found: /x {mark}",
        _leveled("WARNING", logger_name="django.request", **MILLIS),
    ),
    "python level and a word": Case(
        "{local:%Y-%m-%d %H:%M:%S},405 ERROR shop text {mark}",
        _leveled("ERROR", logger_name=None, **MILLIS),
    ),
    "loguru": Case(
        "{local:%Y-%m-%d %H:%M:%S}.405 | ERROR    | __main__:run:12 - text {mark}",
        _leveled("ERROR", logger_name="__main__", **MILLIS),
    ),
    "celery": Case(
        "[{local:%Y-%m-%d %H:%M:%S},405: ERROR/ForkPoolWorker-1] text {mark}",
        _leveled("ERROR", **MILLIS),
    ),
    "gunicorn": Case(
        "[{utc:%Y-%m-%d %H:%M:%S} +0000] [123] [CRITICAL] WORKER TIMEOUT {mark}",
        _leveled("CRITICAL", **WHOLE),
    ),
    "uvicorn": Case("INFO:     Started server {mark}", _leveled("INFO", logger_name=None)),
    "uvicorn access": Case(
        'INFO:     127.0.0.1:52134 - "GET /items/{mark}?q=1 HTTP/1.1" 404 Not Found',
        {"format": "access", "level": "WARNING", "status": 404, "path": "/items/{mark}"},
    ),
    "nginx error": Case(
        '{local:%Y/%m/%d %H:%M:%S} [error] 123#0: *1 open() "/x" failed (2: No such file) {mark}',
        _leveled("ERROR", **WHOLE),
    ),
    "nginx crit": Case(
        "{local:%Y/%m/%d %H:%M:%S} [crit] 123#0: *1 text {mark}", _leveled("CRITICAL", **WHOLE)
    ),
    "apache error": Case(
        "[{local:%a %b %d %H:%M:%S}.405123 {local:%Y}] [core:warn] [pid 12:tid 3] AH00124: {mark}",
        _leveled("WARNING", timestamp=MILLIS["timestamp"][:-4] + "123Z"),
    ),
    "postgresql": Case(
        "{utc:%Y-%m-%d %H:%M:%S}.405 UTC [123] ERROR:  relation {mark} does not exist",
        _leveled("ERROR", **MILLIS),
    ),
    "postgresql with a user": Case(
        "{local:%Y-%m-%d %H:%M:%S}.405 IST [123] shop@shop LOG:  text {mark}\n\tof two lines",
        _leveled("INFO", **MILLIS),
    ),
    "redis": Case(
        "123:M {local:%d %b %Y %H:%M:%S}.405 # text {mark}", _leveled("WARNING", **MILLIS)
    ),
    "mysql": Case(
        "{utc:%Y-%m-%dT%H:%M:%S}.405000Z 0 [Warning] [MY-010068] [Server] text {mark}",
        _leveled("WARNING", **MILLIS),
    ),
    "syslog 3164": Case(
        "<11>{local:%b %e %H:%M:%S} web su[12]: text {mark}",
        _leveled("ERROR", logger_name="su", **WHOLE),
    ),
    "syslog 5424": Case(
        "<34>1 {utc:%Y-%m-%dT%H:%M:%S}.405Z web su - ID47 - text {mark}",
        _leveled("CRITICAL", logger_name="su", **MILLIS),
    ),
    "syslog file": Case(
        "{local:%b %e %H:%M:%S} web sshd[12]: text {mark}",
        {"level": None, "logger_name": "sshd", **WHOLE},
    ),
    "go log": Case("{local:%Y/%m/%d %H:%M:%S} text {mark}", {"level": None, **WHOLE}),
    "go log with file": Case(
        "{local:%Y/%m/%d %H:%M:%S}.405000 main.go:23: text {mark}", {"level": None, **MILLIS}
    ),
    "go slog default": Case(
        "{local:%Y/%m/%d %H:%M:%S} ERROR text {mark} err=EOF", _leveled("ERROR", **WHOLE)
    ),
    "klog": Case(
        "E{local:%m%d %H:%M:%S}.405000       1 main.go:23] text {mark}", _leveled("ERROR", **MILLIS)
    ),
    "zap console": Case(
        "{utc:%Y-%m-%dT%H:%M:%S}.405Z\twarn\tserver/main.go:23\ttext {mark}",
        _leveled("WARNING", **MILLIS),
    ),
    "slog text": Case(
        'time={utc:%Y-%m-%dT%H:%M:%S}.405Z level=ERROR msg="text {mark}" err=EOF',
        _leveled("ERROR", **MILLIS),
    ),
    "logrus": Case(
        'time="{local:%Y-%m-%dT%H:%M:%S}+05:30" level=fatal msg="text {mark}"',
        _leveled("CRITICAL", **WHOLE),
    ),
    "prometheus": Case(
        'ts={utc:%Y-%m-%dT%H:%M:%S}.405Z caller=main.go:12 level=warn msg="text {mark}"',
        _leveled("WARNING", **MILLIS),
    ),
    "level first": Case(
        'level=error ts={utc:%Y-%m-%dT%H:%M:%S}.405Z msg="text {mark}"',
        _leveled("ERROR", **MILLIS),
    ),
    "spring boot": Case(
        "{utc:%Y-%m-%dT%H:%M:%S}.405Z ERROR 1234 --- [app] [main] c.example.App   : text {mark}",
        _leveled("ERROR", logger_name="c.example.App", **MILLIS),
    ),
    "logback": Case(
        "19:12:05.405 [main] ERROR com.example.App -- text {mark}",
        _leveled("ERROR", logger_name="com.example.App"),
    ),
    "log4j": Case(
        "{local:%Y-%m-%d %H:%M:%S},405 [main] WARN  App - text {mark}",
        _leveled("WARNING", logger_name="App", **MILLIS),
    ),
    "elasticsearch": Case(
        "[{local:%Y-%m-%dT%H:%M:%S},405][ERROR][o.e.b.Bootstrap ] [node] text {mark}",
        _leveled("ERROR", **MILLIS),
    ),
    "rails": Case(
        "E, [{local:%Y-%m-%dT%H:%M:%S}.405000 #123] ERROR -- : text {mark}",
        _leveled("ERROR", logger_name=None, **MILLIS),
    ),
    "dotnet console": Case(
        "fail: Microsoft.AspNetCore.Server.Kestrel[13]\n      text {mark}",
        _leveled("ERROR", logger_name="Microsoft.AspNetCore.Server.Kestrel"),
    ),
    "maven": Case("[ERROR] text {mark}", _leveled("ERROR")),
    "plain words": Case("text of an ERROR {mark}", {"level": None, "format": "text"}),
    "too old": Case(
        "2020-11-28 19:12:05,405 ERROR text {mark}",
        _leveled("ERROR", timestamp_original="2020-11-28 19:12:05,405"),
    ),
    "no such day": Case(
        "2026-13-45 19:12:05,405 ERROR text {mark}", _leveled("ERROR", timestamp_original=None)
    ),
    "colours": Case("\x1b[31mERROR\x1b[0m text {mark}\r", _leveled("ERROR")),
    # --- Access logs
    "nginx combined": Case(
        '192.0.2.7 - - [{utc:%d/%b/%Y:%H:%M:%S} +0000] "GET /orders/{mark}?page=2 HTTP/1.1" 200 '
        '612 "https://shop.example/" "Mozilla/5.0 (X11) \\x22"',
        {
            **ACCESS,
            **{"level": "INFO", "method": "GET", "path": "/orders/{mark}", "status": 200},
            **{"response_bytes": 612, "client_ip": "192.0.2.7", "duration_ms": None},
        },
    ),
    "nginx with a time": Case(
        '2001:db8::7 - anna [{utc:%d/%b/%Y:%H:%M:%S} +0000] "POST /pay/{mark} HTTP/2.0" 502 0 "-" '
        '"curl/8" 1.290',
        {
            **ACCESS,
            **{"level": "ERROR", "method": "POST", "status": 502, "duration_ms": 1290},
            **{"client_ip": "2001:db8::7", "response_bytes": 0},
        },
    ),
    "nginx in its file": Case(
        '192.0.2.7 - - [{utc:%d/%b/%Y:%H:%M:%S} +0000] "GET /{mark} HTTP/1.1" 404 1 "-" "-" 0.005',
        {**ACCESS, "level": "WARNING", "duration_ms": 5},
        file="nginx",
    ),
    "nginx main with a time": Case(
        '192.0.2.7 - - [{utc:%d/%b/%Y:%H:%M:%S} +0000] "GET /{mark} HTTP/1.1" 200 1 "-" "x \\"y" '
        '"203.0.113.9" rt=0.020 uct="0.000"',
        {**ACCESS, "level": "INFO", "duration_ms": 20},
    ),
    "another line in the file of nginx": Case(
        "{local:%Y/%m/%d %H:%M:%S} [error] 123#0: text {mark}",
        _leveled("ERROR", **WHOLE),
        file="nginx",
    ),
    "bytes that are no request": Case(
        '192.0.2.7 - - [{utc:%d/%b/%Y:%H:%M:%S} +0000] "\\x16\\x03\\x01 {mark}" 400 157 "-" "-"',
        {**ACCESS, "level": "WARNING", "method": None, "path": None, "status": 400},
    ),
    "apache common": Case(
        '192.0.2.7 - anna [{utc:%d/%b/%Y:%H:%M:%S} +0000] "HEAD /{mark} HTTP/1.0" 304 -',
        {**ACCESS, "level": "INFO", "method": "HEAD", "status": 304, "response_bytes": None},
    ),
    "apache with a time": Case(
        '192.0.2.7 - - [{local:%d/%b/%Y:%H:%M:%S} +0530] "GET /{mark} HTTP/1.1" 500 12 '
        '"-" "-" 1500',
        {**ACCESS, "level": "ERROR", "duration_ms": 1.5},
        file="apache",
    ),
    "gunicorn access": Case(
        '127.0.0.1 - - [{utc:%d/%b/%Y:%H:%M:%S} +0000] "GET /{mark} HTTP/1.1" 200 5 "-" "curl/8"',
        {**ACCESS, "level": "INFO", "status": 200, "client_ip": "127.0.0.1"},
        file="gunicorn",
    ),
    "text that is right": Case(
        "plain words {mark}", _leveled("INFO", timestamp_original=None), file="text"
    ),
    # --- Secrets
    "authorization": Case(
        "headers Authorization: Bearer abc.def-123, Host: shop {mark}",
        {"message": "headers Authorization: [redacted], Host: shop {mark}"},
    ),
    "basic": Case(
        "-H 'Authorization: Basic YWxhZGRpbjpvcGVuc2VzYW1l' {mark}",
        {"message": "-H 'Authorization: [redacted]' {mark}"},
    ),
    "cookies": Case(
        "{mark} Set-Cookie: sid=38afes7a8; HttpOnly", {"message": "{mark} Set-Cookie: [redacted]"}
    ),
    "keys": Case(
        '{mark} password=hunter2 api_key=\'a b\' DB_PASSWD: x7 secretKey="q\\"r" user=anna',
        {
            "message": "{mark} password=[redacted] api_key='[redacted]' DB_PASSWD: [redacted] "
            'secretKey="[redacted]" user=anna'
        },
    ),
    "keys of JSON in text": Case(
        '{mark} body {{"access_token": "abc", "n": 1, "token_count": 5}}',
        {"message": '{mark} body {{"access_token": "[redacted]", "n": 1, "token_count": 5}}'},
    ),
    "query parameters": Case(
        '192.0.2.7 - - [{utc:%d/%b/%Y:%H:%M:%S} +0000] "GET /{mark}?token=s3cr3t&page=2 '
        'HTTP/1.1" 200 1',
        {
            **{**WHOLE, "path": "/{mark}"},
            "message": "192.0.2.7 - - [{utc:%d/%b/%Y:%H:%M:%S} +0000] "
            '"GET /{mark}?token=[redacted]&page=2 HTTP/1.1" 200 1',
        },
    ),
    "an address": Case(
        "{mark} postgres://shop:p/w@db:5432/shop and amqp://u:1@mq and http://db:80/a@b",
        {
            "message": "{mark} postgres://[redacted]@db:5432/shop and amqp://[redacted]@mq and "
            "http://db:80/a@b"
        },
    ),
    "tokens of the library's table": Case(
        "{mark} clone ghp_aB3dE6gH9jK2aB3dE6gH9jK2aB3dE6gH9jK2 then sk_live_aB3dE6gH9jK2, done",
        {"message": "{mark} clone [redacted] then [redacted], done"},
    ),
    "no secret": Case(
        "{mark} monkey=1 spin: 3 tokens: 5 keyword=x author: y",
        {"message": "{mark} monkey=1 spin: 3 tokens: 5 keyword=x author: y"},
    ),
}

# Stack traces: each is one record, with the neighbours around it.
TRACES = {
    "java": Case(
        "java.lang.IllegalStateException: no {mark}\n"
        "\tat com.example.App.run(App.java:12)\n"
        "\tSuppressed: java.io.IOException: closing\n"
        "\t\tat com.example.App.close(App.java:30)\n"
        "Caused by: java.io.IOException: disk\n"
        "\tat com.example.Disk.read(Disk.java:3)\n"
        "\t... 12 more",
        {"exception_type": "java.lang.IllegalStateException", "exception_message": "no {mark}"},
    ),
    "java in a log line": Case(
        "ERROR Something bad: a reason {mark}\n\tat com.example.App.run(App.java:12)",
        {"exception_type": None},
    ),
    "java thread": Case(
        'Exception in thread "main" java.lang.NullPointerException: no {mark}\n'
        "\tat com.example.App.main(App.java:5)",
        {"exception_type": "java.lang.NullPointerException", "exception_message": "no {mark}"},
    ),
    "node": Case(
        "TypeError [ERR_X]: no {mark}\n"
        "    at fn (/app/index.js:3:9)\n"
        "    at node:internal/main:17:47 {{\n"
        "  code: 'ERR_X',\n"
        "  [cause]: Error: y\n"
        "      at fn (/app/index.js:4:9)\n"
        "}}",
        {"exception_type": "TypeError", "exception_message": "no {mark}"},
    ),
    "go": Case(
        "panic: no {mark}\n"
        "goroutine 1 [running]:\n"
        "main.(*Shop).order(0xc000012345, {{0x1, 0x2}})\n"
        "\t/src/main.go:8 +0x1d\n"
        "main.main()\n"
        "\t/src/main.go:4 +0x1d\n"
        "created by main.start in goroutine 7\n"
        "\t/src/main.go:2 +0x1d",
        {"exception_type": "panic", "exception_message": "no {mark}"},
    ),
    "dotnet": Case(
        "Unhandled exception. System.InvalidOperationException: no {mark}\n"
        " ---> System.IO.IOException: inner\n"
        "   at Shop.Disk.Read() in /src/Disk.cs:line 10\n"
        "   --- End of inner exception stack trace ---\n"
        "   at Shop.Program.Main(String[] args) in /src/Program.cs:line 3",
        {"exception_type": "System.InvalidOperationException", "exception_message": "no {mark}"},
    ),
    "python": Case(
        "Traceback (most recent call last):\n"
        '  File "job.py", line 3, in <module>\n'
        "    run()\n"
        "    ~~~^^\n"
        "shop.errors.Locked: no {mark}",
        {"exception_type": "shop.errors.Locked", "exception_message": "no {mark}"},
    ),
    "python chain": Case(
        "Traceback (most recent call last):\n"
        '  File "job.py", line 3, in <module>\n'
        "    run()\n"
        "KeyError: 'x'\n"
        "During handling of the above exception, another exception occurred:\n"
        "Traceback (most recent call last):\n"
        '  File "job.py", line 9, in <module>\n'
        "    run()\n"
        "ValueError: no {mark}",
        {"exception_type": "ValueError", "exception_message": "no {mark}"},
    ),
    "python group": Case(
        "  + Exception Group Traceback (most recent call last):\n"
        '  |   File "job.py", line 3, in <module>\n'
        '  |     raise ExceptionGroup("no", [ValueError(1)])\n'
        "  | ExceptionGroup: no {mark} (1 sub-exception)\n"
        "  +-+---------------- 1 ----------------\n"
        "    | ValueError: 1\n"
        "    +------------------------------------",
        {"exception_type": "ExceptionGroup", "exception_message": "no {mark} (1 sub-exception)"},
    ),
}
