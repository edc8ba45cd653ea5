//go:build cgo

package main

/*
#include <stdint.h>

extern uint64_t goCalledByC(uint64_t n);

static __attribute__((noinline)) uint64_t c_leaf(uint64_t n)
{
	for (int i = 0; i < 100000; i++)
		n = n * 6364136223846793005ull + 1442695040888963407ull;
	return n;
}

static __attribute__((noinline)) uint64_t c_step(uint64_t n)
{
	return c_leaf(n) + 1;
}

static __attribute__((noinline)) uint64_t c_calls_go(uint64_t n)
{
	return goCalledByC(n) + 1;
}
*/
import "C"

//export goCalledByC
func goCalledByC(n C.uint64_t) C.uint64_t {
	return C.uint64_t(leafCaller(uint64(n)))
}

//go:noinline
func cgoStep(n uint64) uint64 {
	return uint64(C.c_step(C.uint64_t(n)))
}

func goCgo() {
	for n := uint64(1); ; {
		n = cgoStep(n)
		if n == 0 {
			sink = n
		}
	}
}

//go:noinline
func callbackStep(n uint64) uint64 {
	return uint64(C.c_calls_go(C.uint64_t(n)))
}

func goCallback() {
	for n := uint64(1); ; {
		n = callbackStep(n)
		if n == 0 {
			sink = n
		}
	}
}

func init() {
	more["cgo"] = goCgo
	more["callback"] = goCallback
}
