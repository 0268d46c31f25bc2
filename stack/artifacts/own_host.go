// A handler of the gateway: a batch for Loki has to name the host that its password belongs to.
//
// Loki takes the label `host` from the batch, and no header replaces it. So each stream is looked at, and
// a batch that names another host, or none, is refused as a whole. What is forwarded is the batch as it
// came. Nothing is guessed: a form that no agent sends is refused, as Loki could read it in another way.
package caddyauth

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

const (
	hostLabel = "host"
	protobuf  = "application/x-protobuf"
	mostText  = 64 << 10 // of a name, value or labels that is compared
	mostBytes = 64 << 20 // of a batch of Promtail, whose compression has to be undone as a whole
)

func init() {
	caddy.RegisterModule(OwnHost{})
	httpcaddyfile.RegisterHandlerDirective("own_host", parseOwnHost)
	httpcaddyfile.RegisterDirectiveOrder("own_host", httpcaddyfile.After, "basic_auth")
}

// OwnHost refuses batches of other hosts. Format: `otlp` or `push`, Loki's own.
type OwnHost struct {
	Format string `json:"format"`
}

// CaddyModule describes the handler.
func (OwnHost) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.own_host", New: func() caddy.Module { return new(OwnHost) }}
}

func parseOwnHost(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h.Next()
	handler := new(OwnHost)
	if !h.AllArgs(&handler.Format) || (handler.Format != "otlp" && handler.Format != "push") {
		return nil, h.Err("own_host: expected otlp or push")
	}
	return handler, nil
}

func (o OwnHost) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	replacer := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	user, _ := replacer.GetString("http.auth.user.id")
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	encoding := r.Header.Get("Content-Encoding")
	if o.Format == "otlp" {
		err = checkOtlp(body, encoding, user)
	} else {
		err = checkPush(body, user)
	}
	if err != nil {
		caddyhttp.SetVar(r.Context(), caddyhttp.LogSkipVar, nil)
		http.Error(w, "the batch of "+user+": "+err.Error(), http.StatusForbidden)
		return nil
	}
	// Of several values Loki reads one.
	r.Header.Set("Content-Type", protobuf)
	if encoding != "" {
		r.Header.Set("Content-Encoding", encoding)
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return next.ServeHTTP(w, r)
}

// checkOtlp looks at the resources of an ExportLogsServiceRequest, and skips the records.
func checkOtlp(body []byte, encoding, user string) error {
	var source io.Reader = bytes.NewReader(body)
	switch encoding {
	case "":
	case "gzip":
		reader, err := gzip.NewReader(source)
		if err != nil {
			return err
		}
		source = reader
	case "zstd":
		reader, err := zstd.NewReader(source, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(32<<20))
		if err != nil {
			return err
		}
		defer reader.Close()
		source = reader
	default:
		return fmt.Errorf("Content-Encoding: expected gzip or zstd, got %q", encoding)
	}
	return eachField(bufio.NewReader(source), func(resources io.Reader, number int) error {
		if number != 1 {
			return nil
		}
		hosts := 0
		err := eachField(resources, func(resource io.Reader, number int) error {
			if number != 1 {
				return nil
			}
			return eachField(resource, func(attribute io.Reader, number int) error {
				if number != 1 {
					return nil
				}
				isHost, err := checkAttribute(attribute, user)
				if isHost {
					hosts++
				}
				return err
			})
		})
		if err == nil && hosts != 1 {
			err = fmt.Errorf("expected one attribute host of each resource, got %d", hosts)
		}
		return err
	})
}

// checkAttribute tells whether a KeyValue is the host, which has to be the user as plain text.
func checkAttribute(attribute io.Reader, user string) (bool, error) {
	var keys, values []string
	err := eachField(attribute, func(content io.Reader, number int) error {
		text, err := io.ReadAll(io.LimitReader(content, mostText))
		if number == 1 {
			keys = append(keys, string(text))
		} else {
			values = append(values, strconv.Itoa(number)+":"+string(text))
		}
		return err
	})
	isHost := false
	for _, key := range keys {
		isHost = isHost || key == hostLabel
	}
	if err != nil || !isHost {
		return false, err
	}
	size := binary.AppendUvarint(nil, uint64(len(user)))
	expected := fmt.Sprintf("2:%c%s%s", 1<<3|2, size, user)
	if len(keys) != 1 || len(values) != 1 || values[0] != expected {
		return true, errors.New("expected its own host, got another one")
	}
	return true, nil
}

var (
	label  = regexp.MustCompile(`([A-Za-z_]\w*)=("(?:[^"\\]|\\.)*")`)
	labels = regexp.MustCompile(`^\{(?:[A-Za-z_]\w*="(?:[^"\\]|\\.)*"(?:, ?)?)*\}$`)
)

// checkPush looks at the labels of a PushRequest of Loki.
func checkPush(body []byte, user string) error {
	if size, err := s2.DecodedLen(body); err != nil || size > mostBytes {
		return errors.New("expected at most 64 MiB, compressed as snappy")
	}
	batch, err := s2.Decode(nil, body)
	if err != nil {
		return err
	}
	return eachField(bytes.NewReader(batch), func(stream io.Reader, number int) error {
		if number != 1 {
			return nil
		}
		texts, hosts := 0, []string{}
		err := eachField(stream, func(content io.Reader, number int) error {
			if number != 1 {
				return nil
			}
			text, err := io.ReadAll(io.LimitReader(content, mostText))
			texts++
			if err != nil || !labels.Match(text) {
				return errors.Join(err, errors.New(`expected labels as {name="value", ...}`))
			}
			for _, found := range label.FindAllStringSubmatch(string(text), -1) {
				if found[1] == hostLabel {
					value, err := strconv.Unquote(found[2])
					hosts = append(hosts, value)
					if err != nil {
						return err
					}
				}
			}
			return nil
		})
		if err == nil && (texts != 1 || len(hosts) != 1 || hosts[0] != user) {
			err = errors.New("expected its own host in each stream, got another one or none")
		}
		return err
	})
}

type byteReader interface {
	io.Reader
	io.ByteReader
}

// eachField calls `visit` with the content of each field that has a length; the rest of it is skipped.
func eachField(reader io.Reader, visit func(content io.Reader, number int) error) error {
	source, ok := reader.(byteReader)
	if !ok {
		source = &single{Reader: reader}
	}
	for {
		tag, err := binary.ReadUvarint(source)
		if err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		size := uint64(0)
		switch tag & 7 {
		case 0:
			_, err = binary.ReadUvarint(source)
		case 1:
			size = 8
		case 2:
			size, err = binary.ReadUvarint(source)
		case 5:
			size = 4
		default:
			err = errors.New("expected a batch in protobuf")
		}
		// Parsers cut the number of a field to 32 bits.
		if err != nil || size > 1<<31 || tag>>3 > 1<<29 {
			return errors.Join(err, errors.New("expected a whole batch in protobuf"))
		}
		content := &io.LimitedReader{R: source, N: int64(size)}
		if tag&7 == 2 {
			if err := visit(content, int(tag>>3)); err != nil {
				return err
			}
		}
		if _, err := io.Copy(io.Discard, content); err != nil {
			return err
		}
		if content.N > 0 {
			return io.ErrUnexpectedEOF
		}
	}
}

// single reads one byte at a time of a reader that has no such method.
type single struct{ io.Reader }

func (s *single) ReadByte() (byte, error) {
	var one [1]byte
	_, err := io.ReadFull(s.Reader, one[:])
	return one[0], err
}
