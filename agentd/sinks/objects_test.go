package sinks_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"agentd.dev/agentd/sinks"
	"agentd.dev/recorder"
)

// A bucket is on an S3 server that runs for a test: agentd/internal/s3 says which.
type bucket struct {
	*minio.Client
	url string
}

// s3Server builds the server, once.
var s3Server = sync.OnceValues(func() (string, error) {
	program := filepath.Join(scratch, "s3")
	build := exec.Command("go", "build", "-o", program, "github.com/versity/versitygw/cmd/versitygw")
	build.Dir = "../internal/s3"
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the S3 server: %v\n%s", err, out)
	}
	return program, nil
})

func newBucket(t *testing.T, lock bool) *bucket {
	t.Helper()
	program, err := s3Server()
	if err != nil {
		t.Fatal(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := free.Addr().String()
	free.Close()
	data, meta, versions := t.TempDir(), t.TempDir(), t.TempDir()
	server := exec.Command(program, "--access", "access", "--secret", "secret-key", "--port", at, "--quiet", "posix", "--sidecar", meta, "--versioning-dir", versions, data)
	var out strings.Builder
	server.Stdout, server.Stderr = &out, &out
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
		if t.Failed() {
			t.Log(out.String())
		}
	})
	client, err := minio.New(at, &minio.Options{Creds: credentials.NewStaticV4("access", "secret-key", ""), Region: "us-east-1", MaxRetries: 1})
	if err != nil {
		t.Fatal(err)
	}
	await(t, "the S3 server", func() bool {
		conn, err := net.Dial("tcp", at)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	if err := client.MakeBucket(context.Background(), "record", minio.MakeBucketOptions{ObjectLocking: lock}); err != nil {
		t.Fatal(err)
	}
	return &bucket{client, "http://" + at}
}

func (b *bucket) sink(change ...func(*sinks.Objects)) sinks.Config {
	o := &sinks.Objects{Endpoint: b.url, Bucket: "record", Region: "us-east-1", Prefix: "agentd", Access: secret("access"), Secret: secret("secret-key")}
	for _, f := range change {
		f(o)
	}
	return sinks.Config{Name: "bucket", Objects: o}
}

// names are the objects that are there.
func (b *bucket) names(t *testing.T) (list []string) {
	t.Helper()
	for o := range b.ListObjects(context.Background(), "record", minio.ListObjectsOptions{Recursive: true}) {
		if o.Err != nil {
			t.Fatal(o.Err)
		}
		list = append(list, o.Key)
	}
	return list
}

func smallSegments(o *recorder.Options) { o.SegmentBytes = 64 << 10 }

func TestABucketHoldsALogThatVerifies(t *testing.T) {
	l, b := newLog(t, smallSegments), newBucket(t, true)
	l.notes(t, 2000)
	lock := func(o *sinks.Objects) { o.Retain = 24 * time.Hour }
	s := l.start(t, b.sink(lock))
	await(t, "segments that ended, and a checkpoint", func() bool {
		if p := s.States()["bucket"].Problem; p != "" {
			t.Fatal(p)
		}
		names := strings.Join(b.names(t), " ")
		return strings.Contains(names, "checkpoints/") && l.Stats().SignedSize == 2001 && s.States()["bucket"].Behind < 1000
	})
	s.Rest(0)
	before := b.names(t)

	for _, name := range before {
		got := filepath.Join(t.TempDir(), "got")
		if err := b.FGetObject(context.Background(), "record", name, got, minio.GetObjectOptions{}); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(name, "/segments/") {
			ours, _ := os.ReadFile(filepath.Join(l.opts.Log, filepath.Base(name)))
			if theirs, _ := os.ReadFile(got); string(ours) != string(theirs) {
				t.Errorf("%s: got %d bytes that are not the segment's %d", name, len(theirs), len(ours))
			}
		}
		stat, err := b.StatObject(context.Background(), "record", name, minio.StatObjectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		mode := stat.Metadata.Get("X-Amz-Object-Lock-Mode")
		until, err := time.Parse(time.RFC3339, stat.Metadata.Get("X-Amz-Object-Lock-Retain-Until-Date"))
		if mode != "GOVERNANCE" || err != nil || time.Until(until) < 23*time.Hour {
			t.Errorf("%s: got the lock %q until %v (%v), want governance for a day", name, mode, until, err)
		}
		if b.RemoveObject(context.Background(), "record", name, minio.RemoveObjectOptions{VersionID: stat.VersionID}) == nil {
			t.Errorf("%s: it could be removed, want it locked", name)
		}
	}

	// Its position is lost: what is there is not brought again.
	if err := os.RemoveAll(l.opts.State); err != nil {
		t.Fatal(err)
	}
	l.notes(t, 2000)
	s = l.start(t, b.sink(lock))
	await(t, "more segments", func() bool { return len(b.names(t)) > len(before)+1 && s.States()["bucket"].Behind < 1000 })
	versions := map[string]int{}
	for o := range b.ListObjects(context.Background(), "record", minio.ListObjectsOptions{Recursive: true, WithVersions: true}) {
		versions[o.Key]++
	}
	for name, n := range versions {
		if n > 1 && strings.Contains(name, "segments") {
			t.Errorf("%s was brought %d times, want once", name, n)
		}
	}
}

func TestABucketIsNotGivenAnotherLog(t *testing.T) {
	b := newBucket(t, false)
	for i, want := range []string{"", "of another log"} {
		l := newLog(t, smallSegments)
		l.statement(t, fmt.Sprint("select ", i), allowed)
		l.notes(t, 2000)
		s := l.start(t, b.sink(func(o *sinks.Objects) { o.Prefix = "one" }))
		await(t, "what comes of it", func() bool {
			now := s.States()["bucket"]
			return now.Problem != "" || now.Delivered > 2
		})
		if got := s.States()["bucket"].Problem; (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("log %d: got %q, want %q", i, got, want)
		}
		s.Rest(0)
	}
	l := newLog(t)
	for _, tt := range []struct {
		change func(*sinks.Objects)
		want   string
	}{
		{func(o *sinks.Objects) { o.Retain = time.Hour }, "no object lock"},
		{func(o *sinks.Objects) { o.Bucket = "other" }, `no bucket "other"`},
		{func(o *sinks.Objects) { o.Secret = secret("wrong") }, "403"},
	} {
		s := l.start(t, b.sink(tt.change))
		await(t, "a problem", func() bool { return s.States()["bucket"].Problem != "" })
		if got := s.States()["bucket"].Problem; !strings.Contains(got, tt.want) {
			t.Errorf("got %q, want %q in it", got, tt.want)
		}
		s.Rest(0)
	}
}
