// Checkout is a small shop's order service with faults planted in it (faults.go), for `make demo`,
// `make demo-alert` and the tests.  As it starts, three of them are there:
//
//   - a leak: four warehouses are asked and the first answer is taken, which leaves three goroutines
//     blocked for ever, and with them the order;
//   - a convoy: every order takes one lock, and its holder writes the journal (slowly) under it;
//   - garbage pressure: the price list is parsed anew for each order, and somebody saved memory
//     with GOGC=3, so that the whole catalog is marked many times a second.
//
// With -calm there is none, until somebody asks for one over HTTP.
//
// It generates its own load, listens on loopback only and ends by itself after -for.  Nothing in it
// helps who looks at it: no agent, no signal handler, no pprof endpoint (but with -debug, which serves one);
// only the histogram that any service has, at /metrics.  It prints "ready PID URL".
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	_ "net/http/pprof" // served with -debug alone; it keeps the memory profile linked in
	"os"
	"runtime"
	"time"
)

func main() {
	clients := flag.Int("clients", 32, "customers ordering at the same time")
	lifetime := flag.Duration("for", 2*time.Minute, "end by itself after that long")
	listen := flag.String("listen", "127.0.0.1:0", "address on loopback; port 0: any")
	debug := flag.String("debug", "", "address on loopback for net/http/pprof")
	calm := flag.Bool("calm", false, "begin without faults")
	flag.Parse()
	runtime.GOMAXPROCS(2)

	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		fmt.Fprintln(os.Stderr, "checkout:", err)
		os.Exit(1)
	}
	faults := new(faults)
	if !*calm {
		faults.all()
	}
	shop := newShop(faults)
	latency := newHistogram("http_request_duration_seconds")
	mux := http.NewServeMux()
	mux.HandleFunc("/order", latency.measure(shop.serveOrder))
	mux.Handle("/metrics", latency)
	faults.serve(mux)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			fmt.Fprintln(os.Stderr, "checkout:", err)
			os.Exit(1)
		}
	}()
	if *debug != "" {
		go func() {
			fmt.Fprintln(os.Stderr, "checkout:", http.ListenAndServe(*debug, nil))
			os.Exit(1)
		}()
	}
	url := "http://" + listener.Addr().String()
	for i := 0; i < *clients; i++ {
		go customer(url+"/order", i)
	}
	fmt.Printf("ready %d %s\n", os.Getpid(), url)
	time.Sleep(*lifetime)
}

// customer orders again and again.
func customer(url string, id int) {
	client := &http.Client{Timeout: 5 * time.Second}
	for n := 0; ; n++ {
		resp, err := client.Get(fmt.Sprintf("%s?customer=%d&n=%d", url, id, n))
		if err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
		time.Sleep(10 * time.Millisecond)
	}
}
