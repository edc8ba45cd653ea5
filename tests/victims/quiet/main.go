// Quiet is a program as small as they come: no HTTP, no pprof, nothing that would link the memory
// profile in.  It prints "ready" with its goroutines parked, and its own stacks on SIGQUIT.
package main

import (
	"fmt"
	"runtime"
	"sync"
	"time"
)

var (
	never = make(chan struct{})
	lock  sync.Mutex
	kept  [][]byte
)

func main() {
	lock.Lock()
	for i := 0; i < 5; i++ {
		go waitOnChannel(i)
		go waitOnLock(i)
	}
	for i := 0; i < 64; i++ {
		kept = append(kept, make([]byte, 64<<10))
	}
	for i := 0; i < 1000; i++ {
		runtime.Gosched() // until everybody has blocked
	}
	runtime.GC()
	fmt.Println("ready")
	for { // not select: with everybody blocked for ever the runtime calls it a deadlock
		time.Sleep(time.Hour)
	}
}

func waitOnChannel(i int) int {
	<-never
	return i
}

func waitOnLock(i int) int {
	lock.Lock()
	return i
}
