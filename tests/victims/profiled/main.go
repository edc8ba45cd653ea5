// Profiled serves net/http/pprof on loopback, as services do, works a little, and says in its execution
// trace what time it is: every millisecond a log event whose text is CLOCK_MONOTONIC in nanoseconds, read just
// before.  Its arguments say how it serves:
//
//	profiled [-listen ADDRESS]... [-own] [-busy] [-password] [-write-timeout TIME]
//
// It prints "ready PORT..." and ends with its standard input.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	httppprof "net/http/pprof"
	"os"
	"runtime/pprof"
	"runtime/trace"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

type addresses []string

func (a *addresses) String() string     { return strings.Join(*a, " ") }
func (a *addresses) Set(s string) error { *a = append(*a, s); return nil }

func monotonic() int64 {
	var ts syscall.Timespec
	syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, 1, uintptr(unsafe.Pointer(&ts)), 0)
	return ts.Nano()
}

var sink uint64

//go:noinline
func burn(n uint64) uint64 {
	for i := 0; i < 200000; i++ {
		n = n*6364136223846793005 + 1442695040888963407
	}
	return n
}

func sayTheTime() {
	for {
		trace.Log(context.Background(), "monotonic", strconv.FormatInt(monotonic(), 10))
		sink = burn(sink)
		time.Sleep(time.Millisecond)
	}
}

// own is what who has no default mux registers: no list of profiles.
func own() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/profile", httppprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", httppprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", httppprof.Trace)
	return mux
}

func locked(inner http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, password, ok := r.BasicAuth(); !ok || password != "geheim" {
			w.Header().Set("WWW-Authenticate", "Basic")
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		inner.ServeHTTP(w, r)
	})
}

func main() {
	var listen addresses
	flag.Var(&listen, "listen", "address; may be repeated")
	ownMux := flag.Bool("own", false, "a mux of its own, without a list of profiles")
	busy := flag.Bool("busy", false, "it profiles itself already")
	password := flag.Bool("password", false, "it asks for one")
	writeTimeout := flag.Duration("write-timeout", 0, "of its server")
	flag.Parse()
	if len(listen) == 0 {
		listen = addresses{"127.0.0.1:0"}
	}
	var handler http.Handler = http.DefaultServeMux
	if *ownMux {
		handler = own()
	}
	if *password {
		handler = locked(handler)
	}
	if *busy {
		pprof.StartCPUProfile(io.Discard)
	}
	ports := ""
	for _, address := range listen {
		listener, err := net.Listen("tcp", address)
		if err != nil {
			fmt.Fprintln(os.Stderr, "profiled:", err)
			os.Exit(1)
		}
		ports += " " + strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
		server := &http.Server{Handler: handler, WriteTimeout: *writeTimeout}
		go server.Serve(listener)
	}
	go sayTheTime()
	fmt.Println("ready" + ports)
	io.Copy(io.Discard, os.Stdin)
}
