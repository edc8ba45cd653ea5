// Checkout is a small shop's order service with three faults planted in it, for `make demo`:
//
//   - a leak: four warehouses are asked and the first answer is taken, which leaves three goroutines
//     blocked for ever, and with them the order;
//   - a convoy: every order takes one lock, and its holder writes the journal (slowly) under it;
//   - garbage pressure: the price list is parsed anew for each order, and somebody saved memory
//     with GOGC=3, so that the whole catalog is marked many times a second.
//
// It generates its own load, listens on loopback only and ends by itself after -for.  It does
// nothing to be looked at: no endpoint, no agent, no signal handler.  It prints "ready PID".
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	_ "net/http/pprof" // never served; it keeps the memory profile linked in
	"os"
	"runtime"
	"runtime/debug"
	"time"
)

func main() {
	clients := flag.Int("clients", 32, "customers ordering at the same time")
	lifetime := flag.Duration("for", 2*time.Minute, "end by itself after that long")
	flag.Parse()
	runtime.GOMAXPROCS(2)
	debug.SetGCPercent(3)

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, "checkout:", err)
		os.Exit(1)
	}
	shop := newShop()
	mux := http.NewServeMux()
	mux.HandleFunc("/order", shop.serveOrder)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			fmt.Fprintln(os.Stderr, "checkout:", err)
			os.Exit(1)
		}
	}()
	url := "http://" + listener.Addr().String() + "/order"
	for i := 0; i < *clients; i++ {
		go customer(url, i)
	}
	fmt.Printf("ready %d\n", os.Getpid())
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
