package main

import (
	"fmt"
	"net/http"
	"sync"
	"time"
)

var bounds = [...]float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}

// histogram is what a client library would keep, in the text format that Prometheus reads.
type histogram struct {
	name   string
	lock   sync.Mutex // guards the rest
	counts [len(bounds)]uint64
	n      uint64
	sum    float64
}

func newHistogram(name string) *histogram { return &histogram{name: name} }

func (h *histogram) observe(d time.Duration) {
	h.lock.Lock()
	defer h.lock.Unlock()
	for i, bound := range bounds {
		if d.Seconds() <= bound {
			h.counts[i]++
		}
	}
	h.n++
	h.sum += d.Seconds()
}

func (h *histogram) measure(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		defer func() { h.observe(time.Since(began)) }()
		next(w, r)
	}
}

func (h *histogram) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	h.lock.Lock()
	counts, n, sum := h.counts, h.n, h.sum
	h.lock.Unlock()
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	fmt.Fprintf(w, "# HELP %s How long answering a request took.\n# TYPE %s histogram\n", h.name, h.name)
	for i, bound := range bounds {
		fmt.Fprintf(w, "%s_bucket{handler=\"/order\",le=\"%g\"} %d\n", h.name, bound, counts[i])
	}
	fmt.Fprintf(w, "%s_bucket{handler=\"/order\",le=\"+Inf\"} %d\n", h.name, n)
	fmt.Fprintf(w, "%s_sum{handler=\"/order\"} %g\n%s_count{handler=\"/order\"} %d\n", h.name, sum, h.name, n)
}
