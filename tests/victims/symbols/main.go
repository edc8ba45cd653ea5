// The victim of tests/test_golang_symbols.c: it says what its own runtime makes of its program
// counters, then waits.  Lines, fields separated by tabs:
//
//	stack	NAME                               starts a list of what runtime.Callers returned
//	pc	HEX	FUNCTION	FILE	LINE       and what runtime.CallersFrames says of it, innermost first
//	at	HEX	FUNCTION	ENTRY	FILE	LINE   runtime.FuncForPC of an address in the text
//	chain	HEX	DEPTH FUNCTION FILE LINE   one frame of all that is inlined at an address
//	build	LINE                               of debug.ReadBuildInfo, the Go version first
package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
)

var out = bufio.NewWriterSize(os.Stdout, 1<<20)

// How far apart the addresses are that are asked about; a prime, so that all alignments occur.
const step = 23

//go:noinline
func capture(name string) {
	pcs := make([]uintptr, 64)
	pcs = pcs[:runtime.Callers(0, pcs)]
	frames := runtime.CallersFrames(pcs)
	fmt.Fprintf(out, "stack\t%s\n", name)
	for i := 0; ; i++ {
		frame, more := frames.Next()
		pc := uintptr(0)
		if i < len(pcs) {
			pc = pcs[i]
		}
		fmt.Fprintf(out, "pc\t%x\t%s\t%s\t%d\n", pc, frame.Function, frame.File, frame.Line)
		if !more {
			break
		}
	}
}

func textRanges() (ranges [][2]uintptr) {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		panic(err)
	}
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		panic(err)
	}
	for _, line := range strings.Split(string(maps), "\n") {
		fields := strings.Fields(line)
		if len(fields) < 6 || fields[5] != exe || fields[1][2] != 'x' {
			continue
		}
		var r [2]uintptr
		fmt.Sscanf(fields[0], "%x-%x", &r[0], &r[1])
		ranges = append(ranges, r)
	}
	return ranges
}

func walk() {
	for _, r := range textRanges() {
		for pc := r[0]; pc < r[1]; pc += step {
			f := runtime.FuncForPC(pc)
			if f == nil {
				continue
			}
			file, line := f.FileLine(pc)
			fmt.Fprintf(out, "at\t%x\t%s\t%x\t%s\t%d\n", pc, f.Name(), f.Entry(), file, line)
			expand(pc)
		}
	}
}

func build() {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		panic("no build info")
	}
	for _, line := range strings.Split(strings.TrimSuffix(info.String(), "\n"), "\n") {
		fmt.Fprintf(out, "build\t%s\n", line)
	}
}

func main() {
	build()
	stacks()
	walk()
	fmt.Fprintln(out, "ready")
	out.Flush()
	os.Stdin.Read(make([]byte, 1))
}
