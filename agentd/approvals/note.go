package approvals

// NoteKind is the kind of the notes in the record that tell of approvals.
const NoteKind = "approval"

// note records what happens to r.
func (d *Desk) note(r *request, what string, attrs ...any) error {
	attrs = append([]any{"id", r.ID, "workload", r.Workload.Name, "target", r.Target, "rule", r.Rule, "shown", r.Shown}, attrs...)
	if what == "asked" || what == "granted" || what == "denied" || what == "agreed" {
		attrs = append(attrs, "session", r.Session, "seq", r.Seq)
	}
	return d.options.Recorder.Note(NoteKind, what, attrs...)
}

// noteEnd records that r ends and nothing is let through by it. That has effect
// even where it cannot be recorded, which is logged: the record says so itself
// as soon as it can.
func (d *Desk) noteEnd(r *request, state State, why string) {
	if err := d.note(r, state.String(), "reason", why); err != nil {
		d.options.Log.Error("record the end of a request for approval", "id", r.ID, "state", state, "error", err)
	}
}
