// Package names is a processor of the collector: it bounds how many names of services a program writes.
//
// Loki refuses every new stream at its limit of streams, and the agent tries a batch again until Loki
// takes it. One program with thousands of names would stop the records of all others. So the names
// beyond the first `most` of a log file, and beyond `total` of all files, become `other` in the labels;
// the line keeps its own. A name that was not seen for an hour makes room for another one.
package names

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/processor/processorhelper"
	"go.uber.org/zap"
)

const (
	other        = "other"
	environments = 20 // of a log file
	idle         = time.Hour
)

// Config has the bounds: of one log file, and of all of them together.
type Config struct {
	Most  int `mapstructure:"most"`
	Total int `mapstructure:"total"`
}

// NewFactory returns the factory of the processor `names`.
func NewFactory() processor.Factory {
	return processor.NewFactory(
		component.MustNewType("names"),
		func() component.Config { return &Config{} },
		processor.WithLogs(create, component.StabilityLevelStable),
	)
}

func create(
	ctx context.Context, set processor.Settings, cfg component.Config, next consumer.Logs,
) (processor.Logs, error) {
	bound := &bound{cfg: cfg.(*Config), logger: set.Logger, files: map[string]*file{}}
	can := processorhelper.WithCapabilities(consumer.Capabilities{MutatesData: true})
	return processorhelper.NewLogs(ctx, set, cfg, next, bound.process, can)
}

type file struct {
	seen   map[[2]string]time.Time // when a service and an environment were last seen
	warned bool
}

type bound struct {
	cfg    *Config
	logger *zap.Logger

	mu     sync.Mutex
	files  map[string]*file
	total  int
	forgot time.Time
}

func (b *bound) process(_ context.Context, logs plog.Logs) (plog.Logs, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	for i := 0; i < logs.ResourceLogs().Len(); i++ {
		group := logs.ResourceLogs().At(i)
		labels := group.Resource().Attributes()
		var name [2]string
		for j, label := range [2]string{"service.name", "environment"} {
			if value, ok := labels.Get(label); ok {
				name[j] = value.Str()
			}
		}
		path := pathOf(group)
		if b.isKnown(path, name, now) {
			continue
		}
		labels.PutStr("service.name", other)
		if name[1] != "" && !b.files[path].has(name[1]) {
			labels.PutStr("environment", other)
		}
	}
	return logs, nil
}

// isKnown tells whether a name is one of those of the file, or there is room for it.
func (b *bound) isKnown(path string, name [2]string, now time.Time) bool {
	f := b.files[path]
	if f == nil {
		f = &file{seen: map[[2]string]time.Time{}}
		b.files[path] = f
	}
	if _, ok := f.seen[name]; !ok {
		if !b.hasRoom(f, name) && now.Sub(b.forgot) > time.Minute {
			b.forget(now)
			b.files[path] = f
		}
		if !b.hasRoom(f, name) {
			if !f.warned {
				f.warned = true
				b.logger.Warn("too many names of services: further ones get the label `other`",
					zap.String("file", path), zap.Int("names", len(f.seen)))
			}
			return false
		}
		b.total++
	}
	f.seen[name] = now
	return true
}

func (b *bound) hasRoom(f *file, name [2]string) bool {
	if len(f.seen) >= b.cfg.Most || b.total >= b.cfg.Total {
		return false
	}
	return f.has(name[1]) || f.environments() < environments
}

// forget removes the names that were not seen for a while; Loki has closed their streams.
func (b *bound) forget(now time.Time) {
	b.forgot = now
	for path, f := range b.files {
		for name, last := range f.seen {
			if now.Sub(last) > idle {
				delete(f.seen, name)
				b.total--
			}
		}
		if len(f.seen) == 0 {
			delete(b.files, path)
		}
	}
}

func (f *file) has(environment string) bool {
	for name := range f.seen {
		if name[1] == environment {
			return true
		}
	}
	return false
}

func (f *file) environments() int {
	found := map[string]bool{}
	for name := range f.seen {
		found[name[1]] = true
	}
	return len(found)
}

func pathOf(group plog.ResourceLogs) string {
	for i := 0; i < group.ScopeLogs().Len(); i++ {
		records := group.ScopeLogs().At(i).LogRecords()
		for j := 0; j < records.Len(); j++ {
			if path, ok := records.At(j).Attributes().Get("log.file.path"); ok {
				return path.Str()
			}
		}
	}
	return ""
}
