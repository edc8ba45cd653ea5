//go:build cgo

package main

/*
#include <stdint.h>
#include <time.h>

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
// Not alike, or the compiler makes one of them.
#define SMASH(name, by)                                                                     \
static __attribute__((noinline)) uint64_t name(uint64_t n)                                  \
{                                                                                           \
	for (int i = 0; i < 20000; i++)                                                     \
		__asm__ volatile("mov %0, %%rbp\n\timul $" #by ", %%rbp\n\tlea 7(%%rbp), %0"     \
		                 : "+r"(n) : : "rbp", "cc");                                \
	return n;                                                                           \
}
SMASH(c_smash_a, 31)
SMASH(c_smash_b, 37)

// For so long, in one of the two.
static __attribute__((noinline)) uint64_t c_smashes(uint64_t n, int ms, int which)
{
	struct timespec began, now;
	clock_gettime(CLOCK_MONOTONIC, &began);
	do {
		n = which ? c_smash_b(n) + 1 : c_smash_a(n) + 1;
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while ((now.tv_sec - began.tv_sec) * 1000 + (now.tv_nsec - began.tv_nsec) / 1000000 < ms);
	return n;
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

// Two callers whose frames are alike.

//go:noinline
func smashStepA(n uint64, ms int) uint64 {
	return uint64(C.c_smashes(C.uint64_t(n), C.int(ms), 0))
}

//go:noinline
func smashStepB(n uint64, ms int) uint64 {
	return uint64(C.c_smashes(C.uint64_t(n), C.int(ms), 1))
}

// Only when asked for: where the stack goes on from there is not in a sample.
func smash(ms int) {
	for n := uint64(1); ; {
		n = smashStepB(smashStepA(n, ms), ms)
		if n == 0 {
			sink = n
		}
	}
}

func goSmash() { smash(0) }
func goHeld()  { smash(600) }

func init() {
	more["cgo"] = goCgo
	more["callback"] = goCallback
	asked["smash"] = goSmash
	asked["held"] = goHeld
}
