package main

import (
	"errors"
	"states/odd.v2"
)

// Every shape of argument that a traceback prints in its own way.
func startArguments() {
	go argsNone()
	go argsWords(1, -2, 0x1234567890, true)
	go argsSmall(1, 2, 3, 'x', -1)
	go argsString("text", []byte("bytes"))
	go argsInterfaces(errors.New("an error"), nil, 42)
	go argsFloats(1.5, 2.5, 3+4i)
	go argsMany(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13)
	go argsStruct(flat{1, "two", 3}, &flat{4, "five", 6})
	go argsNested(nest1{nest2{nest3{nest4{nest5{nest6{7}}}}}})
	go argsArrays([1]int{1}, [3]int{1, 2, 3}, [0]int{}, struct{}{})
	go argsVariadic("first", 1, 2, 3)
	go argsDead(1, 2, 3)
	go argsResults(1)
	go argsPointers(&keep, func() {}, map[string]int{"a": 1})
	go flat{1, "receiver", 3}.argsReceiver(9)
	go (&odd.Escape{C: never}).Wait()
}

//go:noinline
func argsNone() { <-never }

//go:noinline
func argsWords(a int, b int64, c uint64, d bool) (int, int64, uint64, bool) {
	<-never
	return a, b, c, d
}

//go:noinline
func argsSmall(a int8, b uint16, c uint32, d rune, e int16) (int8, uint16, uint32, rune, int16) {
	<-never
	return a, b, c, d, e
}

//go:noinline
func argsString(s string, b []byte) (string, []byte) {
	<-never
	return s, b
}

//go:noinline
func argsInterfaces(e error, n error, v interface{}) (error, error, interface{}) {
	<-never
	return e, n, v
}

//go:noinline
func argsFloats(a float64, b float32, c complex128) complex128 {
	<-never
	return complex(a, float64(b)) + c
}

//go:noinline
func argsMany(a, b, c, d, e, f, g, h, i, j, k, l, m int) int {
	<-never
	return a + b + c + d + e + f + g + h + i + j + k + l + m
}

type flat struct {
	a int
	b string
	c uint8
}

//go:noinline
func argsStruct(v flat, p *flat) (flat, *flat) {
	<-never
	return v, p
}

type nest6 struct{ v int }
type nest5 struct{ n nest6 }
type nest4 struct{ n nest5 }
type nest3 struct{ n nest4 }
type nest2 struct{ n nest3 }
type nest1 struct{ n nest2 }

//go:noinline
func argsNested(n nest1) nest1 {
	<-never
	return n
}

//go:noinline
func argsArrays(a [1]int, b [3]int, c [0]int, d struct{}) int {
	<-never
	return a[0] + b[0] + len(c)
}

//go:noinline
func argsVariadic(first string, rest ...int) (string, []int) {
	<-never
	return first, rest
}

// argsDead never looks at its arguments again: a traceback marks them with a question mark.
//
//go:noinline
func argsDead(a, b, c int) {
	if a+b+c == 6 {
		<-never
	}
}

//go:noinline
func argsResults(a int) (b int, err error) {
	defer func() { err = errors.New("never") }()
	return a + <-never, nil
}

//go:noinline
func argsPointers(p *[]interface{}, f func(), m map[string]int) {
	<-never
	*p = append(*p, m)
	f()
}

//go:noinline
func (f flat) argsReceiver(n int) flat {
	<-never
	f.a += n
	return f
}
