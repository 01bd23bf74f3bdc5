package ingest

import (
	"context"
	"errors"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/store"
	"github.com/fengsui/fengsui/firmware/wire"
)

const (
	// What shares a commit. An alarm waits for no event of it, but for its sync.
	maxBatch = 256
	maxBytes = 64 << 10
	maxTries = 3 // commits of one message that may fail while others succeed
	// What is not an alarm takes about half as much work in a commit as the disk
	// takes to make it durable, within these bounds. After it there is a rest, so many
	// times as long as the shorter of the last two commits, but restMost at most: a
	// backlog takes half of the time, and an alarm finds short queues before it.
	// Alarms come in swarms: for a while after one it takes a tenth, so that the next
	// finds processors and disk free. A disk that is slow once is no reason to rest.
	workLeast = 500 * time.Microsecond
	workMost  = 25 * time.Millisecond
	restTimes = 1
	restMost  = 50 * time.Millisecond
	swarm     = 2 * time.Second
	restSwarm = 9

	retryFirst = 50 * time.Millisecond
	retryLast  = 2 * time.Second

	refusalsEvery = 200 * time.Millisecond // how often refusals are kept
	logFailing    = time.Minute            // how often it is logged that the store refuses for the same cause
)

// commit is the one goroutine that writes to the store.
func (i *Ingester) commit(ctx context.Context) {
	flush := time.NewTicker(refusalsEvery)
	defer flush.Stop()
	var failed []item
	pause := retryFirst
	for {
		batch, ok := i.gather(ctx, flush.C, failed, pause)
		if !ok {
			return
		}
		if failed = i.write(ctx, batch); len(failed) > 0 {
			pause = min(2*pause, retryLast)
		} else {
			pause = retryFirst
		}
	}
}

// gather waits for something to commit: the alarms that are waiting, or else
// whatever else is, or else nothing but refusals. What failed before is tried
// again after a pause, or with the next alarm unless the store refuses
// everything. It is never more than a batch: meanwhile the queues fill up, and
// the devices keep what finds no place there.
func (i *Ingester) gather(ctx context.Context, flush <-chan time.Time, failed []item, pause time.Duration) (batch []item, ok bool) {
	if len(failed) > 0 {
		t := time.NewTimer(pause)
		defer t.Stop()
		alarms := i.alarms
		if i.refusing || len(failed) >= maxBatch {
			alarms = nil
		}
		select {
		case it := <-alarms:
			return i.more(append(failed, it), i.alarms), true
		case <-t.C:
			return i.again(failed), true
		case <-ctx.Done():
			return nil, false
		}
	}
	select {
	case it := <-i.alarms:
		return i.more([]item{it}, i.alarms), true
	default:
	}
	if d := time.Until(i.resume); d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case it := <-i.alarms:
			return i.more([]item{it}, i.alarms), true
		case <-t.C:
		case <-ctx.Done():
			return nil, false
		}
	}
	if rest := i.rest; len(rest) > 0 {
		i.rest = nil
		return i.more(rest, i.others), true
	}
	select {
	case it := <-i.alarms:
		return i.more([]item{it}, i.alarms), true
	case it := <-i.others:
		return i.more([]item{it}, i.others), true
	case <-flush:
		return nil, true
	case <-ctx.Done():
		return nil, false
	}
}

// again makes a batch of what failed, alarms first, and of what is waiting.
func (i *Ingester) again(failed []item) []item {
	alarms, others := split(failed)
	batch := i.more(alarms, i.alarms)
	for _, it := range others {
		if len(batch) >= maxBatch {
			i.metrics.overflow.Inc() // the device has it
			continue
		}
		batch = append(batch, it)
	}
	return i.more(batch, i.others)
}

// split parts the alarms of a batch from the rest.
func split(batch []item) (alarms, others []item) {
	for _, it := range batch {
		if e := it.arrival.Event; e != nil && e.Lane == wire.Alarm {
			alarms = append(alarms, it)
		} else {
			others = append(others, it)
		}
	}
	return alarms, others
}

// more adds what is waiting in a queue, within the limits of a batch.
func (i *Ingester) more(batch []item, queue <-chan item) []item {
	size := 0
	for _, it := range batch {
		size += len(it.arrival.Message)
	}
	for !full(len(batch), size) {
		select {
		case it := <-queue:
			batch = append(batch, it)
			size += len(it.arrival.Message)
		default:
			return batch
		}
	}
	return batch
}

func full(messages, bytes int) bool { return messages >= maxBatch || bytes >= maxBytes }

// write commits a batch and has it acknowledged. When the commit fails, its
// messages are tried alone, so that one that cannot be stored does not hold up
// the rest. Those that fail are returned, to be tried again.
func (i *Ingester) write(ctx context.Context, batch []item) (failed []item) {
	refused := i.refusals.drain()
	if len(batch) == 0 && len(refused) == 0 {
		return nil
	}
	if i.refusing && i.cause == store.DiskFull { // an alarm may find room where a batch does not
		alarms, others := split(batch)
		if len(alarms) > 0 && len(others) > 0 && i.writeAlone(ctx, alarms) == nil {
			batch = others
		}
	}
	joined, err := i.writeOnce(ctx, batch, refused)
	if err == nil {
		i.stores()
		return nil
	}
	batch = append(joined, batch...)
	i.refusals.putBack(refused)
	if ctx.Err() != nil {
		return nil
	}
	if i.fails(err, len(batch)); i.refusing {
		return batch
	}
	stored := 0
	for n, it := range batch {
		if len(batch) > 1 && (stored > 0 || n < 2) {
			if i.writeAlone(ctx, batch[n:n+1]) == nil {
				stored++
				continue
			}
		}
		failed = append(failed, it)
	}
	if stored == 0 {
		return failed // the store's trouble, not a message's
	}
	i.stores()
	kept := failed[:0]
	for _, it := range failed {
		if it.tries++; it.tries < maxTries {
			kept = append(kept, it)
		} else {
			i.o.Log.Error("message cannot be stored; the device will send it again", "device", it.device(), "error", err)
		}
	}
	return kept
}

// fails notes that a commit failed, and whether the store refuses everything.
// A store that goes on failing is not logged at every try.
func (i *Ingester) fails(err error, messages int) {
	f, refusing := errors.AsType[*store.Failure](err)
	same := refusing && i.refusing && f.Cause == i.cause
	if i.refusing = refusing; refusing {
		i.cause = f.Cause
	}
	i.failing.Store(&err)
	if now := time.Now(); !same || now.Sub(i.logged) >= logFailing {
		i.logged = now
		i.o.Log.Error("commit failed; nothing of it is acknowledged", "messages", messages, "error", err)
	}
}

// stores notes that a commit succeeded.
func (i *Ingester) stores() {
	if i.failing.Swap(nil) != nil {
		i.refusing = false
		i.o.Log.Info("events are stored again")
	}
}

func (it *item) device() string {
	if h := it.greeting.Hello; h != nil {
		return h.Device
	}
	return it.arrival.Event.Device
}

// writeOnce commits a batch. Alarms that come while it is written are joined to
// it, even if that fails; what then did not get into the transaction is the
// first of the next batch.
func (i *Ingester) writeOnce(ctx context.Context, batch []item, refused []store.Refusal) (joined []item, err error) {
	b := store.Batch{Refusals: refused}
	var arrived []item
	for _, it := range batch {
		if it.greeting.Hello != nil {
			b.Greetings = append(b.Greetings, it.greeting)
		} else {
			b.Arrivals, arrived = append(b.Arrivals, it.arrival), append(arrived, it)
		}
	}
	if alarms, _ := split(batch); len(alarms) == 0 {
		b.Work = min(max(i.synced/2, workLeast), workMost)
		b.Urgent = func() (urgent []store.Arrival) {
			joined = i.more(joined, i.alarms)
			for _, it := range joined {
				urgent = append(urgent, it.arrival)
			}
			return urgent
		}
	}
	start := time.Now()
	done, err := i.store(ctx, b, len(batch))
	if b.Urgent != nil {
		end, times := time.Now(), time.Duration(restTimes)
		if end.Sub(i.alarmed) < swarm {
			times = restSwarm
		}
		took := end.Sub(start)
		i.resume = end.Add(min(times*min(took, i.took), restMost))
		i.took, i.synced = took, done.Synced
	}
	if b.Urgent == nil || len(joined) > 0 {
		i.alarmed = time.Now()
	}
	if err == nil && done.Rest > 0 {
		i.rest = append(arrived[len(arrived)-done.Rest:], i.rest...)
	}
	return joined, err
}

// writeAlone commits a batch as it is.
func (i *Ingester) writeAlone(ctx context.Context, batch []item) error {
	var b store.Batch
	for _, it := range batch {
		if it.greeting.Hello != nil {
			b.Greetings = append(b.Greetings, it.greeting)
		} else {
			b.Arrivals = append(b.Arrivals, it.arrival)
		}
	}
	_, err := i.store(ctx, b, len(batch))
	return err
}

// store commits and has it acknowledged.
func (i *Ingester) store(ctx context.Context, b store.Batch, messages int) (store.Committed, error) {
	start := time.Now()
	done, err := i.o.Store.Commit(ctx, b)
	if err != nil {
		i.metrics.commitErrors.Inc()
		return done, err
	}
	if messages > 0 {
		i.metrics.commitSeconds.Observe(time.Since(start).Seconds())
		i.metrics.batch.Observe(float64(done.Stored + done.Duplicates + len(b.Greetings)))
		i.metrics.stored.Add(float64(done.Stored))
		i.metrics.duplicates.Add(float64(done.Duplicates))
	}
	i.down.send(done.Acks, b.Greetings)
	return done, nil
}

// sleep returns false when ctx was done first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
