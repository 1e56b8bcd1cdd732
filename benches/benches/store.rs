//! Puts and gets of one node; see the documentation of the package.

#![allow(clippy::disallowed_methods, reason = "the ban on reading clocks is for the library's core, not its users")]

use std::hint::black_box;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use cpu_time::ThreadTime;
use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{BenchmarkGroup, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use unisono_benches::{Alone, Chat, KEYS, Map, Node, Registers, Rows, key, runtime, shuffled, value};

/// The processor time of this thread.
struct OneCore;

impl Measurement for OneCore {
    type Intermediate = ThreadTime;
    type Value = Duration;

    fn start(&self) -> ThreadTime {
        ThreadTime::now()
    }

    fn end(&self, began: ThreadTime) -> Duration {
        began.elapsed()
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        *one + *other
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, time: &Duration) -> f64 {
        time.as_nanos() as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

fn group<'a, M: Measurement>(criterion: &'a mut Criterion<M>, name: &str, rows: u64) -> BenchmarkGroup<'a, M> {
    let mut group = criterion.benchmark_group(name);
    group.sample_size(10).sampling_mode(SamplingMode::Flat).throughput(Throughput::Elements(rows));
    group.warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1));
    group
}

fn fill<R: Rows>(rows: &mut R, round: u64) {
    for number in 0..KEYS {
        rows.put(key(number), value(round));
    }
}

/// All keys once, in another order than they were written in.
fn read_all<R: Rows>(rows: &R, from: u64) {
    let found = (0..KEYS).filter(|number| black_box(rows.get(key(shuffled(number + from, KEYS)))).is_some());
    assert_eq!(found.count() as u64, KEYS);
}

fn put_into_empty<R: Rows>(group: &mut BenchmarkGroup<'_, OneCore>) {
    group.bench_function(R::NAME, |bencher| {
        bencher.iter_custom(|rounds| {
            let fresh = |round| {
                let mut rows = R::empty();
                let began = ThreadTime::now();
                fill(&mut rows, round);
                let took = began.elapsed();
                rows.check(KEYS, round);
                took
            };
            (0..rounds).map(fresh).sum()
        });
    });
}

fn put_again<R: Rows>(group: &mut BenchmarkGroup<'_, OneCore>) {
    let mut rows = R::empty();
    let mut round = 0;
    fill(&mut rows, round);
    group.bench_function(R::NAME, |bencher| {
        bencher.iter(|| {
            round += 1;
            fill(&mut rows, round);
        });
        rows.check(KEYS, round);
    });
}

fn get<R: Rows>(group: &mut BenchmarkGroup<'_, OneCore>) {
    let mut rows = R::empty();
    fill(&mut rows, 0);
    group.bench_function(R::NAME, |bencher| bencher.iter(|| read_all(&rows, 0)));
    rows.check(KEYS, 0);
}

fn get_in_order<R: Rows>(group: &mut BenchmarkGroup<'_, OneCore>) {
    let mut rows = R::empty();
    fill(&mut rows, 0);
    group.bench_function(R::NAME, |bencher| {
        bencher.iter(|| assert!((0..KEYS).all(|number| black_box(rows.get(key(number))).is_some())));
    });
}

/// So many threads read all keys, each in its own order; what the slowest takes. Nobody writes, so nobody waits.
fn readers(threads: u64, rounds: u64, rows: &Node) -> Duration {
    let barrier = Barrier::new(usize::try_from(threads).expect("few"));
    let read = |thread: u64| {
        barrier.wait();
        let began = ThreadTime::now();
        (0..rounds).for_each(|_| read_all(rows, thread * KEYS / threads));
        began.elapsed()
    };
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..threads).map(|thread| scope.spawn(move || read(thread))).collect();
        readers.into_iter().map(|reader| reader.join().expect("no panic")).max().unwrap_or_default()
    })
}

fn puts(criterion: &mut Criterion<OneCore>) {
    let mut fresh = group(criterion, "put into an empty table", KEYS);
    put_into_empty::<Node>(&mut fresh);
    put_into_empty::<Alone>(&mut fresh);
    put_into_empty::<Chat>(&mut fresh);
    put_into_empty::<Map>(&mut fresh);
    put_into_empty::<Registers>(&mut fresh);
    fresh.finish();

    let mut again = group(criterion, "put again", KEYS);
    put_again::<Node>(&mut again);
    put_again::<Alone>(&mut again);
    put_again::<Chat>(&mut again);
    put_again::<Map>(&mut again);
    put_again::<Registers>(&mut again);
    again.finish();
}

/// Each round writes every key once while a snapshot of before lives: each shard is copied once, and all rows are new
/// beside the old ones.
fn puts_under_a_snapshot(criterion: &mut Criterion<OneCore>) {
    let mut rows = Node::empty();
    let mut round = 0;
    fill(&mut rows, round);
    let mut group = group(criterion, "put while a snapshot lives", KEYS);
    group.bench_function(Node::NAME, |bencher| {
        bencher.iter_custom(|rounds| {
            let mut took = Duration::ZERO;
            for _ in 0..rounds {
                let snapshot = rows.table.iter();
                let before = value(round);
                round += 1;
                let began = ThreadTime::now();
                fill(&mut rows, round);
                took += began.elapsed();
                let kept = snapshot.filter(|(_, value)| *value == before).count();
                assert_eq!(kept as u64, KEYS, "the snapshot stays as it was");
            }
            took
        });
        rows.check(KEYS, round);
    });
    group.finish();
}

fn gets(criterion: &mut Criterion<OneCore>) {
    let mut shuffled = group(criterion, "get in another order", KEYS);
    get::<Node>(&mut shuffled);
    get::<Alone>(&mut shuffled);
    get::<Chat>(&mut shuffled);
    get::<Map>(&mut shuffled);
    get::<Registers>(&mut shuffled);
    shuffled.finish();

    let mut in_order = group(criterion, "get in the order of writing", KEYS);
    get_in_order::<Node>(&mut in_order);
    get_in_order::<Alone>(&mut in_order);
    get_in_order::<Chat>(&mut in_order);
    get_in_order::<Map>(&mut in_order);
    get_in_order::<Registers>(&mut in_order);
    in_order.finish();
}

/// Two readers on two cores are to get twice as much done as one: neither takes anything out of the other's cache.
fn two_readers(criterion: &mut Criterion<OneCore>) {
    let mut rows = Node::empty();
    fill(&mut rows, 0);
    for threads in [1, 2] {
        let mut group = group(criterion, &format!("get by readers, {threads}"), threads * KEYS);
        group.bench_function(Node::NAME, |bencher| bencher.iter_custom(|rounds| readers(threads, rounds, &rows)));
        group.finish();
    }
}

/// From the call of the write to the moment at which a task has the change. Written by a task of the same runtime it runs
/// next; written by a thread outside it, a thread of the runtime has to be woken first, which an idle core takes long for.
fn watching(criterion: &mut Criterion) {
    let rows = Node::empty();
    let (seen, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let mut changes = rows.table.watch();
    runtime().spawn(async move {
        while let Some(Ok(change)) = changes.next().await {
            if seen.send((change.key, Instant::now())).is_err() {
                return;
            }
        }
    });
    let mut times = Vec::new();
    let mut group = group(criterion, "a watcher sees a local write", 1);
    group.bench_function("by a thread", |bencher| {
        bencher.iter_custom(|rounds| {
            let one = |round| {
                let began = Instant::now();
                rows.table.insert(&key(round % KEYS), &value(round)).expect("the node is ready");
                let (seen, at) = heard.blocking_recv().expect("the watcher lives");
                assert_eq!(seen, key(round % KEYS), "each write is seen, in order");
                times.push(at - began);
                at - began
            };
            (0..rounds).map(one).sum()
        });
    });
    say("by a thread", &mut times);
    let (table, heard) = (rows.table.clone(), Arc::new(tokio::sync::Mutex::new(heard)));
    group.bench_function("by a task", |bencher| {
        bencher.iter_custom(|rounds| {
            let (table, heard) = (table.clone(), Arc::clone(&heard));
            let all = runtime().spawn(async move {
                let (mut heard, mut times) = (heard.lock().await, Vec::new());
                for round in 0..rounds {
                    let began = Instant::now();
                    table.insert(&key(round % KEYS), &value(round)).expect("the node is ready");
                    let (seen, at) = heard.recv().await.expect("the watcher lives");
                    assert_eq!(seen, key(round % KEYS), "each write is seen, in order");
                    times.push(at - began);
                }
                times
            });
            let all = runtime().block_on(all).expect("the writer ends");
            times.extend_from_slice(&all);
            all.iter().sum()
        });
    });
    group.finish();
    say("by a task", &mut times);
}

/// Says how the times of the writes were spread, and forgets them.
fn say(writer: &str, times: &mut Vec<Duration>) {
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    println!("a watcher sees a write {writer}: {} times, median {:?}, 99 % {:?}", times.len(), at(50), at(99));
    times.clear();
}

criterion_group! {
    name = on_one_core;
    config = Criterion::default().with_measurement(OneCore);
    targets = puts, puts_under_a_snapshot, gets, two_readers
}
criterion_group!(as_it_passes, watching);
criterion_main!(on_one_core, as_it_passes);
