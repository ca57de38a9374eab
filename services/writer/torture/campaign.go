package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/streamforge/streamforge/services/internal/groupcontrol"
	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/localstack"
	"github.com/streamforge/streamforge/services/internal/records"
)

// campaign is one seed: traffic, faults, healing, and the proof.
type campaign struct {
	*world
	seed    uint64
	plan    schedule
	traffic *traffic
	began   time.Time
	faults  int
	// unread is where the writers stopped reading, of partitions where they did.
	unread map[int32]int64

	mutex  sync.Mutex // of the lines printed
	under  sync.WaitGroup
	random *rand.Rand
	joined int
}

// result of a seed.
type result struct {
	seed                               uint64
	faults, records                    int
	lost, duplicated                   int
	anomalies                          []string
	dir                                string
	inserts, fetches                   int
	struck                             map[kind]int
	rows, letters, buckets, unanswered int
	healed                             time.Duration // from the last fault's end to lag 0
}

// named writers are there from the beginning; each has a stable name.
var named = []string{"writer-a", "writer-b"}

// healing bounds the wait for lag 0 after the last fault. A broker may wait for dead members several times over before that.
const healing = 7 * time.Minute

// run holds a campaign. An error is one of the torture itself, and no anomaly.
func run(ctx context.Context, config config, seed uint64, plan schedule) (*result, error) {
	w, err := build(ctx, config, seed, plan)
	if err != nil {
		return nil, err
	}
	c := &campaign{world: w, seed: seed, plan: plan, random: rand.New(rand.NewPCG(seed, 13))}
	r, err := c.run(ctx)
	err = errors.Join(err, c.close())
	if err == nil && len(r.anomalies) == 0 && !config.Keep {
		err = os.RemoveAll(w.dir)
	}
	return r, err
}

func (c *campaign) run(ctx context.Context) (*result, error) {
	id, err := c.registry.ID(ctx, subject)
	if err != nil {
		return nil, err
	}
	if c.traffic, err = newTraffic(c.kafka, c.seed, c.plan.Poisoned, partitions, c.config.Rate, id); err != nil {
		return nil, err
	}
	defer c.traffic.producer.Close()
	for _, name := range named {
		if err := c.launch(ctx, name, name); err != nil {
			return nil, err
		}
	}
	producing, stop := context.WithCancel(ctx)
	var produced sync.WaitGroup
	produced.Go(func() { c.traffic.run(producing) })
	defer produced.Wait()
	defer stop()
	if err := c.flowing(ctx); err != nil {
		return nil, err
	}
	c.began = time.Now()
	c.strike(ctx)
	c.under.Wait()
	stop()
	produced.Wait()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	c.say("faults are over")
	return c.prove(ctx)
}

// flowing waits until both writers are ready and rows arrive: what strikes before that strikes nothing.
func (c *campaign) flowing(ctx context.Context) error {
	return again(ctx, func() error {
		rows, err := c.clickhouse.Query(ctx, "SELECT count() FROM "+table)
		if err != nil {
			return err
		}
		defer rows.Close()
		var count uint64
		for rows.Next() {
			if err := rows.Scan(&count); err != nil {
				return err
			}
		}
		if err := rows.Err(); err != nil {
			return err
		}
		if count == 0 {
			return errors.New("no row has arrived in the table")
		}
		for _, name := range named {
			if err := ready(ctx, c.stack.HTTP(name)); err != nil {
				return err
			}
		}
		return nil
	})
}

// say prints what is done, with the time since the traffic began.
func (c *campaign) say(format string, args ...any) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if !c.config.Quiet {
		fmt.Printf("  %6.2fs  %s\n", time.Since(c.began).Seconds(), fmt.Sprintf(format, args...))
	}
}

// strike begins each fault when it is due, and lets the traffic go on until the campaign's length is over.
func (c *campaign) strike(ctx context.Context) {
	for _, f := range c.plan.Faults {
		if !sleep(ctx, time.Until(c.began.Add(f.At))) {
			return
		}
		c.faults++
		c.under.Go(func() { c.do(ctx, f) })
	}
	sleep(ctx, time.Until(c.began.Add(c.config.length())))
}

// sleep says false when ctx has ended.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// do is one fault from its beginning to its end.
func (c *campaign) do(ctx context.Context, f fault) {
	writer := named[int(f.Draw)%len(named)]
	c.say("%s", f)
	switch f.Kind {
	case killWriter:
		c.kill(writer)
	case killClickHouse:
		c.kill("clickhouse")
	case killBroker:
		c.kill("broker")
	case killRegistry:
		c.kill("registry")
	case stopWriter:
		c.stop(ctx, writer, f.For)
	case stopClickHouse:
		c.stop(ctx, "clickhouse", f.For)
	case stopBroker:
		c.stop(ctx, "broker", f.For)
	case stopRegistry:
		c.stop(ctx, "registry", f.For)
	case killInInsert, powerLoss:
		c.sink.onInsert(func() {
			time.Sleep(time.Duration(f.Draw%40) * time.Millisecond)
			c.kill("clickhouse")
			if f.Kind == powerLoss {
				for _, name := range named {
					c.kill(name)
				}
			}
		})
	case rebalanceStorm:
		for end := time.Now().Add(f.For); time.Now().Before(end) && ctx.Err() == nil; {
			// The embedded broker sets no session timeout for a member whose connection is gone when its join is answered: after a
			// kill at that moment a group stands still for as long as a rebalance may take at most.
			c.join(ctx, 300*time.Millisecond, c.config.Stack != localstack.Embedded)
		}
	case joinWriter:
		c.join(ctx, f.For, false)
	case schemaChange:
		c.changeSchema(ctx, f.Draw%2 == 0)
	case fullDisk:
		c.fillDisk(ctx, f.For)
	case clockJump:
		c.jump(ctx, writer, f)
	case recreateTopic:
		c.recreate(ctx)
	case pauseGroup:
		c.pause(ctx, f.For)
	case cutBroker:
		c.wire.cut(f.Draw%3 > 0)
	case slowBroker:
		end := c.wire.slow()
		sleep(ctx, f.For)
		end()
	case blackHole:
		end := c.wire.swallow([][]int{{requests}, {answers}, {requests, answers}}[f.Draw%3]...)
		sleep(ctx, f.For)
		end()
	default:
		end := c.sink.during(f.Kind)
		sleep(ctx, f.For)
		end()
	}
}

func (c *campaign) kill(name string) {
	if p := c.stack.Process(name); p != nil {
		_ = syscall.Kill(p.PID(), syscall.SIGKILL) // It may have just ended by another fault.
	}
}

// stop suspends a process. Whatever was killed meanwhile has another id, and runs.
func (c *campaign) stop(ctx context.Context, name string, d time.Duration) {
	p := c.stack.Process(name)
	if p == nil {
		return
	}
	pid := p.PID()
	_ = syscall.Kill(pid, syscall.SIGSTOP)
	sleep(ctx, d)
	_ = syscall.Kill(pid, syscall.SIGCONT)
}

// join has a writer without a name join the group for a while. It is killed, or drains.
func (c *campaign) join(ctx context.Context, d time.Duration, kill bool) {
	c.mutex.Lock()
	c.joined++
	name := fmt.Sprintf("writer-joined-%d", c.joined)
	c.mutex.Unlock()
	if err := c.launch(ctx, name, ""); err != nil {
		c.say("%s did not start: %v", name, err)
		return
	}
	sleep(ctx, d)
	if kill {
		if err := c.stack.Process(name).Hold(); err != nil {
			c.say("%s: %v", name, err)
		}
	}
	if err := c.stack.StopProgram(name); err != nil && !kill {
		c.say("%s left: %v", name, err)
	}
}

// changeSchema makes the new version's column before or after the version, and then has records of it produced.
func (c *campaign) changeSchema(ctx context.Context, columnFirst bool) {
	id := 0
	column := func() error { return c.addColumn(ctx) }
	version := func() (err error) { id, err = c.registerNext(ctx); return err }
	steps := []func() error{version, column}
	if columnFirst {
		steps = []func() error{column, version}
	}
	for i, step := range steps {
		if err := again(ctx, step); err != nil {
			c.say("the schema is not changed: %v", err)
			return
		}
		// Without its column the writer has to wait for records of the new version, or to read on with the old.
		if id != 0 {
			c.traffic.changeSchema(id)
		}
		if i == 0 {
			sleep(ctx, 500*time.Millisecond)
		}
	}
}

// pause has the group pause for a while. The words may be said more than once, each the same.
func (c *campaign) pause(ctx context.Context, d time.Duration) {
	say := func(state records.GroupState) error {
		return again(ctx, func() error {
			id, err := c.registry.ID(ctx, groupcontrol.Subject)
			if err != nil {
				return err
			}
			waiting, stop := context.WithTimeout(ctx, 10*time.Second)
			defer stop()
			return groupcontrol.Say(waiting, c.kafka, "torture@0", id, records.GroupControl{
				Group: group, State: state, Reason: "torture", RequestedBy: "torture", RequestedAt: time.Now().UnixMicro(),
			})
		})
	}
	if err := say(records.GroupPaused); err != nil {
		c.say("the group is not paused: %v", err)
	}
	sleep(ctx, d)
	if err := say(records.GroupRunning); err != nil {
		c.say("the group is not asked to go on: %v", err)
	}
}

// again tries until it succeeds: what is asked may be killed or stopped at the time.
func again(ctx context.Context, try func() error) error {
	for end := time.Now().Add(healing); ; {
		err := try()
		if err == nil || time.Now().After(end) || !sleep(ctx, 100*time.Millisecond) {
			return err
		}
	}
}

// recreate deletes the topic and makes it again. Of the old one's records those that are not in the table yet are gone.
func (c *campaign) recreate(ctx context.Context) {
	old := c.topicID
	err := c.traffic.renew(ctx, func() error {
		if err := again(ctx, func() error { return c.deleted(ctx) }); err != nil {
			return err
		}
		return again(ctx, func() error {
			if err := c.admin.Create(ctx, []kafka.NewTopic{c.topic}); err != nil && !kafka.TopicAlreadyExists(err) {
				return err
			}
			id, err := c.admin.TopicID(ctx, topic)
			if err == nil {
				c.topicID, c.oldID = id, old
			}
			return err
		})
	})
	if err != nil {
		c.say("the topic is not made again: %v", err)
		return
	}
	c.say("the topic is made again: %s is now %s", uuidText(old), uuidText(c.topicID))
}

// deleted deletes the topic and fails for as long as it is there.
func (c *campaign) deleted(ctx context.Context) error {
	if err := c.admin.Delete(ctx, topic); err != nil {
		return err
	}
	_, err := c.admin.TopicID(ctx, topic)
	switch {
	case err == nil:
		return errors.New("the deleted topic is still there")
	case errors.Is(err, kafka.ErrUnknownTopic):
		return nil
	}
	return err
}

// jump sets a writer's clock wrong for a while. Once in four times the writer is killed meanwhile, and has to begin by the wrong clock.
func (c *campaign) jump(ctx context.Context, writer string, f fault) {
	c.say("the clock of %s is off by %s", writer, f.offset())
	if err := c.setClock(writer, f.offset()); err != nil {
		c.say("the clock does not jump: %v", err)
		return
	}
	if f.Draw>>19&3 == 0 && sleep(ctx, 100*time.Millisecond) {
		c.kill(writer)
	}
	sleep(ctx, f.For)
	if err := c.setClock(writer, 0); err != nil {
		c.say("the clock does not jump back: %v", err)
	}
}

func (c *campaign) fillDisk(ctx context.Context, d time.Duration) {
	if c.disk == "" {
		c.say("full-disk is left out: a small disk cannot be mounted here")
		return
	}
	remove, err := c.ballast()
	if err != nil {
		c.say("the disk is not filled: %v", err)
		return
	}
	sleep(ctx, d)
	remove()
}

// ready asks a program.
func ready(ctx context.Context, address string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/readyz", nil)
	if err != nil {
		return err
	}
	client := http.Client{Timeout: 5 * time.Second}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		text := make([]byte, 500)
		n, _ := response.Body.Read(text)
		return fmt.Errorf("%s: %s", response.Status, text[:n])
	}
	return nil
}
