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
	faults  *faults
	lock    sync.Mutex // guards journal
	journal []string
	prices  string
	parsed  map[string]int // prices, read once
	catalog map[string]*article
}

func newShop(faults *faults) *shop {
	catalog := make(map[string]*article)
	for i := 0; i < 250000; i++ {
		price := i
		a := &article{name: fmt.Sprintf("article-%d", i), price: &price}
		catalog[a.name] = a
	}
	var prices strings.Builder
	for i := 0; i < 5000; i++ {
		fmt.Fprintf(&prices, "article-%d,%d.%02d\n", i, i%90+1, i%100)
	}
	s := &shop{faults: faults, prices: prices.String(), catalog: catalog}
	s.parsed = s.parse()
	return s
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

// reserve asks every warehouse and takes the first answer, for at most 50 ms.  The fault: a channel
// without room, so nobody takes the other answers, and askWarehouse stays in its send for ever.
func (s *shop) reserve(o *order) (int, error) {
	total := s.price(o)
	answer := make(chan int, 4)
	if s.faults.leak.Load() {
		answer = make(chan int)
	}
	for warehouse := 0; warehouse < 4; warehouse++ {
		go s.askWarehouse(warehouse, total, o, answer)
	}
	select {
	case total := <-answer:
		return total, nil
	case <-time.After(50 * time.Millisecond):
		return 0, fmt.Errorf("no warehouse answered customer %s in time", o.customer)
	}
}

func (s *shop) askWarehouse(warehouse, total int, o *order, answer chan<- int) {
	time.Sleep(time.Duration(2+warehouse) * time.Millisecond)
	answer <- total + warehouse*len(o.lines)
}

// price, with the fault, parses the whole list for every order.
func (s *shop) price(o *order) int {
	prices := s.parsed
	if s.faults.parsing.Load() {
		prices = s.parse()
	}
	return prices["article-"+o.lines[0]] + len(prices)
}

func (s *shop) parse() map[string]int {
	prices := make(map[string]int)
	for i, line := range strings.Split(s.prices, "\n") {
		fields := strings.Split(line, ",")
		prices[fields[0]] = i
	}
	return prices
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
	if flush := s.faults.flush.Load(); flush > 0 {
		time.Sleep(time.Duration(flush))
	}
}
