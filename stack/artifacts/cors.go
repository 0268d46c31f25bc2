// Package cors takes the place of github.com/rs/cors in Alertmanager, which lets pages of every
// origin read alerts and post silences with it. This one lets none, and refuses requests for the
// names of others: docs/decisions/0042.
package cors

import (
	"net/http"
	"strings"
)

// Cors is what Alertmanager asks for.
type Cors struct{}

// Default gives headers to no answer.
func Default() *Cors { return &Cors{} }

// Handler refuses requests for the names of others.
func (*Cors) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isNameOfOthers(r.Host) {
			http.Error(w, "unknown host name: expected an address or localhost", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}
