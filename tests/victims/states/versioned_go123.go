//go:build go1.23

package main

import "iter"

// What only newer releases have: iterators, whose loop bodies are functions of their own, and
// coroutines.
func startVersioned() {
	go rangeOverFunc()
	go pullWaits()
	go pullLeft()
	startCleanups()
}

func countTo(n int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := 0; i < n; i++ {
			if !yield(i) {
				return
			}
		}
	}
}

func rangeOverFunc() {
	for i := range countTo(3) {
		for j := range countTo(2) {
			if i+j == 1 {
				<-never
			}
		}
	}
}

// pullWaits sits inside the iterator: the caller is what waits for its coroutine.
func pullWaits() {
	next, stop := iter.Pull(func(yield func(int) bool) { <-never })
	defer stop()
	next()
}

// pullLeft leaves a coroutine in the middle of its sequence.
func pullLeft() {
	next, stop := iter.Pull(countTo(3))
	defer stop()
	next()
	<-never
}
