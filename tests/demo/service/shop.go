package main

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

type order struct {
	customer string
	lines    []string
	notes    [4096]byte
}

type article struct {
	name  string
	price *int
}

type shop struct {
	lock    sync.Mutex // guards journal
	journal []string
	prices  string
	catalog map[string]*article
}

func newShop() *shop {
	catalog := make(map[string]*article)
	for i := 0; i < 250000; i++ {
		price := i
		a := &article{name: fmt.Sprintf("article-%d", i), price: &price}
		catalog[a.name] = a
	}
	var prices strings.Builder
	for i := 0; i < 2000; i++ {
		fmt.Fprintf(&prices, "article-%d,%d.%02d\n", i, i%90+1, i%100)
	}
	return &shop{prices: prices.String(), catalog: catalog}
}

func (s *shop) serveOrder(w http.ResponseWriter, r *http.Request) {
	o := &order{customer: r.FormValue("customer"), lines: []string{r.FormValue("n")}}
	s.record(o)
	total, err := s.reserve(o)
	if err != nil {
		http.Error(w, err.Error(), http.StatusGatewayTimeout)
		return
	}
	fmt.Fprintf(w, "total %d\n", total)
}

// reserve asks the warehouse and gives up after 20 ms.  The fault: the channel has no room, so that
// an answer which comes later has nobody to take it, and askWarehouse stays in its send for ever.
func (s *shop) reserve(o *order) (int, error) {
	answer := make(chan int)
	go s.askWarehouse(o, answer)
	select {
	case total := <-answer:
		return total, nil
	case <-time.After(20 * time.Millisecond):
		return 0, fmt.Errorf("the warehouse did not answer customer %s in time", o.customer)
	}
}

func (s *shop) askWarehouse(o *order, answer chan<- int) {
	total := s.price(o)
	if len(o.lines[0])%2 == 0 { // one warehouse of two is slow
		time.Sleep(30 * time.Millisecond)
	}
	answer <- total
}

// price parses the whole list for every order.
func (s *shop) price(o *order) int {
	prices := make(map[string]int)
	for i, line := range strings.Split(s.prices, "\n") {
		fields := strings.Split(line, ",")
		prices[fields[0]] = i
	}
	return prices["article-"+o.lines[0]] + len(prices)
}

// record writes the journal while it holds the lock that everybody needs.
func (s *shop) record(o *order) {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.journal = append(s.journal, o.customer+" "+o.lines[0])
	if len(s.journal) > 1000 {
		s.journal = nil
	}
	s.flushJournal()
}

func (s *shop) flushJournal() {
	time.Sleep(5 * time.Millisecond)
}
