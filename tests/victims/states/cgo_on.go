//go:build cgo

package main

/*
void nap(int unused);
void call_back(int depth);
void start_foreign_thread(void);
*/
import "C"

import "runtime"

// Goroutines whose innermost frames are C, or have C in between, or were born in C.
func startCgo() {
	go cgoNap()
	go cgoNapLocked()
	go cgoCallback(1)
	go cgoCallback(3)
	C.start_foreign_thread()
}

func cgoNap() {
	C.nap(7)
}

func cgoNapLocked() {
	runtime.LockOSThread()
	C.nap(8)
}

func cgoCallback(depth int) {
	C.call_back(C.int(depth))
}

//export goCalledBack
func goCalledBack(depth C.int) {
	if depth > 1 {
		cgoCallback(int(depth) - 1)
		return
	}
	<-never
}

//export goOnForeignThread
func goOnForeignThread() {
	<-never
}
