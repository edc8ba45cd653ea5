package main

import (
	"sort"
	"strings"
	"sync"
)

// Small enough to be inlined, one into the other.
func inner(name string)  { capture(name) }
func middle(name string) { inner(name) }
func outer(name string)  { middle(name) }

type number interface{ ~int | ~float64 }

func sum[T number](list []T, name string) (total T) {
	for _, v := range list {
		total += v
	}
	capture(name)
	return total
}

type pair[K comparable, V any] struct {
	key   K
	value V
}

//go:noinline
func (p *pair[K, V]) show(name string) { capture(name) }

func (p pair[K, V]) inlined(name string) { capture(name) }

type shower interface{ show(string) }

type base struct{ n int }

//go:noinline
func (b base) byValue(name string) { capture(name) }

// Called through an interface on a *base or an embedding, byValue is reached by a wrapper.
type byValuer interface{ byValue(string) }

type embedding struct {
	_ int
	*base
}

//go:noinline
func recurse(depth int, name string) {
	if depth == 0 {
		capture(name)
		return
	}
	recurse(depth-1, name)
}

//go:noinline
func call(f func(string), name string) { f(name) }

//go:noinline
func panicking(name string) {
	defer func() {
		recover()
	}()
	defer capture(name)
	var none *base
	none.n++
}

func stacks() {
	capture("plain")
	outer("inlined")
	sum([]int{1, 2}, "generic int")
	sum([]float64{1, 2}, "generic float")
	var s shower = &pair[string, int]{"a", 1}
	s.show("generic method")
	pair[int, []string]{}.inlined("generic inlined method")
	var b byValuer = &base{1}
	b.byValue("pointer wrapper")
	b = embedding{base: &base{1}}
	b.byValue("embedding wrapper")
	call(b.byValue, "method value")
	call(outer, "inlined behind a function value")
	call(func(name string) { func() { outer(name) }() }, "closures")
	recurse(40, "recursion")
	panicking("panic")
	moved("line directive")
	var once sync.Once
	once.Do(func() { outer("once") })
	sort.Slice([]int{2, 1}, func(i, j int) bool {
		capture("callback")
		return false
	})
	strings.Map(func(r rune) rune { outer("runes"); return r }, "x")
	defer outer("deferred")
	done := make(chan bool)
	go func() {
		defer close(done)
		outer("goroutine")
	}()
	<-done
}
