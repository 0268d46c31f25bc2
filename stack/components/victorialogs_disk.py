"""Changes of VictoriaLogs: a disk that another program fills does not end it (decision 0065).

Unchanged, it takes records until the disk is full, as it remembers the free space for two seconds,
and ends when it cannot write what it has in memory. Changed, it refuses records at once below
-storage.minFreeDiskSpaceBytes, and writes nothing below half of that: what it has in memory stays
there, where it can be read, until there is space again.
"""

from __future__ import annotations

from stack.components.component import Patch

MODULE = "github.com/VictoriaMetrics/VictoriaLogs"
FOLDER = "lib/logstorage"
DATADB = f"{FOLDER}/datadb.go"
REFUSE_AT_ONCE = Patch(
    MODULE,
    f"{FOLDER}/storage.go",
    before="""\
	available := fs.MustGetFreeSpace(s.path)
	return available < s.minFreeDiskSpaceBytes
""",
    after="""\
	return freeDiskSpace(s.path) < s.minFreeDiskSpaceBytes
""",
)
IMPORT_SYSCALL = Patch(
    MODULE,
    DATADB,
    before="""\
	"sync/atomic"
	"time"
""",
    after="""\
	"sync/atomic"
	"syscall"
	"time"
""",
)
FREE_SPACE = Patch(
    MODULE,
    DATADB,
    before="""\
func (ddb *datadb) mustFlushInmemoryPartsToFiles(isFinal bool) {
""",
    after="""\
// freeDiskSpace returns the free space now; fs.MustGetFreeSpace remembers it for two seconds.
func freeDiskSpace(path string) uint64 {
	var st syscall.Statfs_t
	if err := syscall.Statfs(path, &st); err != nil {
		return fs.MustGetFreeSpace(path)
	}
	return uint64(st.Bavail) * uint64(st.Bsize)
}

func (ddb *datadb) isDiskAlmostFull() bool {
	return freeDiskSpace(ddb.path) < ddb.pt.s.minFreeDiskSpaceBytes/2
}

// stopWhenDiskIsAlmostFull returns a channel that is closed when stopCh is, or by a full disk.
// The function must be called when the channel is not needed any more.
func (ddb *datadb) stopWhenDiskIsAlmostFull(stopCh <-chan struct{}) (<-chan struct{}, func()) {
	ch := make(chan struct{})
	doneCh := make(chan struct{})
	go func() {
		ticker := time.NewTicker(20 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-doneCh:
				return
			case <-stopCh:
				close(ch)
				return
			case <-ticker.C:
				if ddb.isDiskAlmostFull() {
					close(ch)
					return
				}
			}
		}
	}()
	return ch, func() { close(doneCh) }
}

func (ddb *datadb) mustFlushInmemoryPartsToFiles(isFinal bool) {
	if !needStop(ddb.stopCh) && ddb.isDiskAlmostFull() {
		return
	}
""",
)
NO_BIG_MERGE = Patch(
    MODULE,
    DATADB,
    before="""\
	return getMaxOutBytes(ddb.path)
""",
    after="""\
	if ddb.isDiskAlmostFull() {
		return 0
	}
	return getMaxOutBytes(ddb.path)
""",
)
NO_MERGE = Patch(
    MODULE,
    DATADB,
    before="""\
		partsSize := getCompressedSize(pws)
		if tryReserveDiskSpace""",
    after="""\
		partsSize := getCompressedSize(pws)
		if !isFinal && ddb.isDiskAlmostFull() {
			return false
		}
		if tryReserveDiskSpace""",
)
STOP_MERGE = Patch(
    MODULE,
    DATADB,
    before="""\
		stopCh = nil
	}
""",
    after="""\
		stopCh = nil
	} else if dstPartType != partInmemory {
		ch, done := ddb.stopWhenDiskIsAlmostFull(stopCh)
		defer done()
		stopCh = ch
	}
""",
)
DISK = (REFUSE_AT_ONCE, IMPORT_SYSCALL, FREE_SPACE, NO_BIG_MERGE, NO_MERGE, STOP_MERGE)
