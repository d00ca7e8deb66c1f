// Package index finds statements in a recording without reading all of it: a
// SQLite file beside the log, with full text over the statements.
//
// The file is derived from the log and never the truth. It can be deleted or
// rebuilt at any time, says up to which record it goes, and is rebuilt when it
// is damaged or the log is not the one it was made of. Statements themselves
// are read from the log; the index holds their words.
//
// It proves nothing: recorder.Verify does. Nothing of the data path waits for
// it, since those who ask bring it up to date.
package index

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"filippo.io/age"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"agentd.dev/recorder"
)

// version is that of the tables; files of others are rebuilt.
const version = 2

const tables = `
pragma page_size = 8192;
create table upto (version int, records int, leaf blob, segment int, at int);
create table facets (id integer primary key, kind text, value text, unique (kind, value));
create table blocks (id integer primary key, first int, last int);
create table postings (id integer primary key, bits blob);
create table sessions (id integer primary key, name text unique, start int, record int, last int, latest int, state text, summary text);
create index going on sessions (state) where state = 'live';
create table in_sessions (id integer primary key, bits blob);
create table statements (id integer primary key, session int, seq int, time int, kind int, segment int, at int,
  verbs int, tables int, verdict int, rule int, approval int, rows int, ns int, code int, claims text);
create virtual table words using fts5(text, content='', contentless_delete=1, tokenize="unicode61 remove_diacritics 0");
create table lexicon (word text primary key) without rowid;
create table pending (session int, seq int, id int, primary key (session, seq)) without rowid;
create table known (session int, seq int, what text, primary key (session, seq)) without rowid;
create table votes (approval text, who text, groups text);
create index votes_of on votes (approval);
`

// An Index is an open index of one log folder. It is for one goroutine.
type Index struct {
	folder   *recorder.Folder
	db       *sql.DB
	file     string
	names    map[int64]string // of facets, as they are read
	prepared map[string]*sql.Stmt
	text     func(segment, offset int64, session string) (recorder.Text, error)
}

// Open opens the index in file of the log in dir and brings it up to date. If
// there is none, it is damaged, or it is not of this log, it is built anew, and
// notice is told why. The identities read what is encrypted to them: then file is
// a copy of it that is not.
func Open(ctx context.Context, dir, file string, progress func(done, total int64), notice func(why string), ids ...age.Identity) (*Index, error) {
	if _, err := os.Stat(file); err == nil {
		x, err := open(dir, file, ids)
		if err != nil {
			return nil, err
		}
		err = x.update(ctx, progress)
		if err == nil || errors.Is(err, recorder.ErrDamaged) {
			return x, err
		}
		x.Close()
		if ctx.Err() != nil {
			return nil, err
		}
		notice(fmt.Sprintf("the index is built anew: %v", err))
	}
	return Rebuild(ctx, dir, file, progress, ids...)
}

// Rebuild makes the index anew from the log in dir, beside the file that it
// then replaces. With recorder.ErrDamaged it is of what can be read.
func Rebuild(ctx context.Context, dir, file string, progress func(done, total int64), ids ...age.Identity) (*Index, error) {
	temp, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*.new") // mode 0600
	if err != nil {
		return nil, fmt.Errorf("create the index: %w", err)
	}
	temp.Close()
	defer os.Remove(temp.Name()) // there only if it did not take its place
	x, err := open(dir, temp.Name(), ids)
	if err != nil {
		return nil, err
	}
	_, err = x.db.ExecContext(ctx, "pragma synchronous=off; pragma journal_mode=off;"+tables)
	if err == nil {
		_, err = x.db.ExecContext(ctx, "insert into upto values (?, 0, x'', 0, 0)", version)
	}
	var damage error
	if err == nil {
		if err = x.update(ctx, progress); errors.Is(err, recorder.ErrDamaged) {
			err, damage = nil, err
		}
	}
	if err = errors.Join(err, x.Close()); err != nil {
		return nil, fmt.Errorf("build the index: %w", err)
	}
	os.Remove(file + "-journal") // of what is replaced
	if err := os.Rename(temp.Name(), file); err != nil {
		return nil, err
	}
	if x, err = open(dir, file, ids); err != nil {
		return nil, err
	}
	return x, damage
}

// Close closes the file.
func (x *Index) Close() error { return x.db.Close() }

func open(dir, file string, ids []age.Identity) (*Index, error) {
	folder, err := recorder.OpenFolder(dir, ids...)
	if err != nil {
		return nil, err
	}
	name := url.URL{Scheme: "file", Path: file, RawQuery: "_txlock=immediate&_pragma=busy_timeout(10000)&_pragma=cache_size(-32000)"}
	db, err := sql.Open("sqlite", name.String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	return &Index{folder: folder, db: db, file: file, names: map[int64]string{}, prepared: map[string]*sql.Stmt{}, text: folder.TextAt}, nil
}

// Records is how many records of the log the index has.
func (x *Index) Records(ctx context.Context) (n int64, err error) {
	err = x.db.QueryRowContext(ctx, "select records from upto").Scan(&n)
	return n, err
}
