package agentd

import "agentd.dev/policy/document"

// A Size is a number of bytes, a Duration a length of time, as files write them.
type (
	Size     = document.Size
	Duration = document.Duration
)

// What reads them, in few words.
var (
	size     = document.ReadSize
	duration = document.ReadDuration
)
