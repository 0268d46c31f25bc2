// Package ui takes the place of Alertmanager's, which embeds pages that its module does not have. It
// serves those of an older version of the module: docs/decisions/0043.
package ui

import (
	"net/http"
	"path"

	"github.com/prometheus/common/route"

	"github.com/prometheus/alertmanager/asset"
)

// Register registers the handlers of the pages.
func Register(r *route.Router) {
	files := http.FileServer(asset.Assets)
	serve := func(w http.ResponseWriter, req *http.Request, file string) {
		w.Header().Set("Cache-Control", "no-store")
		req.URL.Path = path.Join("/static", file)
		if file == "/" { // without it the server of files redirects
			req.URL.Path += "/"
		}
		files.ServeHTTP(w, req)
	}
	for _, file := range []string{"/", "/script.js", "/favicon.ico"} {
		r.Get(file, func(w http.ResponseWriter, req *http.Request) { serve(w, req, file) })
	}
	r.Get("/lib/*path", func(w http.ResponseWriter, req *http.Request) {
		serve(w, req, path.Join("/lib", route.Param(req.Context(), "path")))
	})
}
