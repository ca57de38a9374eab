package main

import "strings"

// sortedFrom is how many rows a block has to have that is worth sorting before ClickHouse does. A small one costs ClickHouse little of
// the time that an insert takes.
const sortedFrom = 20_000

// sortBlock brings the open block into the table's order. ClickHouse finds a sorted block sorted, and spends a quarter less on the one
// thread that an insert has; here it is done while the insert before is under way. The plan's hash does not depend on the order, and
// the token names the plan.
func (p *product) sortBlock() {
	block := p.open.block
	if block == nil || block.Rows() < sortedFrom || block.Rows() == p.open.sorted {
		return
	}
	p.open.sorted = block.Rows()
	if p.orderLayout != block.Layout() {
		p.orderLayout = block.Layout()
		columns := strings.Split(p.spec.OrderBy, ",")
		for i := range columns {
			columns[i] = strings.Trim(columns[i], " `")
		}
		p.order, _ = p.orderLayout.Order(columns...)
	}
	if p.order != nil {
		p.sorter.Sort(block, p.order)
	}
}
