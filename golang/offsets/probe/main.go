// The smallest program whose DWARF describes every struct that main.go looks for.
package main

import (
	"os"
	"runtime/pprof"
	"time"
)

func main() {
	c := make(chan int)
	go func() { time.Sleep(time.Millisecond); c <- 1 }()
	<-c
	_ = pprof.Lookup("heap").WriteTo(os.Stdout, 1)
}
