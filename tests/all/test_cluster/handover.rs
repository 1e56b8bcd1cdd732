//! Roles that move: what the next instance is given, and that somebody runs them meanwhile.

use unisono::{Event, Handover, Message, RoleProtocol};

use super::*;

/// Starts three nodes that run a role of this kind, and counts at each step of a leave how many instances are up.
fn instances_while_its_host_leaves(seed: u64, handover: Handover) -> (usize, usize) {
    TestCluster::run(seed, |cluster| async move {
        let up = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&up);
        let gate = move |context: RoleContext| {
            let up = Arc::clone(&counter);
            async move {
                let starting = context.starting();
                tokio::time::sleep(Duration::from_millis(700)).await;
                up.fetch_add(1, Ordering::SeqCst);
                drop(starting);
                context.stopped().await;
                tokio::time::sleep(Duration::from_millis(30)).await;
                up.fetch_sub(1, Ordering::SeqCst);
                Ok(())
            }
        };
        let setup = move |builder: Builder| {
            builder.role_kind("gate", gate.clone()).role(RoleSpec::new("gate").handover(handover))
        };
        cluster.start_all(["larry", "gary", "jerry"], setup).await.unwrap();
        cluster.settle().await.unwrap();
        assert_eq!(up.load(Ordering::SeqCst), 1);
        let host = cluster.node(cluster.running("gate")[0].as_str());
        let leaves = tokio::spawn({
            let host = host.clone();
            async move { host.leave().await }
        });
        let (mut least, mut most) = (usize::MAX, 0);
        while !leaves.is_finished() {
            cluster.advance(Duration::from_millis(1)).await;
            let up = up.load(Ordering::SeqCst);
            (least, most) = (least.min(up), most.max(up));
        }
        leaves.await.unwrap().unwrap();
        cluster.settle().await.unwrap();
        assert_eq!(up.load(Ordering::SeqCst), 1, "it runs elsewhere");
        assert_ne!(cluster.running("gate"), [host.node().clone()]);
        (least, most)
    })
}

#[test]
fn who_makes_before_it_breaks_is_always_up() {
    for seed in 0..10 {
        assert_eq!(instances_while_its_host_leaves(seed, Handover::MakeBeforeBreak), (1, 2), "seed {seed}");
    }
}

#[test]
fn who_breaks_before_it_makes_is_never_up_twice() {
    for seed in 0..10 {
        assert_eq!(instances_while_its_host_leaves(seed, Handover::BreakBeforeMake), (0, 1), "seed {seed}");
    }
}

#[test]
fn the_next_instance_is_given_what_the_last_one_left() {
    TestCluster::run(1, |cluster| async move {
        let given = Arc::new(Mutex::new(Vec::new()));
        let note = Arc::clone(&given);
        let counter = move |context: RoleContext| {
            let note = Arc::clone(&note);
            async move {
                let given = context.handed_over().map(|bytes| bytes.to_vec());
                note.lock().unwrap().push(given.clone());
                context.stopped().await;
                let too_long = context.hand_over(vec![0; RoleContext::MAX_HANDED_OVER + 1]).unwrap_err();
                assert!(too_long.to_string().contains("put the rest into a table"), "{too_long}");
                let mut state = given.unwrap_or_default();
                state.push(7);
                context.hand_over(state)?;
                Ok(())
            }
        };
        let setup = move |builder: Builder| builder.role_kind("count", counter.clone()).role(RoleSpec::new("count"));
        cluster.start_all(["larry", "gary", "jerry"], setup).await.unwrap();
        cluster.settle().await.unwrap();
        for _ in 0..2 {
            let host = cluster.running("count")[0].clone();
            cluster.node(host.as_str()).leave().await.unwrap();
            cluster.settle().await.unwrap();
        }
        assert_eq!(*given.lock().unwrap(), [None, Some(vec![7]), Some(vec![7, 7])]);
    });
}

#[test]
fn whoever_leaves_does_not_wait_for_ever_for_a_role_that_does_not_come_up() {
    TestCluster::run(1, |cluster| async move {
        let setup = |builder: Builder| {
            let spec = RoleSpec::new("slow").handover(Handover::MakeBeforeBreak);
            let slow = |context: RoleContext| async move {
                let first = context.cluster().node().as_str() == "larry";
                let _starting = (!first).then(|| context.starting());
                context.stopped().await;
                Ok(())
            };
            builder.leave_patience(Duration::from_secs(4)).role_kind("slow", slow).role(spec)
        };
        let larry = cluster.start("larry", setup).await.unwrap();
        larry.ready(LONG).await.unwrap();
        cluster.start("gary", setup).await.unwrap();
        cluster.settle().await.unwrap();
        let began = tokio::time::Instant::now();
        larry.leave().await.unwrap();
        let took = began.elapsed();
        assert!((Duration::from_secs(2)..Duration::from_secs(4)).contains(&took), "half of the patience: {took:?}");
    });
}

#[test]
fn a_role_that_had_to_be_aborted_is_told_of() {
    TestCluster::run(1, |cluster| async move {
        let setup = |builder: Builder| {
            let spec = RoleSpec::new("stubborn").stop_grace(Duration::from_millis(300));
            builder.role_kind("stubborn", |_| std::future::pending()).role(spec)
        };
        let [larry, gary] = cluster.start_all(["larry", "gary"], setup).await.unwrap();
        cluster.settle().await.unwrap();
        let host = if cluster.running("stubborn") == [larry.node().clone()] { larry } else { gary };
        let mut events = host.events();
        let leaves = tokio::spawn(async move { host.leave().await });
        let aborted = loop {
            if let Event::RoleAborted { role, after } = events.next().await.unwrap().unwrap() {
                break (role, after);
            }
        };
        assert_eq!(aborted, ("stubborn".to_owned(), Duration::from_millis(300)));
        leaves.await.unwrap().unwrap();
        cluster.settle().await.unwrap();
        assert_eq!(cluster.running("stubborn").len(), 1);
    });
}

#[test]
fn a_role_can_wait_for_the_tables_before_it_comes_up() {
    TestCluster::run(1, |cluster| async move {
        let setup = |builder: Builder| {
            let counter = |context: RoleContext| async move {
                let starting = context.starting();
                let cluster = context.cluster();
                cluster.tables_converged(LONG).await?;
                let known = u32::try_from(cars(cluster).len())?;
                cluster.table::<String, Lww<u32>>("known")?.insert(&cluster.node().to_string(), &known)?;
                drop(starting);
                context.stopped().await;
                Ok(())
            };
            builder.role_kind("count", counter).role(RoleSpec::new("count"))
        };
        cluster.start_all(["larry", "gary", "jerry"], setup).await.unwrap();
        cluster.settle().await.unwrap();
        let host = cluster.running("count")[0].clone();
        let others: Vec<_> = ["larry", "gary", "jerry"].into_iter().filter(|name| *name != host.as_str()).collect();
        // Only one of the others learns of the cars before the host dies, and it may not be the next host.
        for (number, (witness, blind)) in [(others[0], others[1]), (others[1], others[0])].into_iter().enumerate() {
            let cut = cluster.network().cut_one_way(&[cluster.index(host.as_str())], &[cluster.index(blind)]);
            cars(&cluster.node(host.as_str())).insert(&car(u32::try_from(number).unwrap()), &1).unwrap();
            cars(&cluster.node(witness)).until_exists(&car(u32::try_from(number).unwrap()), LONG).await.unwrap();
            cut.heal();
        }
        cluster.crash(host.as_str());
        cluster.settle().await.unwrap();
        let next = cluster.running("count")[0].clone();
        assert_ne!(next, host);
        let known = cluster.node(next.as_str()).table::<String, Lww<u32>>("known").unwrap();
        assert_eq!(known.get(&next.to_string()), Some(2));
    });
}

/// Asks for a number, and is given it.
struct Echo;

impl RoleProtocol for Echo {
    type Call = u32;
    type Reply = u32;
    type Cast = ();
}

#[test]
fn calls_to_one_that_leaves_are_all_answered() {
    for seed in 0..20 {
        TestCluster::run(seed, |cluster| async move {
            let echo = |context: RoleContext| async move {
                let mut mailbox = context.mailbox::<Echo>();
                while let Some(message) = mailbox.next().await {
                    if let Message::Call(number, caller) = message {
                        caller.reply(number);
                    }
                }
                Ok(())
            };
            let spec = RoleSpec::new("echo").handover(Handover::MakeBeforeBreak);
            let setup = move |builder: Builder| builder.role_kind("echo", echo).role(spec.clone());
            cluster.start_all(["larry", "gary", "jerry"], setup).await.unwrap();
            cluster.settle().await.unwrap();
            let host = cluster.node(cluster.running("echo")[0].as_str());
            let caller = ["larry", "gary", "jerry"].into_iter().find(|name| *name != host.node().as_str()).unwrap();
            let role = cluster.node(caller).role::<Echo>("echo");
            let leaves = tokio::spawn(async move { host.leave().await });
            let mut calls = tokio::task::JoinSet::new();
            for number in 0.. {
                let role = role.clone();
                calls.spawn(async move { role.call(number).await });
                cluster.advance(Duration::from_micros(300)).await;
                if leaves.is_finished() && number > 100 {
                    break;
                }
            }
            leaves.await.unwrap().unwrap();
            while let Some(answer) = calls.join_next().await {
                answer.unwrap().unwrap();
            }
        });
    }
}
