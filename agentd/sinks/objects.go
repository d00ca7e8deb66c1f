package sinks

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"agentd.dev/recorder"
)

// An Objects is a sink that keeps the log's own files, segments that have ended and
// checkpoints, in a bucket: NODE/segments/NUMBER.seg and NODE/checkpoints/SIZE.
// Nothing is ever written over.
type Objects struct {
	Endpoint, Region, Bucket, Prefix string
	Keys                             string // where the keys are, by which two are compared
	Access, Secret                   Secret
	// Retain is how long the bucket is to keep each object, by its object lock; 0:
	// as long as the bucket says. Compliance: nobody can shorten that.
	Retain     time.Duration
	Compliance bool
	TLS        TLS
}

const checkpointEvery = time.Minute

// A shipper brings files to a bucket.
type shipper struct {
	*sink
	*Objects
	folder  *recorder.Folder
	client  *minio.Client
	file    string
	at      position // Segment: the first that is not there
	checked bool     // the bucket
	signed  time.Time
}

func newShipper(k *sink) (*shipper, error) {
	s := &shipper{sink: k, Objects: k.config.Objects, file: k.opts.file(k.config.Name)}
	var err error
	if s.folder, err = recorder.OpenFolder(k.opts.Log); err != nil {
		return nil, err
	}
	if s.at, _, err = readPosition(s.file); err != nil {
		return nil, err
	}
	u, err := url.Parse(s.Endpoint)
	if err != nil {
		return nil, errors.New("its endpoint is no URL")
	}
	h, err := newClient(&s.TLS)
	if err != nil {
		return nil, err
	}
	s.client, err = minio.New(u.Host, &minio.Options{
		Creds: credentials.New(keys{s.Objects}), Secure: u.Scheme == "https", Transport: h.Transport, Region: s.Region, MaxRetries: 1,
	})
	s.came(s.at.Next, time.Time{})
	return s, err
}

// keys fetches the keys whenever a request is signed.
type keys struct{ *Objects }

func (k keys) Retrieve() (v credentials.Value, err error) { return k.RetrieveWithCredContext(nil) }

func (k keys) RetrieveWithCredContext(*credentials.CredContext) (v credentials.Value, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), attempt)
	defer cancel()
	if v.AccessKeyID, err = reveal(ctx, k.Access); err != nil {
		return v, err
	}
	v.SecretAccessKey, err = reveal(ctx, k.Secret)
	v.SignerType = credentials.SignatureV4
	return v, err
}

func (k keys) IsExpired() bool { return true }

func (s *shipper) close() {}

// pass brings the segments that are not there yet, and the last checkpoint.
func (s *shipper) pass(ctx context.Context) error {
	if !s.checked {
		if err := s.check(ctx); err != nil {
			return said(err)
		}
		s.checked = true
	}
	numbers, err := s.folder.Segments()
	if err != nil {
		return err
	}
	for i, n := range numbers {
		if n < s.at.Segment || i == len(numbers)-1 {
			continue // there already, or still being written
		}
		next, err := s.folder.Header(numbers[i+1])
		if err != nil || next.First > s.opts.Signed() || !s.opts.Whole(n) {
			return err
		}
		if err := s.segment(ctx, n); err != nil {
			return fmt.Errorf("segment %d: %w", n, said(err))
		}
		s.at.Segment, s.at.Next = n+1, next.First
		if err := s.at.write(s.file); err != nil {
			return err
		}
		s.came(s.at.Next, time.Time{})
	}
	return said(s.checkpoint(ctx))
}

// check looks at the bucket before anything is written.
func (s *shipper) check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	there, err := s.client.BucketExists(ctx, s.Bucket)
	if err != nil {
		return err
	}
	if !there {
		return fmt.Errorf("there is no bucket %q, or these keys do not show it", s.Bucket)
	}
	if s.Retain == 0 {
		return nil
	}
	lock, _, _, _, err := s.client.GetObjectLockConfig(ctx, s.Bucket)
	if minio.ToErrorResponse(err).Code == "ObjectLockConfigurationNotFoundError" || err == nil && lock != "Enabled" {
		return fmt.Errorf("the bucket %q has no object lock, which `retain` needs: make one that has, or leave `retain` out", s.Bucket)
	}
	return err
}

// segment brings a segment's file, unless it is there. One that is there, but of
// another history, stays, and the sink with it: nobody but a person can tell which
// is the true one.
func (s *shipper) segment(ctx context.Context, number int64) error {
	head, err := s.folder.Header(number)
	if err != nil {
		return err
	}
	f, err := os.Open(head.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	stat, err := f.Stat()
	if err != nil {
		return err
	}
	s.came(s.at.Next, stat.ModTime()) // when it had ended
	// A slow line is no reason to begin again and again.
	ctx, cancel := context.WithTimeout(ctx, attempt+time.Duration(stat.Size()>>16)*time.Second)
	defer cancel()
	key := s.key("segments", fmt.Sprintf("%012d.seg", number))
	mine := map[string]string{"Agentd-First": strconv.FormatInt(head.First, 10), "Agentd-Before": hex.EncodeToString(head.Before[:])}
	there, err := s.client.StatObject(ctx, s.Bucket, key, minio.StatObjectOptions{})
	switch code := minio.ToErrorResponse(err).StatusCode; {
	case err == nil && there.UserMetadata["Agentd-First"] == mine["Agentd-First"] && there.UserMetadata["Agentd-Before"] == mine["Agentd-Before"]:
		return nil
	case err == nil:
		return fmt.Errorf("%s is there already, and is of another log: give this node's another `prefix`", key)
	case code != 404:
		return err
	}
	options := s.options(mine)
	options.DisableMultipart = stat.Size() < 1<<30
	if _, err := s.client.PutObject(ctx, s.Bucket, key, f, stat.Size(), options); err != nil {
		return err
	}
	s.count(func(c *State) { c.Delivered++ })
	return nil
}

// checkpoint brings the last checkpoint, once a minute if it is another one.
func (s *shipper) checkpoint(ctx context.Context) error {
	signed := s.opts.Latest()
	size, ok := sizeOf(signed)
	if !ok || size == s.at.Checkpoint || time.Since(s.signed) < checkpointEvery {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	key := s.key("checkpoints", fmt.Sprintf("%015d", size))
	if _, err := s.client.PutObject(ctx, s.Bucket, key, bytes.NewReader(signed), int64(len(signed)), s.options(nil)); err != nil {
		return err
	}
	s.count(func(c *State) { c.Delivered++ })
	s.signed, s.at.Checkpoint = time.Now(), size
	return s.at.write(s.file)
}

// sizeOf is how many records a checkpoint is of: its second line.
func sizeOf(signed []byte) (int64, bool) {
	lines := strings.SplitN(string(signed), "\n", 3)
	if len(lines) < 3 {
		return 0, false
	}
	n, err := strconv.ParseInt(lines[1], 10, 64)
	return n, err == nil
}

func (s *shipper) key(folder, name string) string {
	return path.Join(s.Prefix, s.opts.Node, folder, name)
}

func (s *shipper) options(of map[string]string) minio.PutObjectOptions {
	o := minio.PutObjectOptions{UserMetadata: of, ContentType: "application/octet-stream", SendContentMd5: true}
	if s.Retain > 0 {
		o.Mode = minio.Governance
		if s.Compliance {
			o.Mode = minio.Compliance
		}
		o.RetainUntilDate = time.Now().Add(s.Retain).UTC()
	}
	return o
}

// said is what went wrong, without what the server repeats of the request.
func said(err error) error {
	var answer minio.ErrorResponse
	if errors.As(err, &answer) {
		return fmt.Errorf("it answered %d, %s", answer.StatusCode, answer.Code)
	}
	return discreet(err)
}
