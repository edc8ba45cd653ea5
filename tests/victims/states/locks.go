package main

import "sync"

var (
	held     sync.Mutex
	heldRead sync.RWMutex // held by a reader, so that a writer waits, and readers behind it
	heldFull sync.RWMutex // held by a writer
	group    sync.WaitGroup
	once     sync.Once
	ready    = sync.NewCond(&condLock)
	condLock sync.Mutex
)

func startLocks() {
	held.Lock()
	heldRead.RLock()
	heldFull.Lock()
	group.Add(1)
	for i := 0; i < 3; i++ {
		go mutexLock(i)
	}
	go rwLock()
	go rwReadLock()
	go rwReadBehindWriter()
	go groupWait()
	go condWait()
	go onceHolder()
	go onceWaiter()
	var keeper lockKeeper
	go keeper.lockInMethod()
	var m sync.Map
	go mapRangeBlocked(&m)
}

func mutexLock(which int) int {
	held.Lock()
	defer held.Unlock()
	return which
}

func rwLock() {
	heldRead.Lock()
	heldRead.Unlock()
}

func rwReadLock() {
	heldFull.RLock()
	heldFull.RUnlock()
}

func rwReadBehindWriter() {
	heldFull.RLock()
	defer heldFull.RUnlock()
}

func groupWait() {
	group.Wait()
}

func condWait() {
	condLock.Lock()
	ready.Wait()
	condLock.Unlock()
}

func onceHolder() {
	once.Do(func() { select {} })
}

func onceWaiter() {
	for !onceEntered() {
	}
	once.Do(func() {})
}

// onceEntered keeps the waiter from winning the race for the Once.
func onceEntered() bool {
	return countStacks("main.onceHolder.func1") > 0
}

type lockKeeper struct {
	sync.Mutex
	name string
}

func (k *lockKeeper) lockInMethod() {
	k.Lock()
	k.Lock() // a service that locks itself out
	k.name = "never"
}

func mapRangeBlocked(m *sync.Map) {
	m.Store("key", "value")
	m.Range(func(key, value interface{}) bool {
		select {}
	})
}
