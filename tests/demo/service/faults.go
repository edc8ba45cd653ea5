package main

import (
	"bytes"
	"fmt"
	"net/http"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// What can be wrong with the shop; each fault is one URL, asked for with a number, 0 for none.  And
// /crowd?n=N, after which so many more goroutines wait, for ever.
type faults struct {
	flush   atomic.Int64 // /slow?ms=N      the journal takes so long, under the lock
	leak    atomic.Bool  // /leak?on=1      warehouses that answer late stay for ever
	parsing atomic.Bool  // /garbage?gogc=N the price list parsed for each order, GOGC at N

	lock  sync.Mutex // guards quiet
	quiet func()     // /pauses?mb=N    ends what copies N MiB again and again
}

func (f *faults) all() {
	f.flush.Store(int64(5 * time.Millisecond))
	f.leak.Store(true)
	f.setGarbage(3)
}

func (f *faults) setGarbage(gogc int) {
	f.parsing.Store(gogc > 0)
	if gogc <= 0 {
		gogc = 100
	}
	debug.SetGCPercent(gogc)
}

// setPauses makes every stop of the world long: a copy of that many MiB is one instruction to the
// runtime, which has to wait for its end, while another goroutine wants a collection every 100 ms.
func (f *faults) setPauses(mib int) {
	f.lock.Lock()
	defer f.lock.Unlock()
	if f.quiet != nil {
		f.quiet()
		f.quiet = nil
	}
	if mib <= 0 {
		return
	}
	stop := make(chan struct{})
	f.quiet = func() { close(stop) }
	go replicate(make([]byte, mib<<20), bytes.Repeat([]byte("order "), mib<<20/6), stop)
	go collect(stop)
}

func replicate(to, from []byte, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
			copy(to, from)
		}
	}
}

func collect(stop <-chan struct{}) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
			runtime.GC()
		}
	}
}

func crowd(n int) {
	for i := 0; i < n; i++ {
		go waitForEver()
	}
}

func waitForEver() { <-make(chan bool) }

func (f *faults) serve(mux *http.ServeMux) {
	knob := func(path, name string, set func(n int)) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			n, err := strconv.Atoi(r.FormValue(name))
			if err != nil || n < 0 || n > 1<<20 {
				http.Error(w, "want "+path+"?"+name+"=N", http.StatusBadRequest)
				return
			}
			set(n)
			fmt.Fprintln(w, "ok")
		})
	}
	knob("/slow", "ms", func(n int) { f.flush.Store(int64(n) * int64(time.Millisecond)) })
	knob("/leak", "on", func(n int) { f.leak.Store(n != 0) })
	knob("/garbage", "gogc", f.setGarbage)
	knob("/pauses", "mb", f.setPauses)
	knob("/crowd", "n", crowd)
}
