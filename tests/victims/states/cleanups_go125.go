//go:build go1.25

package main

import (
	"runtime"
	"time"
)

// startCleanups leaves a cleanup blocked for ever; from 1.25 they have goroutines of their own.
func startCleanups() {
	entered := make(chan bool)
	makeCleanup(entered)
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); {
		runtime.GC()
		select {
		case <-entered:
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
	panic("the cleanup does not run")
}

//go:noinline
func makeCleanup(entered chan bool) {
	v := &finalized{}
	runtime.AddCleanup(v, cleanupBlocks, entered)
}

func cleanupBlocks(entered chan bool) {
	close(entered)
	<-never
}
