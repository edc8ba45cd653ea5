package main

import "context"

var keep []interface{} // what must never be collected

func startChannels() {
	empty := make(chan int)
	full := make(chan string, 1)
	full <- "full"
	keep = append(keep, empty, full)

	go chanReceive(empty)
	go chanReceiveOk(empty)
	go chanRange(empty)
	go chanSend(make(chan int))
	go chanSendFull(full)
	go chanReceiveNil(nil)
	go chanSendNil(nil)
	go selectTwo(empty, full)
	go selectOne(empty)
	go selectNone()
	go selectNilChannels(nil, nil)
	ctx, cancel := context.WithCancel(context.Background())
	keep = append(keep, cancel)
	go contextDone(ctx)
}

func chanReceive(c chan int) int {
	return <-c
}

func chanReceiveOk(c chan int) (int, bool) {
	v, ok := <-c
	return v, ok
}

func chanRange(c chan int) (sum int) {
	for v := range c {
		sum += v
	}
	return sum
}

func chanSend(c chan<- int) {
	c <- 1
}

func chanSendFull(c chan<- string) {
	c <- "one too many"
}

func chanReceiveNil(c <-chan bool) bool {
	return <-c
}

func chanSendNil(c chan<- bool) {
	c <- true
}

func selectTwo(a chan int, b chan string) {
	select {
	case v := <-a:
		println(v)
	case b <- "second":
	}
}

func selectOne(a chan int) {
	select {
	case v := <-a:
		println(v)
	}
}

func selectNone() {
	select {}
}

func selectNilChannels(a, b chan int) {
	select {
	case <-a:
	case b <- 1:
	}
}

func contextDone(ctx context.Context) {
	<-ctx.Done()
}
