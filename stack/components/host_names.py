"""Changes of programs that answer on loopback: they refuse the names of others (decision 0042).

A web page can let its own name point to 127.0.0.1 (DNS rebinding), and a browser then takes a
program here for a part of that page. Such a name has a dot; addresses, `localhost` and the names of
containers are none.
"""

from __future__ import annotations

from stack.components.component import Patch

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
# Of VictoriaLogs, before any path of its own.
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
