// States is a service that holds goroutines in every state the Go runtime knows, and otherwise does
// nothing: what one reads from its memory can be compared exactly with what it says of itself.
//
// It serves net/http/pprof on a loopback port and prints "ready PORT" once every goroutine is
// parked.  Garbage is collected only on request (/gc), so that no stack moves behind a reader's
// back.  Further paths: /memstats, /busy?n=4 (starts goroutines that never wait), /busy?n=0, /grow
// (allocates for the heap profile).
package main

import (
	"flag"
	"fmt"
	"net"
	"net/http"
	_ "net/http/pprof"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
)

func main() {
	memRate := flag.Int("memprofilerate", runtime.MemProfileRate, "runtime.MemProfileRate")
	blockRate := flag.Int("blockprofilerate", 0, "runtime.SetBlockProfileRate")
	mutexFraction := flag.Int("mutexprofilefraction", 0, "runtime.SetMutexProfileFraction")
	flag.Parse()
	runtime.MemProfileRate = *memRate
	runtime.SetBlockProfileRate(*blockRate)
	runtime.SetMutexProfileFraction(*mutexFraction)
	debug.SetGCPercent(-1)

	leaveDeadGoroutines(300)
	startChannels()
	startLocks()
	startWaits()
	startShapes()
	startArguments()
	startPanics()
	startLabels()
	startVersioned()
	startCgo()
	startFinalizers()
	allocateForever()

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	handleOwnPaths()
	go func() { _ = http.Serve(listener, nil) }()
	settle()
	fmt.Printf("ready %d\n", listener.Addr().(*net.TCPAddr).Port)
	select {}
}

// leaveDeadGoroutines makes the runtime's list of goroutines longer than the living ones.
func leaveDeadGoroutines(n int) {
	done := make(chan bool)
	gate := make(chan bool)
	for i := 0; i < n; i++ {
		go func() {
			<-gate
			done <- true
		}()
	}
	close(gate)
	for i := 0; i < n; i++ {
		<-done
	}
}

// settle returns when nothing but the caller is about to run, after two collections: one marks the
// blocked goroutines, two publish the heap profile.
func settle() {
	text := make([]byte, 4<<20)
	quiet := 0
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		time.Sleep(20 * time.Millisecond)
		all := string(text[:runtime.Stack(text, true)])
		if strings.Count(all, " [runnable") == 0 && strings.Count(all, " [running") == 1 {
			quiet++
		} else {
			quiet = 0
		}
		switch quiet {
		case 3:
			runtime.GC()
			runtime.GC()
		case 6:
			return
		}
	}
	fmt.Fprintln(os.Stderr, "states: the goroutines do not come to rest")
	os.Exit(1)
}
