// Tgt is what `make bench` measures tools against: N goroutines parked in five states under a
// recursion of a given depth, a heap of H MiB, net/http/pprof on loopback, and a canary that says
// how long its process was held up.  It prints "ready PORT" when everybody is parked.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand"
	"net"
	"net/http"
	_ "net/http/pprof"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

var (
	parked int64
	never  = make(chan int)
	lock   sync.Mutex
	group  sync.WaitGroup
	heap   [][]byte
)

func main() {
	n := flag.Int("n", 50, "goroutines")
	depth := flag.Int("depth", 16, "frames below each of them")
	mib := flag.Int("heap", 8, "MiB of heap, half of it random, half of it text")
	dirty := flag.Int("dirty", 0, "MB of it written a second, a word in each of random pages")
	flag.Parse()

	fillHeap(*mib)
	lock.Lock()
	group.Add(1)
	for i := 0; i < *n; i++ {
		go descend(*depth, i%5)
	}
	for atomic.LoadInt64(&parked) < int64(*n) {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(50 * time.Millisecond)
	runtime.GC()

	go canary()
	if *dirty > 0 {
		go write(*dirty)
	}
	http.HandleFunc("/gap", serveGaps)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Printf("ready %d\n", listener.Addr().(*net.TCPAddr).Port)
	fmt.Fprintln(os.Stderr, http.Serve(listener, nil))
}

func fillHeap(mib int) {
	for i := 0; i < mib; i++ {
		chunk := make([]byte, 1<<20)
		rand.Read(chunk[:len(chunk)/2])
		// What a service holds is mostly text that is alike, not equal.
		for at := len(chunk) / 2; at < len(chunk); {
			at += copy(chunk[at:], fmt.Sprintf("{\"session\":%d,\"user\":\"u%06d\",\"score\":%d}\n",
				rand.Int63(), rand.Intn(1000000), rand.Intn(1000)))
		}
		heap = append(heap, chunk)
	}
}

// write changes a word in each of so many random pages, spread over the second.
func write(mbPerSecond int) {
	const page = 4096
	tick := time.NewTicker(time.Millisecond)
	began, written := time.Now(), 0
	for range tick.C {
		due := int(time.Since(began).Seconds() * float64(mbPerSecond) * 1e6 / page)
		for ; written < due; written++ {
			chunk := heap[rand.Intn(len(heap))]
			chunk[rand.Intn(len(chunk)/page)*page]++
		}
	}
}

//go:noinline
func descend(depth, state int) int {
	if depth > 1 {
		return descend(depth-1, state) + 1
	}
	atomic.AddInt64(&parked, 1)
	return park(state)
}

//go:noinline
func park(state int) int {
	switch state {
	case 0:
		return <-never
	case 1:
		select {
		case v := <-never:
			return v
		case <-make(chan int):
		}
	case 2:
		lock.Lock()
	case 3:
		group.Wait()
	case 4:
		time.Sleep(1000 * time.Hour)
	}
	return 0
}

// The canary sleeps for half a millisecond at a time on a thread of its own.  The time between two
// of its wake-ups is how long anything in this process may have been kept waiting.
const nap = 500 * time.Microsecond

var gaps struct {
	sync.Mutex
	largest [5]time.Duration // descending
	wakeups int
	since   time.Time
	reset   bool
}

func canary() {
	runtime.LockOSThread()
	last := time.Now()
	for {
		time.Sleep(nap)
		now := time.Now()
		gaps.Lock()
		if gaps.reset {
			gaps.reset, gaps.wakeups, gaps.since = false, 0, last
			gaps.largest = [5]time.Duration{}
		}
		gaps.wakeups++
		gap := now.Sub(last)
		for i, other := range gaps.largest {
			if gap > other {
				copy(gaps.largest[i+1:], gaps.largest[i:])
				gaps.largest[i] = gap
				break
			}
		}
		gaps.Unlock()
		last = now
	}
}

// serveGaps answers with the largest gaps since it was last asked, the one under way included, and
// forgets them.
func serveGaps(w http.ResponseWriter, r *http.Request) {
	time.Sleep(2 * nap)
	gaps.Lock()
	var ms []float64
	for _, gap := range gaps.largest {
		ms = append(ms, float64(gap)/1e6)
	}
	answer := map[string]interface{}{
		"gaps_ms": ms,
		"wakeups": gaps.wakeups,
		"seconds": time.Since(gaps.since).Seconds(),
	}
	gaps.reset = true
	gaps.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer)
}
