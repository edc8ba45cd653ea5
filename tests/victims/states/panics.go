package main

import "runtime"

// Goroutines that are in the middle of a panic, of its recovery, or of Goexit.
func startPanics() {
	go blockedWhilePanicking()
	go blockedAfterRecover()
	go blockedInNilDereference(nil)
	go blockedInDivision(0)
	go blockedInBounds([]int{1}, 3)
	go blockedInNestedPanic()
	go blockedInGoexit()
	go blockedInDefer()
	go blockedInOpenDefers(3)
	go blockedInDeferLoop(3)
	go recoveredAndWaiting()
}

func blockForEver() {
	<-never
}

func blockedWhilePanicking() {
	defer blockForEver()
	panic("held up by a deferred call")
}

func blockedAfterRecover() {
	defer func() {
		_ = recover()
		<-never
	}()
	panic("recovered")
}

//go:noinline
func blockedInNilDereference(p *flat) int {
	defer blockForEver()
	return p.a
}

//go:noinline
func blockedInDivision(by int) int {
	defer blockForEver()
	return 1 / by
}

//go:noinline
func blockedInBounds(list []int, i int) int {
	defer blockForEver()
	return list[i]
}

func blockedInNestedPanic() {
	defer func() {
		defer blockForEver()
		panic("second")
	}()
	panic("first")
}

func blockedInGoexit() {
	defer blockForEver()
	runtime.Goexit()
}

func blockedInDefer() {
	defer func(a, b int) {
		<-never
		println(a + b)
	}(1, 2)
}

func blockedInOpenDefers(n int) {
	if n > 2 {
		defer blockForEver()
	}
	defer countDown(&n)
}

func countDown(n *int) { *n-- }

func blockedInDeferLoop(n int) {
	for i := 0; i < n; i++ {
		defer blockForEver()
	}
}

func recoveredAndWaiting() {
	recoverHere()
	<-never
}

func recoverHere() {
	defer func() { _ = recover() }()
	panic("gone again")
}
