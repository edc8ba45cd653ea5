package main

import (
	"bytes"
	"io"
	"net"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"
)

func startWaits() {
	go sleep(24 * time.Hour)
	go timerWait(time.NewTimer(24 * time.Hour))
	go tickerWait(time.NewTicker(24 * time.Hour))
	go afterWait()
	keep = append(keep, time.AfterFunc(24*time.Hour, func() {}))

	startNetwork()

	var ends [2]int
	must(syscall.Pipe2(ends[:], syscall.O_CLOEXEC))
	go syscallRead(ends[0])
	must(syscall.Pipe2(ends[:], syscall.O_CLOEXEC))
	go syscallReadLocked(ends[0])
	r, w, err := os.Pipe()
	must(err)
	keep = append(keep, w)
	go pipeRead(r)

	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGUSR1)
	go signalWait(c)
	go lockedToThread(make(chan int))
	go lockedSleep()
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func startNetwork() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	go netAccept(l)
	pair, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	near, err := net.Dial("tcp", pair.Addr().String())
	must(err)
	far, err := pair.Accept()
	must(err)
	keep = append(keep, near, pair)
	go netRead(far)
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	must(err)
	go netReadFrom(packets)
}

func netAccept(l net.Listener) {
	c, err := l.Accept()
	keep = append(keep, c, err)
}

func netRead(c net.Conn) {
	_, _ = io.Copy(io.Discard, c)
}

func netReadFrom(p net.PacketConn) {
	var to [16]byte
	_, _, _ = p.ReadFrom(to[:])
}

func sleep(d time.Duration) {
	time.Sleep(d)
}

func timerWait(t *time.Timer) time.Time {
	return <-t.C
}

func tickerWait(t *time.Ticker) {
	for range t.C {
	}
}

func afterWait() {
	select {
	case <-time.After(24 * time.Hour):
	case <-make(chan int):
	}
}

func syscallRead(fd int) {
	var to [16]byte
	_, _ = syscall.Read(fd, to[:])
}

func syscallReadLocked(fd int) {
	runtime.LockOSThread()
	var to [16]byte
	_, _ = syscall.Read(fd, to[:])
}

func pipeRead(r *os.File) {
	var to [16]byte
	_, _ = r.Read(to[:])
}

func signalWait(c chan os.Signal) {
	<-c
}

func lockedToThread(c chan int) {
	runtime.LockOSThread()
	<-c
}

func lockedSleep() {
	runtime.LockOSThread()
	time.Sleep(24 * time.Hour)
}

// countStacks says how often text occurs in the stacks of all goroutines.
func countStacks(text string) int {
	all := make([]byte, 4<<20)
	return bytes.Count(all[:runtime.Stack(all, true)], []byte(text))
}
