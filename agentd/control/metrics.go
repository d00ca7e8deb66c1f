package control

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// A Snapshot is every number the metrics show, read at one moment from the
// counters that the parts of agentd keep anyway: nothing calls Prometheus on
// the way of a statement.
type Snapshot struct {
	Sessions       int64            // since the daemon started
	Live           int64            // sessions now
	Statements     map[string]int64 // by verdict
	Bytes          map[string]int64 // by the direction they travelled in: client, server
	Latency        Histogram        // what agentd added to statements, in seconds
	Records        int64
	RecordFailures int64
	RecordLost     int64
	RecordBroken   bool
	Syncs          int64
	SyncTime       int64            // microseconds
	Space          map[string]int64 // bytes of the log's disk: free, floor
	Checkpoints    int64
	Segments       map[string]int64 // of the log, sealed and emptied since the daemon started, unsealed and held now
	Refused        map[string]int64 // connections, by reason
	Reloads        int64            // of configuration and policies
	ReloadFailures int64            // readings of them that were wrong
	ConfigLoaded   int64            // when those in force were read, in seconds since 1970
	Capture        map[string]int64 // connections by what the kernel side did with them, as "redirected"
	Workloads      int64            // captured now
	Grammar        map[string]int64 // what came of statements that were new to it, and of its workers, as "studied", "died"
	Shadows        map[string]int64 // what rules in shadow mode would have decided, by rule
	Alerts         map[string]int64 // by rule
	Verified       bool             // every workload was seen to be captured

	ApprovalsPending int64            // requests that wait for a person now
	Approvals        map[string]int64 // requests by what became of them, as "granted"
	ToDecide         Histogram        // how long people took to decide, in seconds

	// UsageWorkloads are those that are counted, UsageFull those that use more
	// names than are kept, UsageUncounted sessions that there was no room for.
	UsageWorkloads, UsageFull, UsageUncounted int64

	// Of webhooks, by name: notices that came, that never will, and that wait;
	// attempts that came to nothing; how old the oldest is that waits, in seconds.
	HookDelivered, HookDropped, HookWaiting, HookFailures, HookLag map[string]int64

	// By where checkpoints go: records and seconds since the last that left, and
	// attempts that came to nothing.
	CheckpointBehind, CheckpointLag, CheckpointFailures map[string]int64
}

// A Histogram counts values by bucket.
type Histogram struct {
	Bounds []float64 // upper bounds, rising
	Counts []int64   // per bucket; one more than Bounds, for what is above
	Sum    float64
}

// A Collector shows snapshots as Prometheus metrics.
type Collector struct {
	Read func() Snapshot // called once per scrape
}

// A metric is how one field of a Snapshot is shown.
type metric struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	// one of:
	value  func(*Snapshot) int64
	values func(*Snapshot) map[string]int64 // by the metric's label
}

// metrics is every metric but the histograms.
var metrics = []metric{
	{desc: desc("up", "1 while the daemon answers."), kind: prometheus.GaugeValue, value: func(*Snapshot) int64 { return 1 }},
	{desc: desc("sessions_total", "Sessions since the daemon started."), kind: prometheus.CounterValue, value: func(s *Snapshot) int64 { return s.Sessions }},
	{desc: desc("sessions_live", "Sessions now."), kind: prometheus.GaugeValue, value: func(s *Snapshot) int64 { return s.Live }},
	{desc: desc("statements_total", "Statements judged, by verdict.", "verdict"), kind: prometheus.CounterValue, values: func(s *Snapshot) map[string]int64 { return s.Statements }},
	{desc: desc("bytes_total", "Bytes relayed, by where they came from.", "dir"), kind: prometheus.CounterValue, values: func(s *Snapshot) map[string]int64 { return s.Bytes }},
	{desc: desc("records_total", "Records written to the log."), kind: prometheus.CounterValue, value: func(s *Snapshot) int64 { return s.Records }},
	{desc: desc("record_failures_total", "Writes to the log that failed; their sessions were stopped."), kind: prometheus.CounterValue, value: func(s *Snapshot) int64 { return s.RecordFailures }},
	{desc: desc("checkpoints_total", "Checkpoints of the log that were signed."), kind: prometheus.CounterValue, value: func(s *Snapshot) int64 { return s.Checkpoints }},
	{desc: desc("record_segments", "Segments of the log that have ended, by what became of them: sealed and emptied since the daemon started; unsealed (they could not be) and held now.", "state"), kind: prometheus.GaugeValue, values: func(s *Snapshot) map[string]int64 { return s.Segments }},
	{desc: desc("record_lost_total", "Records that could not be written; what they were about did not happen, or had been already."), kind: prometheus.CounterValue, value: func(s *Snapshot) int64 { return s.RecordLost }},
	{desc: desc("record_broken", "1 while nothing can be recorded: sessions end, and none begins."), kind: prometheus.GaugeValue, value: func(s *Snapshot) int64 { return one(s.RecordBroken) }},
	{desc: desc("record_syncs_total", "Times that the log was synced to the disk, each for all that waited for it."), kind: prometheus.CounterValue, value: func(s *Snapshot) int64 { return s.Syncs }},
	{desc: desc("record_sync_microseconds_total", "How long those took."), kind: prometheus.CounterValue, value: func(s *Snapshot) int64 { return s.SyncTime }},
	{desc: desc("record_disk_bytes", "Of the disk that the log is on, what is free, and the floor below which no session begins.", "what"), kind: prometheus.GaugeValue, values: func(s *Snapshot) map[string]int64 { return s.Space }},
	{desc: desc("connections_refused_total", "Captured connections that agentd refused, by reason.", "reason"), kind: prometheus.CounterValue, values: func(s *Snapshot) map[string]int64 { return s.Refused }},
	{desc: desc("reloads_total", "Changes of configuration and policies that came into force."), kind: prometheus.CounterValue, value: func(s *Snapshot) int64 { return s.Reloads }},
	{desc: desc("reload_failures_total", "Changes of configuration and policies that did not come into force."), kind: prometheus.CounterValue, value: func(s *Snapshot) int64 { return s.ReloadFailures }},
	{desc: desc("config_loaded_timestamp_seconds", "When the configuration and policies in force were read."), kind: prometheus.GaugeValue, value: func(s *Snapshot) int64 { return s.ConfigLoaded }},
	{desc: desc("grammar_total", "Statements that were new to the grammar (studied, busy), and ends of its workers (late, died, grown).", "event"), kind: prometheus.CounterValue, values: func(s *Snapshot) map[string]int64 { return s.Grammar }},
	{desc: desc("approvals_pending", "Requests that wait for a person."), kind: prometheus.GaugeValue, value: func(s *Snapshot) int64 { return s.ApprovalsPending }},
	{desc: desc("approvals_total", "Requests for approval, by what became of them; refused: nobody could be asked.", "outcome"), kind: prometheus.CounterValue, values: func(s *Snapshot) map[string]int64 { return s.Approvals }},
	{desc: desc("usage_workloads", "Workloads whose use of targets is counted."), kind: prometheus.GaugeValue, value: func(s *Snapshot) int64 { return s.UsageWorkloads }},
	{desc: desc("usage_full_workloads", "Workloads that use more tables, verbs and programs than are kept, so that none is known to be new."), kind: prometheus.GaugeValue, value: func(s *Snapshot) int64 { return s.UsageFull }},
	{desc: desc("usage_uncounted_sessions_total", "Sessions of workloads that there was no room to count for: rules that ask what they used apply."), kind: prometheus.CounterValue, value: func(s *Snapshot) int64 { return s.UsageUncounted }},
	{desc: desc("webhook_delivered_total", "Notices that a webhook has taken.", "hook"), kind: prometheus.CounterValue, values: func(s *Snapshot) map[string]int64 { return s.HookDelivered }},
	{desc: desc("webhook_dropped_total", "Notices that a webhook never got: it refused them, they were too old, or too many.", "hook"), kind: prometheus.CounterValue, values: func(s *Snapshot) map[string]int64 { return s.HookDropped }},
	{desc: desc("webhook_failures_total", "Attempts to bring a notice to a webhook that came to nothing.", "hook"), kind: prometheus.CounterValue, values: func(s *Snapshot) map[string]int64 { return s.HookFailures }},
	{desc: desc("webhook_waiting", "Notices that wait for a webhook.", "hook"), kind: prometheus.GaugeValue, values: func(s *Snapshot) map[string]int64 { return s.HookWaiting }},
	{desc: desc("webhook_lag_seconds", "How old the oldest notice is that waits for a webhook.", "hook"), kind: prometheus.GaugeValue, values: func(s *Snapshot) map[string]int64 { return s.HookLag }},
	{desc: desc("checkpoint_behind_records", "Records since the last checkpoint that left the node.", "to"), kind: prometheus.GaugeValue, values: func(s *Snapshot) map[string]int64 { return s.CheckpointBehind }},
	{desc: desc("checkpoint_lag_seconds", "How long ago the last checkpoint left the node.", "to"), kind: prometheus.GaugeValue, values: func(s *Snapshot) map[string]int64 { return s.CheckpointLag }},
	{desc: desc("checkpoint_leave_failures_total", "Attempts to have a checkpoint leave the node that came to nothing.", "to"), kind: prometheus.CounterValue, values: func(s *Snapshot) map[string]int64 { return s.CheckpointFailures }},
	{desc: desc("shadows_total", "Events that a rule in shadow mode would have decided otherwise.", "rule"), kind: prometheus.CounterValue, values: func(s *Snapshot) map[string]int64 { return s.Shadows }},
	{desc: desc("alerts_total", "Events that a rule with do: alert matched.", "rule"), kind: prometheus.CounterValue, values: func(s *Snapshot) map[string]int64 { return s.Alerts }},
	{desc: desc("capture_workloads", "Workloads that are captured."), kind: prometheus.GaugeValue, value: func(s *Snapshot) int64 { return s.Workloads }},
	{desc: desc("capture_verified", "1 if every workload was seen to be captured."), kind: prometheus.GaugeValue, value: func(s *Snapshot) int64 { return one(s.Verified) }},
}

// The metrics that are histograms.
var (
	latency  = desc("added_latency_seconds", "Time from a statement's arrival at agentd until it had left again.")
	toDecide = desc("approval_decision_seconds", "Time from a request for approval until people had granted or denied it.")
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("agentd_"+name, help, labels, nil)
}

func one(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// MetricsHandler answers scrapes with c's metrics and those of the Go runtime
// and the process.
func MetricsHandler(c Collector) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(c, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
}

// Describe implements prometheus.Collector.
func (c Collector) Describe(out chan<- *prometheus.Desc) {
	for _, m := range metrics {
		out <- m.desc
	}
	out <- latency
	out <- toDecide
}

// Collect implements prometheus.Collector.
func (c Collector) Collect(out chan<- prometheus.Metric) {
	s := c.Read()
	for _, m := range metrics {
		if m.value != nil {
			out <- prometheus.MustNewConstMetric(m.desc, m.kind, float64(m.value(&s)))
			continue
		}
		for label, n := range m.values(&s) {
			out <- prometheus.MustNewConstMetric(m.desc, m.kind, float64(n), label)
		}
	}
	// Their names are the kernel side's, so they are not described ahead.
	for event, n := range s.Capture {
		d := desc("capture_"+event+"_total", "Connections that the kernel side has "+event+".")
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n))
	}
	out <- s.Latency.metric(latency)
	out <- s.ToDecide.metric(toDecide)
}

func (h Histogram) metric(desc *prometheus.Desc) prometheus.Metric {
	count, buckets := h.cumulative()
	return prometheus.MustNewConstHistogram(desc, count, h.Sum, buckets)
}

// cumulative returns how many values there are in all, and up to each bound.
func (h Histogram) cumulative() (uint64, map[float64]uint64) {
	var sum uint64
	buckets := make(map[float64]uint64, len(h.Bounds))
	for i, n := range h.Counts {
		sum += uint64(n)
		if i < len(h.Bounds) {
			buckets[h.Bounds[i]] = sum
		}
	}
	return sum, buckets
}
