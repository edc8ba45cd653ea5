package main

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Goroutines that never wait.  There are more of them than processors, so that at any instant some
// run and some are runnable.

var (
	busyStop  int32
	busyGroup sync.WaitGroup
	spun      uint64
)

func setBusy(n int) {
	atomic.StoreInt32(&busyStop, 1)
	busyGroup.Wait()
	atomic.StoreInt32(&busyStop, 0)
	for i := 0; i < n; i++ {
		busyGroup.Add(1)
		switch i % 4 {
		case 0:
			go busyCompute(i)
		case 1:
			go busyYield(i)
		case 2:
			go busyClock(i)
		case 3:
			go busyCopy(i)
		}
	}
}

func busyCompute(which int) {
	defer busyGroup.Done()
	for atomic.LoadInt32(&busyStop) == 0 {
		spin(1000)
	}
}

//go:noinline
func spin(rounds int) {
	x := spun
	for i := 0; i < rounds; i++ {
		x = x*6364136223846793005 + 1442695040888963407
	}
	spun = x
}

func busyYield(which int) {
	defer busyGroup.Done()
	for atomic.LoadInt32(&busyStop) == 0 {
		runtime.Gosched()
	}
}

// busyClock spends its time in the kernel's vdso.
func busyClock(which int) {
	defer busyGroup.Done()
	for atomic.LoadInt32(&busyStop) == 0 {
		if time.Now().IsZero() {
			return
		}
	}
}

// busyCopy spends its time in assembly without frames.
func busyCopy(which int) {
	defer busyGroup.Done()
	from := make([]byte, 1<<16)
	to := make([]byte, 1<<16)
	for atomic.LoadInt32(&busyStop) == 0 {
		copy(to, from)
		copy(from, to)
	}
}
