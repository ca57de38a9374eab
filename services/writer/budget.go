package main

import "sync"

// budget bounds the memory of all blocks of all products, in bytes, to a third of the process's limit. Every product may
// always use its share, so that a product whose ClickHouse table is stuck cannot starve the others; beyond it, what is free.
type budget struct {
	mutex sync.Mutex
	limit int
	share int
	used  map[string]int
	total int
}

func newBudget(limit, products int) *budget {
	return &budget{limit: limit, share: limit / max(1, 2*products), used: map[string]int{}}
}

// report notes what a product holds and says whether it may take more.
func (b *budget) report(product string, bytes int) bool {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	b.total += bytes - b.used[product]
	b.used[product] = bytes
	return bytes < b.share || b.total < b.limit/3
}
