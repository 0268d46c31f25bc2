"""Changes of VictoriaLogs that are made when it is built (decision 0065).

Unchanged, it loses records that it has accepted: rows beyond 2000 different names in a block are
dropped when they are written, and when blocks are merged. And it ends, again and again, on a record
with two values for one field of its stream. Changed, a block ends where the names would be too
many, and the last value counts. Those of victorialogs_durable.py are about a kill, those of
victorialogs_disk.py about a full disk.
"""

from __future__ import annotations

from stack.components.component import Patch
from stack.components.victorialogs_disk import DISK
from stack.components.victorialogs_durable import DURABLE

MODULE = "github.com/VictoriaMetrics/VictoriaLogs"
FOLDER = "lib/logstorage"

COUNT_NAMES = Patch(
    MODULE,
    f"{FOLDER}/block.go",
    before="""\
		if len(columnIdxs)+len(fields) > maxColumnsPerBlock {
""",
    after="""\
		if len(columnIdxs)+len(fields) > maxColumnsPerBlock && i > 0 {
			names := len(columnIdxs)
			for j := range fields {
				if _, ok := columnIdxs[fields[j].Name]; !ok {
					names++
				}
			}
			if names > maxColumnsPerBlock {
				break
			}
		} else if len(fields) > maxColumnsPerBlock {
""",
)
# The caller writes the rows that the block did not take to the next one.
NEXT_BLOCK = Patch(
    MODULE,
    f"{FOLDER}/block_stream_writer.go",
    before="""\
	b := getBlock()
	b.MustInitFromRows(timestamps, rows)
	bsw.MustWriteBlock(sid, b)
	putBlock(b)
}
""",
    after="""\
	for len(timestamps) > 0 {
		b := getBlock()
		b.MustInitFromRows(timestamps, rows)
		n := max(b.Len(), 1)
		bsw.MustWriteBlock(sid, b)
		putBlock(b)
		timestamps, rows = timestamps[n:], rows[n:]
	}
}
""",
)
# Blocks have to be in the order of their first times: so they are kept apart before a merge.
MERGE_NAMES = Patch(
    MODULE,
    f"{FOLDER}/block_stream_merger.go",
    before="""\
		bsm.mustFlushRows()
		bsm.mustWriteBlockData(bd)
	default:
""",
    after="""\
		bsm.mustFlushRows()
		bsm.mustWriteBlockData(bd)
	case bsm.countNames(bd) > maxColumnsPerBlock:
		bsm.mustFlushRows()
		bsm.mustWriteBlockData(bd)
	default:
""",
)
NAMES = Patch(
    MODULE,
    f"{FOLDER}/block_stream_merger.go",
    before="""\
func (bsm *blockStreamMerger) mustUnmarshalRows(bd *blockData) {
""",
    after="""\
// countNames returns the number of different field names of the pending rows and bd together.
func (bsm *blockStreamMerger) countNames(bd *blockData) int {
	bsm.addNames(&bsm.bd)
	count := len(bsm.names)
	for i := range bd.columnsData {
		if _, ok := bsm.names[bd.columnsData[i].name]; !ok {
			count++
		}
	}
	for i := range bd.constColumns {
		if _, ok := bsm.names[bd.constColumns[i].Name]; !ok {
			count++
		}
	}
	return count
}

func (bsm *blockStreamMerger) addNames(bd *blockData) {
	if bsm.names == nil {
		bsm.names = make(map[string]struct{})
	}
	add := func(name string) {
		if _, ok := bsm.names[name]; !ok {
			bsm.names[strings.Clone(name)] = struct{}{}
		}
	}
	for i := range bd.columnsData {
		add(bd.columnsData[i].name)
	}
	for i := range bd.constColumns {
		add(bd.constColumns[i].Name)
	}
}

func (bsm *blockStreamMerger) mustUnmarshalRows(bd *blockData) {
	bsm.addNames(bd)
""",
)
NAMES_FIELD = Patch(
    MODULE,
    f"{FOLDER}/block_stream_merger.go",
    before="""\
	// rows is pending log entries.
	rows rows

""",
    after="""\
	// rows is pending log entries.
	rows rows

	// names has the field names of rows.
	names map[string]struct{}

""",
)
RESET_NAMES = Patch(
    MODULE,
    f"{FOLDER}/block_stream_merger.go",
    before="""\
	bsm.bd.reset()
	bsm.a.reset()

	bsm.rows.reset()
""",
    after="""\
	bsm.bd.reset()
	bsm.a.reset()

	clear(bsm.names)
	bsm.rows.reset()
""",
)
ONE_TAG = Patch(
    MODULE,
    f"{FOLDER}/stream_tags.go",
    before="""\
	st.tags = append(st.tags, Field{
		Name:  name,
""",
    after="""\
	for i := range st.tags {
		if st.tags[i].Name == name {
			st.tags[i].Value = value
			return
		}
	}
	st.tags = append(st.tags, Field{
		Name:  name,
""",
)
PATCHES = (
    *(COUNT_NAMES, NEXT_BLOCK, MERGE_NAMES, NAMES, NAMES_FIELD, RESET_NAMES, ONE_TAG),
    *(*DURABLE, *DISK),
)
