package main

import (
	"context"
	"runtime/pprof"
	"strconv"
)

func startLabels() {
	go labelled(pprof.Labels("handler", "checkout", "tenant", "a&b \"quoted\""))
	go labelled(pprof.Labels("handler", "checkout"))
	go labelled(pprof.Labels("empty", "", "größe", "ключ\n"))
	go labelled(pprof.Labels(manyLabels(12)...))
	go labelledParent()
}

func labelled(set pprof.LabelSet) {
	pprof.Do(context.Background(), set, func(context.Context) { <-never })
}

// More than eight of them do not fit into one bucket of a map.
func manyLabels(n int) (args []string) {
	for i := 0; i < n; i++ {
		args = append(args, "key"+strconv.Itoa(i), "value"+strconv.Itoa(i*i))
	}
	return args
}

func labelledParent() {
	pprof.Do(context.Background(), pprof.Labels("inherited", "yes"), func(ctx context.Context) {
		go blockForEver()
		pprof.Do(ctx, pprof.Labels("nested", "2"), func(context.Context) { <-never })
	})
}
