// Busy keeps its goroutines at work whose call chains are known: one per kind of code that a profiler
// gets wrong.  Its arguments say which ("busy sha vdso"); none means all.
package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"sync/atomic"
	"syscall"
	"time"
)

var sink uint64

// Turns of goSha, one every ten microseconds or so: work that a profiler may take away.
var turns uint64

// Assembly that uses the frame pointer for its data.

//go:noinline
func shaStep(data []byte) byte {
	sum := sha256.Sum256(data)
	return sum[0]
}

func goSha() {
	data := make([]byte, 4096)
	for {
		data[0] += shaStep(data)
		atomic.AddUint64(&turns, 1)
	}
}

// A leaf without a frame: its caller is what frame pointers lose.

//go:noinline
func leaf(n uint64) uint64 {
	for i := 0; i < 1000; i++ {
		n = n*6364136223846793005 + 1442695040888963407
	}
	return n
}

//go:noinline
func leafCaller(n uint64) uint64 {
	return leaf(n) + 1
}

func goLeaf() {
	for n := uint64(1); ; {
		n = leafCaller(n)
		if n == 0 {
			sink = n
		}
	}
}

// Deeper than a copy of the stack reaches.

//go:noinline
func deep(level int, n uint64) uint64 {
	var room [24]uint64
	room[level%24] = n
	if level == 0 {
		for i := 0; i < 10; i++ {
			n += leaf(n)
		}
		return n
	}
	return deep(level-1, n+room[0]) + 1
}

func goDeep() {
	for n := uint64(1); ; {
		n = deep(100, n)
		if n == 0 {
			sink = n
		}
	}
}

// Inlined twice into one function.

func inlinedInner(n uint64) uint64 {
	return n*2862933555777941757 + 3037000493
}

func inlinedOuter(n uint64) uint64 {
	return inlinedInner(n) ^ n>>7
}

//go:noinline
func inliner(n uint64) uint64 {
	for i := 0; i < 1000; i++ {
		n = inlinedOuter(n)
	}
	return n
}

func goInlined() {
	for n := uint64(1); ; {
		n = inliner(n)
		if n == 0 {
			sink = n
		}
	}
}

// Code of the kernel's that is mapped into every process.

//go:noinline
func clockStep() int64 {
	return time.Now().UnixNano()
}

func goVdso() {
	for {
		if clockStep() == 0 {
			sink++
		}
	}
}

// Garbage: the allocator, assists, the collector's workers.

var kept [64][]byte

//go:noinline
func allocStep(i int) {
	kept[i%64] = make([]byte, 512+i%2048)
}

func goAlloc() {
	for i := 0; ; i++ {
		allocStep(i)
	}
}

// Goroutines that hand over to each other all the time.

//go:noinline
func pingStep(a, b chan int) {
	n := <-a
	b <- n + 1
}

func goPing(a, b chan int) {
	for {
		pingStep(a, b)
	}
}

func goSwitch() {
	a, b := make(chan int), make(chan int)
	go goPing(a, b)
	go goPing(b, a)
	a <- 1
}

// In the kernel.

//go:noinline
func readStep(fd int, to []byte) {
	_, _ = syscall.Read(fd, to)
}

func goSyscall() {
	fd, err := syscall.Open("/dev/zero", syscall.O_RDONLY, 0)
	if err != nil {
		panic(err)
	}
	to := make([]byte, 1<<16)
	for {
		readStep(fd, to)
	}
}

// Stacks that grow all the time.

//go:noinline
func growStep(level int) byte {
	var room [512]byte
	room[level%512] = byte(level)
	if level == 0 {
		return room[0]
	}
	return growStep(level-1) + room[1]
}

func grown(done chan bool) {
	growStep(64)
	done <- true
}

func goGrow() {
	done := make(chan bool)
	for {
		go grown(done)
		<-done
	}
}

// Labels of the service's own.

//go:noinline
func labelledStep(n uint64) uint64 {
	return leaf(n)
}

func goLabelled() {
	labels := pprof.Labels("handler", "checkout", "tenant", "acme")
	pprof.SetGoroutineLabels(pprof.WithLabels(context.Background(), labels))
	for n := uint64(1); ; {
		n = labelledStep(n)
		if n == 0 {
			sink = n
		}
	}
}

var kinds = []struct {
	name string
	run  func()
}{
	{"sha", goSha},
	{"leaf", goLeaf},
	{"deep", goDeep},
	{"inlined", goInlined},
	{"vdso", goVdso},
	{"alloc", goAlloc},
	{"switch", goSwitch},
	{"syscall", goSyscall},
	{"grow", goGrow},
	{"labelled", goLabelled},
}

// More than the kinds above where there is C, and what is only done when asked for.
var more = map[string]func(){}

var asked = map[string]func(){"threads": goThreads}

// A thousand threads that sleep, and one that is busy.
func goThreads() {
	for i := 0; i < 1000; i++ {
		go func() {
			runtime.LockOSThread()
			for {
				_ = syscall.Nanosleep(&syscall.Timespec{Sec: 1000}, nil)
			}
		}()
	}
	goLeaf()
}

func main() {
	wanted := map[string]bool{}
	for _, name := range os.Args[1:] {
		wanted[name] = true
	}
	for _, kind := range kinds {
		if len(wanted) == 0 || wanted[kind.name] {
			go kind.run()
		}
	}
	for name, run := range more {
		if len(wanted) == 0 || wanted[name] {
			go run()
		}
	}
	for name, run := range asked {
		if wanted[name] {
			go run()
		}
	}
	fmt.Println("ready")
	var b [1]byte
	for {
		n, err := syscall.Read(0, b[:])
		if n == 0 && err == nil {
			os.Exit(0)
		}
		switch {
		case n == 1 && b[0] == 'p':
			startProfile()
		case n == 1 && b[0] == 's':
			stopProfile()
		case n == 1 && b[0] == 'o':
			var usage syscall.Rusage
			_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
			fmt.Println("turns", atomic.LoadUint64(&turns), usage.Utime.Nano()+usage.Stime.Nano())
		}
	}
}

// What Go's own profiler says of the same load.

var profile *os.File

func startProfile() {
	var err error
	if profile, err = os.Create(os.Getenv("BUSY_PROFILE")); err != nil {
		panic(err)
	}
	if err := pprof.StartCPUProfile(profile); err != nil {
		panic(err)
	}
	fmt.Println("profiling")
}

func stopProfile() {
	pprof.StopCPUProfile()
	_ = profile.Close()
	fmt.Println("profiled")
}
