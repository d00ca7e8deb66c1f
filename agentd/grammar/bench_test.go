package grammar_test

import (
	"strconv"
	"testing"

	"agentd.dev/decoders/sql"
)

const ordinary = `select o.id, c.name, sum(i.price * i.amount) as total
from orders o join customers c on c.id = o.customer_id left join items i on i.order_id = o.id
where o.created > now() - interval '7 days' and c.country in ('de', 'at', 'ch') and o.state <> 'void'
group by o.id, c.name having sum(i.price) > 100 order by total desc limit 50`

func BenchmarkStudyCold(b *testing.B) {
	p := open(b)
	f := sql.NewAnalyzer(nil).Analyze([]byte(ordinary))
	text := f.Skeleton()
	i := 0
	for b.Loop() {
		i++
		p.Study([]byte(strconv.Itoa(i)), text)
	}
}

func BenchmarkKnown(b *testing.B) {
	p := open(b)
	f := sql.NewAnalyzer(nil).Analyze([]byte(ordinary))
	p.Study(f.Key, f.Skeleton())
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := p.Known(f.Key); !ok {
			b.Fatal("not known")
		}
	}
}
