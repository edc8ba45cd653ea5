// Gocheck is a Go program that notices when anything was done to it: values in registers and memory
// that change, sleeps that end early, a blocking read that fails, results of its own children that
// are not theirs, a child or SIGCHLD nobody started, a thread that can no longer be preempted.
//
// "gocheck ring" has an io_uring.  It prints "ready", then a line "beat N" for each line on its stdin; "bad WHAT" and exit 3 when
// something was wrong.  It does not get on when the collector cannot stop its goroutines any more.
package main

import (
	"bufio"
	"fmt"
	"math"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

var (
	beats    uint64
	children int64
	told     int64
	quiet    [][]byte
)

func bad(format string, args ...interface{}) {
	fmt.Printf("bad "+format+"\n", args...)
	os.Exit(3)
}

// The compiler keeps all of these in registers.
func mix(seed uint64, rounds int) (uint64, float64) {
	a, b, c, d := seed, seed*3, seed*5, seed*7
	x, y := float64(seed), float64(seed)*0.5
	for i := 0; i < rounds; i++ {
		a = a*6364136223846793005 + b
		b = b<<13 | b>>51
		c ^= a
		d += c
		x = x*0.999 + y
		y = y*0.998 + 1
	}
	return a ^ b ^ c ^ d, x + y
}

func calculate(seed uint64) {
	a, x := mix(seed, 20000)
	for {
		b, y := mix(seed, 20000)
		if a != b || math.Float64bits(x) != math.Float64bits(y) {
			bad("registers %x %x %v %v", a, b, x, y)
		}
		atomic.AddUint64(&beats, 1)
		time.Sleep(time.Millisecond)
	}
}

func sleep() {
	for {
		before := time.Now()
		time.Sleep(5 * time.Millisecond)
		if d := time.Since(before); d < 5*time.Millisecond {
			bad("sleep ended after %v", d)
		}
		atomic.AddUint64(&beats, 1)
	}
}

func pingPong() {
	ping, pong := make(chan int), make(chan int)
	go func() {
		for i := range ping {
			pong <- i + 1
		}
	}()
	for i := 0; ; i++ {
		ping <- i
		if j := <-pong; j != i+1 {
			bad("channel %d %d", i, j)
		}
		if i%16 == 0 {
			time.Sleep(time.Millisecond)
		}
	}
}

// A call that blocks its thread, outside of the poller.
func read() {
	var fds [2]int
	if err := syscall.Pipe(fds[:]); err != nil {
		bad("pipe %v", err)
	}
	n, err := syscall.Read(fds[0], make([]byte, 1))
	bad("read %d %v", n, err)
}

func watchMemory() {
	for {
		for i, b := range quiet {
			for j := range b {
				if b[j] != byte(i+j) {
					bad("memory %d %d", i, j)
				}
			}
		}
		atomic.AddUint64(&beats, 1)
		time.Sleep(5 * time.Millisecond)
	}
}

// One at a time, so that between two of them there is no child at all.
func runChildren() {
	for {
		atomic.AddInt64(&children, 2)
		if err := exec.Command("/bin/true").Run(); err != nil {
			bad("true: %v", err)
		}
		err := exec.Command("/bin/false").Run()
		if e, ok := err.(*exec.ExitError); !ok || e.ExitCode() != 1 {
			bad("false: %v", err)
		}
		var status syscall.WaitStatus
		if pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil); err != syscall.ECHILD {
			bad("child %d %v", pid, err)
		}
		if n := atomic.LoadInt64(&told); n > atomic.LoadInt64(&children) {
			bad("SIGCHLD %d times", n)
		}
		atomic.AddUint64(&beats, 1)
		time.Sleep(30 * time.Millisecond)
	}
}

// The collector stops the world, which takes a signal to a goroutine that calls nothing.
func collect() {
	for {
		var stop int32
		for i := 0; i < 2; i++ {
			go func() {
				for atomic.LoadInt32(&stop) == 0 {
				}
			}()
		}
		time.Sleep(time.Millisecond)
		runtime.GC()
		atomic.StoreInt32(&stop, 1)
		atomic.AddUint64(&beats, 1)
		time.Sleep(50 * time.Millisecond)
	}
}

// With an io_uring nobody can track what is written: whoever wants its memory has to fork it.
func makeRing() {
	const setup = 425
	var params [120]byte
	if _, _, err := syscall.RawSyscall(setup, 1, uintptr(unsafe.Pointer(&params)), 0); err != 0 {
		fmt.Println("no io_uring:", err)
		os.Exit(1)
	}
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "ring" {
		makeRing()
	}
	for i := 0; i < 64; i++ {
		b := make([]byte, 16<<10)
		for j := range b {
			b[j] = byte(i + j)
		}
		quiet = append(quiet, b)
	}
	c := make(chan os.Signal, 1024)
	signal.Notify(c, syscall.SIGCHLD)
	go func() {
		for range c {
			atomic.AddInt64(&told, 1)
		}
	}()
	go calculate(1)
	go calculate(2)
	go sleep()
	go pingPong()
	go read()
	go watchMemory()
	go runChildren()
	go collect()
	fmt.Println("ready")
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		n := atomic.LoadUint64(&beats)
		// All of them have to get on, the slowest as well: collect().
		fmt.Printf("beat %d\n", n)
	}
}
