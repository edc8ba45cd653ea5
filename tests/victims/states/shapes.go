package main

import (
	"fmt"
	"sort"

	"states/odd.v2"
)

var never = make(chan int)

func startShapes() {
	for _, depth := range []int{10, 60, 99, 100, 101, 150, 5000} {
		go recurse(depth)
	}
	for _, depth := range []int{30, 60, 200} {
		go recurseInlined(depth)
	}
	go mutualA(140)

	go genericWait[int](never, 1)
	go genericWait[string](never, "one")
	go genericWait[[]*pair[int, string]](never, nil)
	go (&pair[int, string]{1, "two"}).wait(never)
	go pair[float64, error]{}.waitByValue(never)
	go genericClosure[map[string]int]()
	go tree[string]{}.walk(func(string) { <-never })

	go func() { <-never }()
	go func() { func() { func() { <-never }() }() }()
	go makeClosure(3)()
	go runLater(namer{"method value"}.waitForName)
	go runLater(namer.waitForName, namer{"method expression"})
	defer deferredLater()

	var w waiter = &byValue{1}
	go w.wait()
	w = embedsInterface{waiter: &byPointer{2}}
	go w.wait()
	w = &embedsValue{byValue{3}}
	go callInterface(w)
	go outer(never)
	go outerOfMethod(&byPointer{4})
	go viaSort([]int{2, 1})
	go viaStringer(blockingStringer{})
	go odd.Wait(never)
	go größe(never)
	go parent(3)
	go spawnAndEnd()
}

//go:noinline
func recurse(depth int) int {
	if depth <= 1 {
		return <-never
	}
	return recurse(depth-1) + 1
}

// recurseInlined has two inlined frames per real one: counting frames is not counting calls.
//
//go:noinline
func recurseInlined(depth int) int {
	return inlinedStep(depth)
}

func inlinedStep(depth int) int {
	return inlinedStepTwice(depth) + 1
}

func inlinedStepTwice(depth int) int {
	if depth <= 1 {
		return <-never
	}
	return recurseInlined(depth - 1)
}

//go:noinline
func mutualA(depth int) int {
	if depth == 0 {
		return <-never
	}
	return mutualB(depth-1, "b") + 1
}

//go:noinline
func mutualB(depth int, name string) int {
	if depth == 0 {
		return <-never
	}
	return mutualA(depth-1) + len(name)
}

//go:noinline
func genericWait[T any](c chan int, v T) T {
	<-c
	return v
}

type pair[A, B any] struct {
	a A
	b B
}

//go:noinline
func (p *pair[A, B]) wait(c chan int) A {
	<-c
	return p.a
}

//go:noinline
func (p pair[A, B]) waitByValue(c chan int) B {
	<-c
	return p.b
}

func genericClosure[T any]() {
	func() {
		var v T
		<-never
		keep = append(keep, v)
	}()
}

type tree[T any] struct{ left, right *tree[T] }

func (t tree[T]) walk(visit func(T)) {
	var v T
	visit(v)
}

func makeClosure(n int) func() int {
	return func() int {
		n++
		return n + <-never
	}
}

type namer struct{ name string }

func (n namer) waitForName() {
	<-never
	fmt.Println(n.name)
}

func runLater[F func() | func(namer)](f F, args ...namer) {
	switch f := any(f).(type) {
	case func():
		f()
	case func(namer):
		f(args[0])
	}
}

func deferredLater() {
	go func() {
		defer mutualB(0, "deferred")
	}()
}

type waiter interface{ wait() }

type byValue struct{ n int }

func (v byValue) wait() { <-never }

type byPointer struct{ n int }

func (p *byPointer) wait() { <-never }

type embedsInterface struct{ waiter }

type embedsValue struct{ byValue }

//go:noinline
func callInterface(w waiter) { w.wait() }

// outer, middle and inner are inlined into one another.
func outer(c chan int) int  { return middle(c) + 1 }
func middle(c chan int) int { return inner(c) + 2 }
func inner(c chan int) int {
	v := <-c
	return v + 3
}

func outerOfMethod(p *byPointer) { middleOfMethod(p) }
func middleOfMethod(p *byPointer) {
	p.wait()
}

func viaSort(list []int) {
	sort.Slice(list, func(i, j int) bool {
		<-never
		return false
	})
}

type blockingStringer struct{}

func (blockingStringer) String() string {
	<-never
	return ""
}

func viaStringer(s fmt.Stringer) {
	_ = fmt.Sprintf("%v", s)
}

func größe(канал chan int) int {
	return <-канал
}

// parent is created by parent, created by parent, and all of them live.
func parent(generations int) {
	if generations > 0 {
		go parent(generations - 1)
	}
	<-never
}

// spawnAndEnd leaves a goroutine whose creator is gone.
func spawnAndEnd() {
	go chanReceive(never)
}
