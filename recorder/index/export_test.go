package index

import (
	"context"
	"errors"

	"agentd.dev/recorder"
)

// Synthesise builds an index of the records that tell tells, of which there is
// no log; their texts are read from text. The log in dir is another.
func Synthesise(ctx context.Context, dir, file string, tell func(visit func(*recorder.Event, recorder.Position) error) error,
	text func(segment, offset int64, session string) (recorder.Text, error),
) (*Index, error) {
	x, err := open(dir, file, nil)
	if err != nil {
		return nil, err
	}
	x.text = text
	if _, err := x.db.ExecContext(ctx, "pragma synchronous=off; pragma journal_mode=off;"+tables); err != nil {
		return nil, err
	}
	tx, err := x.db.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer tx.Rollback()
	u := updating{tx: tx, folder: x.folder, last: recorder.Position{Index: -1}}
	if err := errors.Join(u.begin(), tell(u.visit)); err != nil {
		return nil, err
	}
	if err := errors.Join(u.finish(), tx.Commit()); err != nil {
		return nil, err
	}
	return x, nil
}
