// Totals allocates and frees objects of every size class, lets goroutines wait for each other, and
// collects some 300 times (more than the ring of pauses has room for).  Then it does what lines on
// its stdin say:
//
//	memstats           runtime.ReadMemStats into memory that lies where "ready ADDRESS" said: a
//	                   counter of how often that was done, then the runtime.MemStats
//	profile NAME PATH  writes that profile of its own; then prints "written"
//
// Nothing else happens in it meanwhile and nothing is allocated, so that what one reads from its
// memory afterwards must be exactly what ReadMemStats said.
package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

var said struct {
	times uint64
	stats runtime.MemStats
}

var (
	kept    [][]byte
	texts   []string
	tiny    []*byte
	garbage []byte
	never   = make(chan int)
)

func main() {
	runtime.SetBlockProfileRate(1)
	runtime.SetMutexProfileFraction(1)
	debug.SetGCPercent(150)
	for size := 1; size < 40000; size += size/4 + 1 {
		for i := 0; i < 20; i++ {
			kept = append(kept, make([]byte, size))
			garbage = make([]byte, size)
		}
	}
	for i := 0; i < 5000; i++ {
		b := new(byte) // shares a block with others
		tiny = append(tiny, b)
		texts = append(texts, fmt.Sprint("string ", i))
	}
	for i := 0; i < 20; i++ {
		kept = append(kept, make([]byte, 300000+i))
		garbage = make([]byte, 1<<20)
		go grow(i * 10)
	}
	waitForEachOther()
	for i := 0; i < 300; i++ {
		runtime.GC()
	}
	fmt.Printf("ready %d\n", uintptr(unsafe.Pointer(&said)))
	serve()
}

func grow(n int) byte {
	var frame [512]byte
	if n > 0 {
		frame[n%len(frame)] = grow(n - 1)
	} else {
		<-never
	}
	return frame[0]
}

// waitForEachOther leaves something in the profiles of blocking and of mutexes: also through
// functions which the compiler inlines, and through recursion.
func waitForEachOther() {
	var lock sync.Mutex
	var all sync.WaitGroup
	for i := 0; i < 6; i++ {
		all.Add(1)
		go func(i int) {
			defer all.Done()
			for j := 0; j < 10; j++ {
				if i%2 == 0 {
					holdDeep(&lock, 3*i)
				} else {
					hold(&lock)
				}
			}
		}(i)
	}
	all.Wait()
	done := make(chan int)
	go send(done)
	receive(done)
}

func hold(lock *sync.Mutex) {
	lock.Lock()
	time.Sleep(100 * time.Microsecond)
	lock.Unlock()
}

func holdDeep(lock *sync.Mutex, depth int) int {
	if depth == 0 {
		hold(lock)
		return 0
	}
	return holdDeep(lock, depth-1) + 1
}

func send(to chan<- int) {
	time.Sleep(3 * time.Millisecond)
	to <- 1
}

func receive(from <-chan int) int { return <-from }

var line [4096]byte

// readLine must not allocate.
func readLine() []byte {
	for n := 0; n < len(line); n++ {
		if r, _ := syscall.Read(0, line[n:n+1]); r <= 0 {
			os.Exit(0)
		}
		if line[n] == '\n' {
			return line[:n]
		}
	}
	panic("a line too long")
}

func serve() {
	for {
		command := readLine()
		if command[0] == 'm' {
			runtime.ReadMemStats(&said.stats)
			said.times++
			continue
		}
		words := strings.Fields(string(command))
		if err := writeProfile(words[1], words[2]); err != nil {
			fmt.Println(err)
		} else {
			fmt.Println("written")
		}
	}
}

func writeProfile(name, path string) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	return pprof.Lookup(name).WriteTo(file, 0)
}
