package main

// Allocations that stay, from distinct sites and of very different sizes, so that the heap profile
// holds buckets whose samples need quite different scaling, and garbage that was freed.

var (
	smallObjects  []*[64]byte
	mediumObjects [][]byte
	largeObjects  [][]byte
)

func allocateForever() {
	for i := 0; i < 60000; i++ {
		smallObjects = append(smallObjects, newSmall())
	}
	for i := 0; i < 600; i++ {
		mediumObjects = append(mediumObjects, newMedium(4096))
	}
	for i := 0; i < 4; i++ {
		largeObjects = append(largeObjects, newLarge(1<<20))
	}
	for i := 0; i < 400; i++ {
		wasted(16 << 10)
	}
	for depth := 1; depth <= 64; depth *= 2 {
		mediumObjects = append(mediumObjects, allocateDeep(depth, 256<<10))
	}
}

//go:noinline
func newSmall() *[64]byte { return new([64]byte) }

//go:noinline
func newMedium(n int) []byte { return make([]byte, n) }

//go:noinline
func newLarge(n int) []byte { return make([]byte, n) }

//go:noinline
func wasted(n int) byte {
	garbage = make([]byte, n)
	return garbage[0]
}

var garbage []byte

//go:noinline
func allocateDeep(depth, n int) []byte {
	if depth <= 1 {
		return make([]byte, n)
	}
	b := allocateDeep(depth-1, n)
	b[0]++
	return b
}
