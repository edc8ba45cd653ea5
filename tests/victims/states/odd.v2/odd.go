// Package odd has a dot in the last element of its path, which symbol names escape.
package odd

// Wait waits for ever.
//
//go:noinline
func Wait(c chan int) int {
	return <-c
}

// Escape is a type whose method's symbol holds the escape as well.
type Escape struct{ C chan int }

// Wait waits for ever.
func (e *Escape) Wait() { <-e.C }
