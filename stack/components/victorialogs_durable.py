"""Changes of VictoriaLogs: a record is on disk before it is acknowledged (decision 0065).

Unchanged, it acknowledges what is in memory, and a kill loses it: the last seconds of arrival,
which after an outage are a whole backlog. Changed, an answer waits for a flush; requests that come
during one share the next.
"""

from __future__ import annotations

from stack.components.component import Patch

MODULE = "github.com/VictoriaMetrics/VictoriaLogs"
FOLDER = "lib/logstorage"
INDEX = "github.com/VictoriaMetrics/VictoriaMetrics/lib/mergeset"

ACKNOWLEDGE = Patch(
    MODULE,
    "app/vlinsert/insertutil/common_params.go",
    before="""\
	lmp.flushLocked()
	logstorage.PutLogRows(lmp.lr)
""",
    after="""\
	lmp.flushLocked()
	if storage, ok := logRowsStorage.(interface{ MustFlushToDisk() }); ok {
		storage.MustFlushToDisk()
	}
	logstorage.PutLogRows(lmp.lr)
""",
)
STORAGE = Patch(
    MODULE,
    "app/vlstorage/main.go",
    before="""\
// RunQuery runs the given qctx and calls writeBlock for the returned data blocks
""",
    after="""\
// MustFlushToDisk returns when the rows that were added before are on disk.
func (*Storage) MustFlushToDisk() {
	if localStorage != nil {
		localStorage.MustFlushToDisk()
	}
}

// RunQuery runs the given qctx and calls writeBlock for the returned data blocks
""",
)
SHARED_FLUSH = Patch(
    MODULE,
    f"{FOLDER}/storage.go",
    before="""\
func (s *Storage) getPartitions() []*partitionWrapper {
""",
    after="""\
// MustFlushToDisk returns when the rows that were added before are on disk.
//
// Calls that come during a flush share the next one.
func (s *Storage) MustFlushToDisk() {
	next := s.flushes.Load() + 1
	s.flushLock.Lock()
	defer s.flushLock.Unlock()
	if s.flushes.Load() >= next {
		return
	}
	s.flushes.Add(1)

	ptws := s.getPartitions()
	defer s.putPartitions(ptws)
	for _, ptw := range ptws {
		ptw.pt.idb.mustFlushToDisk()
		ptw.pt.ddb.mustFlushToDisk()
	}
}

func (s *Storage) getPartitions() []*partitionWrapper {
""",
)
FLUSH_FIELDS = Patch(
    MODULE,
    f"{FOLDER}/storage.go",
    before="""\
	// flushInterval is the interval for flushing in-memory data to disk
""",
    after="""\
	// flushes is the number of calls of MustFlushToDisk that began to flush under flushLock
	flushes   atomic.Uint64
	flushLock sync.Mutex

	// flushInterval is the interval for flushing in-memory data to disk
""",
)
# Parts that are being merged in memory are flushed after it: their deadline is that of the oldest.
FLUSH_ROWS = Patch(
    MODULE,
    f"{FOLDER}/datadb.go",
    before="""\
func (ddb *datadb) mustMergePartsToFiles(pws []*partWrapper) {
""",
    after="""\
func (ddb *datadb) mustFlushToDisk() {
	ddb.rb.flush()
	deadline := time.Now().Add(ddb.flushInterval)
	for {
		ddb.mustFlushInmemoryPartsToFiles(true)
		if !ddb.hasInmemoryParts(deadline) {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

func (ddb *datadb) hasInmemoryParts(deadline time.Time) bool {
	ddb.partsLock.Lock()
	defer ddb.partsLock.Unlock()
	for _, pw := range ddb.inmemoryParts {
		if !pw.flushDeadline.After(deadline) {
			return true
		}
	}
	return false
}

func (ddb *datadb) mustMergePartsToFiles(pws []*partWrapper) {
""",
)
# Without the streams of its rows, queries by stream would not find them. The function that writes
# the index is private to another module; its public one makes a snapshot too, with hard links.
FLUSH_STREAMS = Patch(
    MODULE,
    f"{FOLDER}/indexdb.go",
    before="""\
func (idb *indexdb) mustCreateSnapshotAt(dstDir string) {
""",
    after=f"//go:linkname flushTable {INDEX}.(*Table).flushInmemoryItemsToFiles"
    """
func flushTable(tb *mergeset.Table)

func (idb *indexdb) mustFlushToDisk() {
	created := idb.streamsCreatedTotal.Load()
	if created != idb.streamsFlushed {
		flushTable(idb.tb)
		idb.streamsFlushed = created
	}
}

func (idb *indexdb) mustCreateSnapshotAt(dstDir string) {
""",
)
LINKS = Patch(
    MODULE,
    f"{FOLDER}/indexdb.go",
    before="""\
import (
""",
    after="""\
import (
	_ "unsafe" // for go:linkname

""",
)
FLUSHED_FIELD = Patch(
    MODULE,
    f"{FOLDER}/indexdb.go",
    before="""\
	streamsCreatedTotal atomic.Uint64
""",
    after="""\
	streamsCreatedTotal atomic.Uint64

	// streamsFlushed is the number of created streams on disk. Storage.flushLock guards it.
	streamsFlushed uint64
""",
)
DURABLE = (
    ACKNOWLEDGE,
    STORAGE,
    SHARED_FLUSH,
    FLUSH_FIELDS,
    FLUSH_ROWS,
    FLUSH_STREAMS,
    LINKS,
    FLUSHED_FIELD,
)
