package policy

// Forget makes the next session of any kind be like none before.
func (e *Engine) Forget() { clear(e.folded) }
