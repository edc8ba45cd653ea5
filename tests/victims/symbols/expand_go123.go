//go:build go1.23

package main

import (
	"fmt"
	"runtime"
)

// From 1.23 on CallersFrames expands the inlined frames of a single address when another follows.
func expand(pc uintptr) {
	frames := runtime.CallersFrames([]uintptr{pc + 1, 1})
	for depth := 0; ; depth++ {
		frame, more := frames.Next()
		if depth > 0 || more {
			fmt.Fprintf(out, "chain\t%x\t%d\t%s\t%s\t%d\n", pc, depth, frame.Function,
				frame.File, frame.Line)
		}
		if !more {
			break
		}
	}
}
