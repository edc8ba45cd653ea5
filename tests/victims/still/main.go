// Still has a heap, some goroutines that wait for each other, and nothing to do.  SIGABRT, which the
// runtime would handle by printing its stacks, makes the kernel dump its core instead.
package main

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"
)

type node struct {
	next *node
	text [100]byte
}

var (
	head *node
	table = map[string]int{}
	never = make(chan int)
)

func main() {
	for i := 0; i < 50000; i++ {
		head = &node{next: head}
		copy(head.text[:], fmt.Sprint("node ", i))
		if i%10 == 0 {
			table[fmt.Sprint("key ", i)] = i
		}
	}
	for i := 0; i < 100; i++ {
		go func() { <-never }()
	}
	runtime.GC()
	// The kernel's struct sigaction: handler (0 is the default), flags, restorer, mask.
	var action [4]uint64
	if _, _, e := syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(syscall.SIGABRT),
		uintptr(unsafe.Pointer(&action)), 0, 8, 0, 0); e != 0 {
		fmt.Println("sigaction:", e)
		os.Exit(1)
	}
	fmt.Println("ready")
	var b [1]byte
	syscall.Read(0, b[:])
	runtime.KeepAlive(head)
}
