package main

import (
	"runtime"
	"time"
)

type finalized struct{ data [64]byte }

// startFinalizers leaves a finalizer blocked for ever, so that the goroutine which runs them is in
// user code.  Nothing else in this program needs one.
func startFinalizers() {
	entered := make(chan bool)
	makeGarbage(entered)
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); {
		runtime.GC()
		select {
		case <-entered:
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
	panic("the finalizer does not run")
}

//go:noinline
func makeGarbage(entered chan bool) {
	v := &finalized{}
	runtime.SetFinalizer(v, func(v *finalized) {
		close(entered)
		finalizerBlocks(v)
	})
}

func finalizerBlocks(v *finalized) {
	<-never
	v.data[0]++
}
