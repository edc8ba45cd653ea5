// Churn never rests: goroutines are born and die, stacks grow and shrink, the collector runs, and
// everybody passes values around.  Whoever reads it from outside must cope with what moves.  With
// -seconds it ends by itself.  It prints "ready PID".
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"runtime/pprof"
	"strconv"
	"sync"
	"time"
)

var sink [][]byte

func main() {
	workers := flag.Int("workers", 200, "goroutines that pass messages")
	pause := flag.Duration("pause", 2*time.Millisecond, "how long a worker rests in between")
	seconds := flag.Int("seconds", 600, "end after that many seconds; 0 never")
	flag.Parse()
	debug.SetGCPercent(20)

	work := make(chan int)
	var lock sync.Mutex
	var started sync.WaitGroup
	started.Add(*workers)
	for i := 0; i < *workers; i++ {
		labels := pprof.Labels("worker", strconv.Itoa(i))
		go pprof.Do(context.Background(), labels, func(context.Context) {
			started.Done()
			for n := range work {
				grow(n%400 + 1)
				lock.Lock()
				sink = append(sink, make([]byte, 1<<10))
				if len(sink) > 4096 {
					sink = nil
				}
				lock.Unlock()
				time.Sleep(*pause)
			}
		})
	}
	started.Wait() // everybody has its label
	go func() {
		for n := 0; ; n++ {
			work <- n
			if n%16 == 0 {
				go shortLived(n)
			}
		}
	}()
	fmt.Printf("ready %d\n", os.Getpid())
	if *seconds == 0 {
		select {}
	}
	time.Sleep(time.Duration(*seconds) * time.Second)
}

func shortLived(n int) {
	done := make(chan int)
	go func() { done <- grow(n % 50) }()
	<-done
}

// grow makes the stack grow, and shrink at the next collection.
//
//go:noinline
func grow(depth int) int {
	var pad [64]byte
	if depth <= 0 {
		return 0
	}
	pad[depth%64] = byte(depth)
	return grow(depth-1) + int(pad[depth%64])
}
