package main

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Goroutines that never wait.  There are more of them than processors, so that at any instant some
// run and some are runnable.  On a machine with time to spare each of them is in its loop when
// setBusy returns.

var (
	busyStop  int32
	busyGroup sync.WaitGroup
	busyBegun int32
	spun      uint64
)

func setBusy(n int) {
	atomic.StoreInt32(&busyStop, 1)
	busyGroup.Wait()
	atomic.StoreInt32(&busyStop, 0)
	atomic.StoreInt32(&busyBegun, 0)
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
	for i := 0; i < 100 && atomic.LoadInt32(&busyBegun) < int32(n); i++ {
		time.Sleep(3 * time.Millisecond)
	}
}

func busyCompute(which int) {
	defer busyGroup.Done()
	atomic.AddInt32(&busyBegun, 1)
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
	atomic.AddInt32(&busyBegun, 1)
	for atomic.LoadInt32(&busyStop) == 0 {
		runtime.Gosched()
	}
}

// busyClock spends its time in the kernel's vdso.
func busyClock(which int) {
	defer busyGroup.Done()
	atomic.AddInt32(&busyBegun, 1)
	for atomic.LoadInt32(&busyStop) == 0 {
		if time.Now().IsZero() {
			return
		}
	}
}

// busyCopy spends its time in assembly without frames.
func busyCopy(which int) {
	defer busyGroup.Done()
	atomic.AddInt32(&busyBegun, 1)
	from := make([]byte, 1<<16)
	to := make([]byte, 1<<16)
	for atomic.LoadInt32(&busyStop) == 0 {
		copyOnce(to, from)
	}
}

// copyOnce is a call, and a call is where the scheduler gets its turn: signals find the assembly,
// which cannot be interrupted, nearly always.
//
//go:noinline
func copyOnce(to, from []byte) int {
	var pad [256]byte
	n := copy(to, from)
	return n + copy(pad[:], from)
}
