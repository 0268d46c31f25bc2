"""Changes of programs that answer on loopback: they refuse the names of others (decision 0042).

A web page can let its own name point to 127.0.0.1 (DNS rebinding), and a browser then takes a
program here for a part of that page. Such a name has a dot; addresses, `localhost` and the names of
containers are none.
"""

from __future__ import annotations

from stack.components.component import Added, Patch

FUNCTION = """\

// isNameOfOthers tells whether a Host header is neither an address nor a name without a dot.
func isNameOfOthers(host string) bool {
	name := strings.TrimSuffix(host, ".")
	if i := strings.LastIndexByte(name, ':'); i >= 0 {
		name = strings.TrimSuffix(name[:i], ".")
	}
	last := name[strings.LastIndexByte(name, '.')+1:]
	isAddress := strings.HasPrefix(host, "[") || strings.Trim(last, "0123456789") == ""
	return !isAddress && last != name && last != "localhost"
}
"""
REFUSE = """\
http.Error(w, "unknown host name: expected an address or localhost", http.StatusMisdirectedRequest)
"""
# Of VictoriaLogs and vmalert, before any path of their own.
VICTORIA_METRICS = Patch(
    "github.com/VictoriaMetrics/VictoriaMetrics",
    "lib/httpserver/httpserver.go",
    before="""\
func handlerWrapper(w http.ResponseWriter, r *http.Request, rh RequestHandler) {
""",
    after=f"""\
{FUNCTION.lstrip()}
func handlerWrapper(w http.ResponseWriter, r *http.Request, rh RequestHandler) {{
	if isNameOfOthers(r.Host) {{
		{REFUSE.rstrip()}
		return
	}}
""",
)


def answering(module: str, folder: str, package: str) -> Added:
    """A file of a Go package with `answering`, a handler that refuses the names of others."""
    text = f"""\
package {package}

import (
	"net/http"
	"strings"
)

// answering refuses requests to names of others, before any path of the handler.
func answering(handler http.Handler) http.Handler {{
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {{
		if isNameOfOthers(r.Host) {{
			{REFUSE.rstrip()}
			return
		}}
		handler.ServeHTTP(w, r)
	}})
}}
{FUNCTION}"""
    return Added(module, f"{folder}host_names.go", text)


HEALTH_CHECK = (
    "github.com/open-telemetry/opentelemetry-collector-contrib/extension/healthcheckextension"
)
METRICS = "go.opentelemetry.io/contrib/otelconf"
# Of the collector: its health check and its metrics.
COLLECTOR = (
    Patch(
        HEALTH_CHECK,
        "healthcheckextension.go",
        before="\thc.server.Handler = mux\n",
        after="\thc.server.Handler = answering(mux)\n",
    ),
    Patch(
        METRICS,
        "v0.3.0/metric.go",
        before="\t\tHandler:      mux,\n",
        after="\t\tHandler:      answering(mux),\n",
        required_by="go.opentelemetry.io/collector/service",
    ),
)
COLLECTOR_FILES = (
    answering(HEALTH_CHECK, "", "healthcheckextension"),
    answering(METRICS, "v0.3.0/", "otelconf"),
)
