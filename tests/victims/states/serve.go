package main

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"runtime"
	"runtime/metrics"
	"strconv"
	"strings"
)

func handleOwnPaths() {
	http.HandleFunc("/gc", func(w http.ResponseWriter, r *http.Request) {
		runtime.GC()
		runtime.GC()
		fmt.Fprintln(w, "ok")
	})
	http.HandleFunc("/busy", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.FormValue("n"))
		setBusy(n)
		fmt.Fprintln(w, "ok")
	})
	http.HandleFunc("/grow", func(w http.ResponseWriter, r *http.Request) {
		allocateForever()
		fmt.Fprintln(w, "ok")
	})
	http.HandleFunc("/memstats", serveMemStats)
}

// serveMemStats writes {"MemStats": runtime.MemStats, "Metrics": {name: number or histogram}, ...}.
// Infinite bucket bounds, which JSON cannot say, are null.
func serveMemStats(w http.ResponseWriter, r *http.Request) {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]interface{}{
		"MemStats":       stats,
		"Metrics":        readMetrics(),
		"MemProfileRate": runtime.MemProfileRate,
		"Version":        runtime.Version(),
		"NumGoroutine":   runtime.NumGoroutine(),
		"GOMAXPROCS":     runtime.GOMAXPROCS(0),
		"NumCgoCall":     runtime.NumCgoCall(),
	})
}

func readMetrics() map[string]interface{} {
	var samples []metrics.Sample
	for _, d := range metrics.All() {
		if !strings.HasPrefix(d.Name, "/godebug/") {
			samples = append(samples, metrics.Sample{Name: d.Name})
		}
	}
	metrics.Read(samples)
	values := make(map[string]interface{})
	for _, s := range samples {
		switch s.Value.Kind() {
		case metrics.KindUint64:
			values[s.Name] = s.Value.Uint64()
		case metrics.KindFloat64:
			values[s.Name] = s.Value.Float64()
		case metrics.KindFloat64Histogram:
			h := s.Value.Float64Histogram()
			values[s.Name] = map[string]interface{}{
				"counts":  h.Counts,
				"buckets": finite(h.Buckets),
			}
		}
	}
	return values
}

func finite(bounds []float64) []interface{} {
	var out []interface{}
	for _, b := range bounds {
		if math.IsInf(b, 0) {
			out = append(out, nil)
		} else {
			out = append(out, b)
		}
	}
	return out
}
