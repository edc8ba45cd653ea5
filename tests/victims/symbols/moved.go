package main

// A line directive moves the file name and the line, not the function.
//
//go:noinline
func moved(name string) {
//line elsewhere.y:4711
	capture(name)
}
