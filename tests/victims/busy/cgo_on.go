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

// The frame pointer's register holds what no frame pointer ever is.
static __attribute__((noinline)) uint64_t c_smash(uint64_t n)
{
	for (int i = 0; i < 100000; i++)
		__asm__ volatile("mov %0, %%rbp\n\timul $31, %%rbp\n\tlea 7(%%rbp), %0"
		                 : "+r"(n) : : "rbp", "cc");
	return n;
}

static __attribute__((noinline)) uint64_t c_smashes(uint64_t n)
{
	return c_smash(n) + 1;
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

//go:noinline
func smashStep(n uint64) uint64 {
	return uint64(C.c_smashes(C.uint64_t(n)))
}

// Only when asked for: nothing leads from there to its goroutine's stack.
func goSmash() {
	for n := uint64(1); ; {
		n = smashStep(n)
		if n == 0 {
			sink = n
		}
	}
}

func init() {
	more["cgo"] = goCgo
	more["callback"] = goCallback
	asked["smash"] = goSmash
}
