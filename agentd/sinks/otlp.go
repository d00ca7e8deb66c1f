package sinks

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/log"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/resource"
	semconv "go.opentelemetry.io/otel/semconv/v1.37.0"
	"go.opentelemetry.io/otel/trace"
	collector "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	"google.golang.org/protobuf/proto"
)

// An OTLP is a sink that gets records as OpenTelemetry logs, by OTLP over HTTP in
// protobuf.
type OTLP struct {
	URL    string // where there is no path, /v1/logs
	Header Header
	TLS    TLS
}

// A Header is what a receiver wants to see to take records. Without a name, none.
type Header struct {
	Name   string
	Source string // where the value is, by which two are compared
	Value  Secret
}

// An otlp brings a batch by the SDK: its records are made by a provider, whose
// processor only collects them, and exported in one request. The SDK's own queue
// would drop what it has no room for.
type otlp struct {
	*OTLP
	exporter *otlploghttp.Exporter
	provider *sdklog.LoggerProvider
	logger   log.Logger
	made     collected
	client   *http.Client
	answer   answer
}

// An answer is what the receiver said of the last request.
type answer struct {
	code     int
	rejected int64
}

// collected is a processor that keeps the records.
type collected []sdklog.Record

func (c *collected) Enabled(context.Context, sdklog.EnabledParameters) bool { return true }

func (c *collected) OnEmit(_ context.Context, r *sdklog.Record) error {
	*c = append(*c, r.Clone())
	return nil
}

func (c *collected) Shutdown(context.Context) error   { return nil }
func (c *collected) ForceFlush(context.Context) error { return nil }

func newOTLP(c *OTLP, o *Options) (*otlp, error) {
	s := &otlp{OTLP: c}
	u, err := url.Parse(c.URL)
	if err != nil {
		return nil, errors.New("its URL is none")
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/v1/logs"
	}
	// What agentd's environment says to OpenTelemetry programs is not meant for it.
	s.exporter, err = otlploghttp.New(context.Background(),
		otlploghttp.WithEndpointURL(u.String()), otlploghttp.WithHeaders(map[string]string{}), otlploghttp.WithCompression(otlploghttp.GzipCompression),
		otlploghttp.WithHTTPClient(&http.Client{Transport: s, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}),
		otlploghttp.WithRetry(otlploghttp.RetryConfig{}), otlploghttp.WithTimeout(attempt))
	if err != nil {
		return nil, discreet(err)
	}
	s.provider = sdklog.NewLoggerProvider(sdklog.WithProcessor(&s.made), sdklog.WithResource(resource.NewWithAttributes(semconv.SchemaURL,
		semconv.ServiceName("agentd"), semconv.ServiceVersion(o.Version), semconv.HostName(o.Node), semconv.K8SNodeName(o.Node))))
	s.logger = s.provider.Logger("agentd.dev/record", log.WithInstrumentationVersion(o.Version))
	return s, nil
}

// RoundTrip implements http.RoundTripper: it adds the header, and notes what the
// receiver says, which the SDK would put into an error text.
func (s *otlp) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	if s.Header.Name != "" {
		value, err := s.Header.Value(req.Context())
		if err != nil {
			return nil, err
		}
		req.Header.Set(s.Header.Name, value)
	}
	if s.client == nil {
		var err error
		if s.client, err = newClient(&s.TLS); err != nil {
			return nil, err
		}
	}
	resp, err := s.client.Transport.RoundTrip(req)
	if err != nil {
		s.hangUp()
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return nil, err
	}
	s.answer = answer{code: resp.StatusCode}
	var said collector.ExportLogsServiceResponse
	if resp.StatusCode/100 == 2 && proto.Unmarshal(body, &said) == nil {
		s.answer.rejected = said.GetPartialSuccess().GetRejectedLogRecords()
	}
	resp.Body = io.NopCloser(bytes.NewReader(nil)) // the SDK need not know more
	return resp, nil
}

func (s *otlp) send(ctx context.Context, batch []Record) error {
	s.made = s.made[:0]
	for i := range batch {
		s.emit(&batch[i])
	}
	s.answer = answer{}
	err := s.exporter.Export(ctx, s.made)
	if s.answer.code == 0 && err != nil {
		return discreet(err)
	}
	if err := answered(s.answer.code); err != nil {
		return err
	}
	if n := s.answer.rejected; n > 0 { // it does not say which
		return refusedError{fmt.Errorf("it rejected %d records", n)}
	}
	return nil
}

// severities are what grades are in OpenTelemetry.
var severities = [...]log.Severity{routine: log.SeverityInfo, notable: log.SeverityInfo2, warning: log.SeverityWarn, trouble: log.SeverityError}

// emit has the SDK make a log record of one of ours.
func (s *otlp) emit(r *Record) {
	var to log.Record
	to.SetEventName("agentd." + r.Type)
	to.SetTimestamp(r.Time)
	to.SetObservedTimestamp(time.Now())
	g := severities[gradeOf(r)]
	to.SetSeverity(g)
	to.SetSeverityText(g.String())
	to.SetBody(attribute.StringValue(summary(r)))
	to.AddAttributes(attributes(r)...)
	ctx := context.Background()
	for _, claims := range []map[string]string{r.Claims, r.sessionClaims()} {
		// The claim is what a traceparent names the trace by: its span is not kept.
		if id, err := trace.TraceIDFromHex(claims["trace"]); err == nil {
			ctx = trace.ContextWithSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{TraceID: id}))
			break
		}
	}
	s.logger.Emit(ctx, to)
}

func (r *Record) sessionClaims() map[string]string {
	if r.Session == nil {
		return nil
	}
	return r.Session.Claims
}

// attributes are those of a record: by OpenTelemetry's conventions where there are
// some.
func attributes(r *Record) []attribute.KeyValue {
	list := []attribute.KeyValue{
		attribute.Int64("agentd.record.index", r.Index),
		attribute.String("agentd.record.leaf", hex.EncodeToString(r.Leaf[:])),
		attribute.String("agentd.record.type", r.Type),
	}
	text := func(key attribute.Key, value string) {
		if value != "" {
			list = append(list, key.String(value))
		}
	}
	number := func(key attribute.Key, value int64) {
		if value != 0 {
			list = append(list, key.Int64(value))
		}
	}
	text(semconv.SessionIDKey, r.ID)
	number("agentd.seq", int64(r.Seq))
	text("agentd.verdict", r.Verdict)
	text("agentd.rule", r.Rule)
	text("agentd.reason", r.Reason)
	text("agentd.unclassified", r.Unclassified)
	text("agentd.approval", r.Approval)
	if len(r.Alerts) > 0 {
		list = append(list, attribute.StringSlice("agentd.alerts", r.Alerts))
	}
	if r.Type != "note" {
		text(semconv.DBQueryTextKey, r.SQL)
	}
	text(semconv.DBOperationNameKey, strings.ToUpper(r.fact("sql.verb", "sql.verbs")))
	text(semconv.DBCollectionNameKey, r.fact("sql.tables"))
	text(semconv.DBResponseStatusCodeKey, r.Code)
	if r.Type == "outcome" {
		list = append(list, semconv.DBResponseReturnedRows(int(r.Rows)), attribute.Float64("agentd.duration", r.Took.Seconds()))
		number("agentd.rows.affected", r.Affected)
		number("agentd.values.masked", r.Masked)
		text("agentd.error.message", r.Message)
	}
	if s := r.Session; s != nil {
		list = append(list, s.attributes()...)
	}
	return list
}

// fact is the first of a record's facts of these names, if it is a text or a list
// of one.
func (r *Record) fact(names ...string) string {
	for _, name := range names {
		var one string
		var list []string
		switch raw := r.Facts[name]; {
		case raw == nil:
		case json.Unmarshal(raw, &one) == nil:
			return one
		case json.Unmarshal(raw, &list) == nil && len(list) == 1:
			return list[0]
		}
	}
	return ""
}

func (s *Session) attributes() (list []attribute.KeyValue) {
	for _, a := range []struct {
		key   attribute.Key
		value string
	}{
		{"agentd.workload", s.Workload},
		{"agentd.workload.source", s.Source},
		{"agentd.target", s.Target},
		{semconv.DBSystemNameKey, systems[s.Protocol]},
		{semconv.DBNamespaceKey, s.Database},
		{"db.user.name", s.User},
		{"agentd.application", s.Application},
		{semconv.K8SNamespaceNameKey, s.Namespace},
		{semconv.K8SPodNameKey, s.Pod},
		{semconv.K8SPodUIDKey, s.PodUID},
		{semconv.K8SContainerNameKey, s.Container},
		{semconv.ContainerIDKey, s.ContainerID},
		{semconv.ContainerImageNameKey, s.Image},
		{"agentd.service_account", s.ServiceAccount},
		{"agentd.owner", s.Owner},
		{semconv.ProcessCommandKey, s.Comm},
		{semconv.ProcessExecutablePathKey, s.Exe},
	} {
		if a.value != "" {
			list = append(list, a.key.String(a.value))
		}
	}
	if s.PID != 0 {
		list = append(list, semconv.ProcessPID(s.PID))
	}
	if at, err := netip.ParseAddrPort(s.Address); err == nil {
		server := s.Host
		if server == "" {
			server = at.Addr().String()
		}
		list = append(list, semconv.ServerAddress(server), semconv.ServerPort(int(at.Port())))
	}
	for name, value := range s.Claims {
		list = append(list, attribute.String("agentd.claim."+name, value))
	}
	return list
}

// systems are what protocols are called by db.system.name.
var systems = map[string]string{"postgres": "postgresql"}

func (s *otlp) hangUp() {
	if s.client != nil {
		s.client.CloseIdleConnections()
		s.client = nil
	}
}

func (s *otlp) close() {
	_ = s.exporter.Shutdown(context.Background())
	_ = s.provider.Shutdown(context.Background())
	s.hangUp()
}
