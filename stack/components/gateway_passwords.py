"""A change of Caddy, which by itself compares any number of passwords (decision 0066).

Of each user from each address so many wrong passwords are compared in a minute, and a hundred at
once; all names that are no user's count as one. Beyond, none is compared, not even the right one.
An attacker thus blocks users from its own address at most, and a host with an old password no other
host behind the same address.
"""

from __future__ import annotations

from stack.components.component import Patch

MODULE = "github.com/caddyserver/caddy/v2"
FILE = "modules/caddyhttp/caddyauth/basicauth.go"
MOST_PER_MINUTE = 20

IMPORTS = Patch(
    MODULE,
    FILE,
    before='\tweakrand "math/rand/v2"\n\t"net/http"\n\t"slices"\n\t"strings"\n\t"sync"\n\n',
    after="""\
	weakrand "math/rand/v2"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

""",
)
COMPARE = Patch(
    MODULE,
    FILE,
    before="""\
	same, err := hba.correctPassword(account, []byte(plaintextPasswordStr))
	if err != nil || !same || !accountExists {
""",
    after="""\
	if !accountExists {
		username = ""
	}
	key := addressOf(req) + " " + username
	if !attempts.begin(key) {
		w.Header().Set("Retry-After", "60")
		return hba.promptForCredentials(w, nil)
	}
	same, err := hba.correctPassword(account, []byte(plaintextPasswordStr))
	attempts.end(key, same && accountExists)
	if err != nil || !same || !accountExists {
""",
)
COUNT = Patch(
    MODULE,
    FILE,
    before="""\
func (hba HTTPBasicAuth) correctPassword(account Account, plaintextPassword []byte) (bool, error) {
""",
    after=f"""\
const mostPerMinute = {MOST_PER_MINUTE}

// attempts counts the wrong passwords of this minute, and those that are being compared.
var attempts = counts{{wrong: map[string]int{{}}, open: map[string]int{{}}}}

type counts struct {{
	mu          sync.Mutex
	since       time.Time
	wrong, open map[string]int
}}

func (c *counts) begin(key string) bool {{
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.since) > time.Minute {{
		c.since, c.wrong = time.Now(), map[string]int{{}}
	}}
	if c.wrong[key] >= mostPerMinute || c.wrong[key]+c.open[key] >= 5*mostPerMinute {{
		return false
	}}
	c.open[key]++
	return true
}}

func (c *counts) end(key string, right bool) {{
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open[key]--; c.open[key] == 0 {{
		delete(c.open, key)
	}}
	if !right {{
		c.wrong[key]++
	}}
}}

// addressOf is the client's address; of IPv6 the network, all of which belongs to one client.
func addressOf(req *http.Request) string {{
	address, err := netip.ParseAddrPort(req.RemoteAddr)
	if err != nil {{
		return req.RemoteAddr
	}}
	if ip := address.Addr().Unmap(); !ip.Is4() {{
		network, _ := ip.Prefix(64)
		return network.String()
	}}
	return address.Addr().Unmap().String()
}}

func (hba HTTPBasicAuth) correctPassword(account Account, plaintextPassword []byte) (bool, error) {{
""",
)
# Caddy's own value for a name that is no user's costs sixteen times as much as a user's: an
# attacker would know the names of users by the time, and keep the processor busy.
SAME_COST = Patch(
    MODULE,
    FILE,
    before="""\
	hba.AccountList = nil // allow GC to deallocate
""",
    after="""\
	hba.AccountList = nil // allow GC to deallocate
	for _, account := range hba.Accounts {
		hba.fakePassword = account.password
	}
""",
)
PATCHES = (IMPORTS, COMPARE, COUNT, SAME_COST)
