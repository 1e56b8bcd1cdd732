//! Nodes that play in unison without a conductor.
//!
//! `unisono` is for tokio applications that run as several processes and have to act as one. The processes find each
//! other on their network, agree on who is there, share tables that every one of them can read and write, and keep
//! each role running on as many nodes as it needs: when a node dies, what it did goes on elsewhere. There is no leader
//! to elect, no quorum to lose and no database to install; every node is complete by itself.
//!
//! ```text
//!      larry                          moe                           curly
//!   ┌───────────────────┐          ┌───────────────────┐         ┌───────────────────┐
//!   │ your application  │          │ your application  │         │ your application  │
//!   │  gate-1  gate-2   │          │  gate-3           │         │  gate-4           │   roles: each where there is room
//!   ├───────────────────┤          ├───────────────────┤         ├───────────────────┤
//!   │ vehicles: 417     │◀────────▶│ vehicles: 417     │◀───────▶│ vehicles: 417     │   tables: a copy on every node
//!   └───────────────────┘          └───────────────────┘         └───────────────────┘
//!            ▲                                                             ▲
//!            └────────────── each knows all the others, and who answers ───┘             members: one view
//! ```
//!
//! # A first program
//!
//! Start it twice on one host and the two meet, share the table, and one of them runs the gate. End that one, and the
//! other takes over.
//!
//! ```
//! use std::time::Duration;
//! use unisono::{Cluster, Lww, RoleContext, RoleSpec};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let cluster = Cluster::builder()
//!     .name("parking")
//!     # .port(21_000)
//!     # .leave_patience(Duration::from_millis(100))
//!     .role_kind("gate", |context: RoleContext| async move {
//!         let vehicles = context.cluster().table::<String, Lww<u32>>("vehicles")?;
//!         vehicles.insert(&"B-AB 123".into(), &417)?;
//!         context.stopped().await;
//!         Ok(())
//!     })
//!     .role(RoleSpec::new("gate-1").kind("gate"))
//!     .start()
//!     .await?;
//!
//! cluster.ready(Duration::from_secs(10)).await?;
//! cluster.converged().await?;
//! println!("{}", cluster.snapshot());
//! # assert_eq!(cluster.roles().len(), 1);
//!
//! // The last node has nobody to hand the rows to, and names those that are lost.
//! if let Err(error) = cluster.leave().await {
//!     println!("{error}");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Members and the view
//!
//! Nodes of one subnet find each other by broadcast; where that does not get through, name a few [`Config::peers`] or
//! bring a [`Strategy`](discovery::Strategy). Each node watches a few others and hears of the rest by gossip: a process
//! that is killed is noticed in milliseconds, a host that vanishes silently after a timeout ([`Preset`] says how
//! patient, [`TimingConfig`] sets each timer). [`Cluster::members`] lists everybody known and what is believed of them.
//!
//! The *view* is those members that take part: they declared themselves ready and are not taken for dead. A node joins
//! the view after it has pulled all tables from another one, so nobody decides anything with half the knowledge.
//!
//! A node has a stable name, its [`NodeId`], and each run of it a random [`ReplicaId`] that never comes again. A process
//! that starts again under its name takes the place of the former at once. Two that live under one name are both told
//! ([`Event::NameTaken`]), and clusters of different names on one subnet ignore each other ([`Event::OtherCluster`]).
//!
//! [`Cluster::events`] tells of members: [`Joined`](Event::Joined), then [`Suspected`](Event::Suspected), which it mostly
//! refutes, [`Down`](Event::Down) and [`Rejoined`](Event::Rejoined) as often as that happens, and [`Left`](Event::Left) if
//! it goes in order. For a member that is Down removed rows are remembered until
//! [`evict_after_ms`](TimingConfig::evict_after_ms) have passed; [`Cluster::forget`] ends that sooner. [`Cluster::set_timing`] changes
//! the timers of a node that runs.
//!
//! ```
//! # use std::time::Duration;
//! # use unisono::Cluster;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let larry = Cluster::builder().name("stooges").port(21_020).node("larry").start().await?;
//! larry.ready(Duration::from_secs(10)).await?;
//! let moe = Cluster::builder().name("stooges").port(21_020).node("moe").start().await?;
//! moe.ready(Duration::from_secs(10)).await?;
//!
//! let both = |status: &unisono::Status| status.members.iter().filter(|member| member.in_view).count() == 2;
//! larry.until(Duration::from_secs(10), both).await?;
//! assert_eq!(larry.snapshot().view(), ["larry", "moe"]);
//! # Ok(())
//! # }
//! ```
//!
//! # Tables
//!
//! A [`Table`] is a map from keys to rows of any types that serde can write, with a full copy on every node. Reads and
//! writes are local and return at once; writes reach the others in the background, usually within milliseconds. Nodes
//! that were apart bring their copies together when they meet again: whatever the order in which news arrive, all end
//! with the same rows. The type says how concurrent writes to one key combine; with [`Lww`] the later one stays.
//!
//! ```
//! # use std::time::Duration;
//! # use unisono::{Cluster, Lww};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let larry = Cluster::builder().name("doc-tables").port(21_040).node("larry").start().await?;
//! # larry.ready(Duration::from_secs(10)).await?;
//! # let moe = Cluster::builder().name("doc-tables").port(21_040).node("moe").start().await?;
//! # moe.ready(Duration::from_secs(10)).await?;
//! # let both = |status: &unisono::Status| status.members.iter().filter(|member| member.in_view).count() == 2;
//! # larry.until(Duration::from_secs(10), both).await?;
//! larry.table::<String, Lww<u32>>("vehicles")?.insert(&"B-AB 123".into(), &417)?;
//! larry.converged().await?;
//! assert_eq!(moe.table::<String, Lww<u32>>("vehicles")?.get(&"B-AB 123".into()), Some(417));
//! # Ok(())
//! # }
//! ```
//!
//! Where several nodes write to one value at the same time, take one that can bear it: a [`Counter`] adds up whatever the
//! nodes count, in a [`Set`] and a [`Bag`] an addition wins over a removal that did not see it, a [`MultiValue`] keeps all
//! that was written at once until somebody decides, and [`Merge`] takes any state-based CRDT, such as those of the crate
//! `crdts`.
//!
//! ```
//! # use std::time::Duration;
//! # use unisono::{Cluster, Counter, Lww, TableConfig, Visible};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let cluster = Cluster::builder().name("doc-tables-2").port(24_280).start().await?;
//! # cluster.ready(Duration::from_secs(10)).await?;
//! let passages = cluster.table::<String, Counter>("passages")?;
//! passages.add(&"gate-1".into(), 1)?;
//! cluster.await_visible(Visible::All, Duration::from_secs(5)).await?; // every other member holds it now
//!
//! // Rows that end, in a table that takes so much and no more.
//! let config = TableConfig::new("sessions").ttl(Duration::from_secs(1_800)).quota(64 << 20);
//! let sessions = cluster.table::<u64, Lww<String>>(config)?;
//! let by_user = sessions.index(|_, user| user.clone());
//! sessions.insert(&7, &"larry".into())?;
//! assert_eq!(by_user.get(&"larry".into()).next(), Some((7, "larry".into())));
//! # Ok(())
//! # }
//! ```
//!
//! [`Table::watch`] streams what changes, here or elsewhere, of the table, a key or a range; [`Table::until`] awaits a
//! condition on it; [`Table::conflicts`] tells of writes that lost. [`Table::ordered`] reads rows in the order of their
//! keys, [`Table::index`] by a function of the row. A [`TableConfig`] gives rows an end, the table a quota, or keeps it on
//! this node. Nodes that mean different things by one name are both told ([`Event::SchemaDiffers`]) and spoil nothing.
//! Tables live in memory: when all nodes stop at once, they are gone.
//!
//! # Distributed servers
//!
//! A [`DistrServer`] answers calls one after the other, typed on both ends, and keeps what it must not forget in a table.
//! [`Cluster::serve`] runs one on this node and starts it again when it fails; [`server_kind`](cluster::Builder::server_kind)
//! makes it the kind of a role, so that the cluster decides where it runs. Either way a new start finds the state of the
//! last one in the table. `created` fills a table that is new, on one node of the cluster and no other;
//! [When the table is new](DistrServer#when-the-table-is-new) says what to do about two halves that both did.
//!
//! ```
//! # use std::time::Duration;
//! use unisono::{Cluster, DistrServer, Lww, ServerConfig, ServerContext, ServerResult};
//!
//! struct Visits;
//!
//! impl DistrServer for Visits {
//!     type Call = String;
//!     type Reply = u64;
//!     type Cast = ();
//!     type Key = String;
//!     type Value = Lww<u64>;
//!
//!     fn config(&self) -> ServerConfig {
//!         ServerConfig::new("visits")
//!     }
//!
//!     async fn created(&mut self, context: &ServerContext<Self>) -> ServerResult {
//!         Ok(context.table().insert(&"index".into(), &100)?)
//!     }
//!
//!     async fn handle_call(&mut self, page: String, context: &ServerContext<Self>) -> ServerResult<u64> {
//!         let visits = context.table().update(&page, |visits| Some(visits.unwrap_or(0) + 1))?;
//!         Ok(visits.unwrap_or(0))
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let larry = Cluster::builder().name("doc-servers").port(23_020).node("larry").start().await?;
//! # larry.ready(Duration::from_secs(10)).await?;
//! # let moe = Cluster::builder().name("doc-servers").port(23_020).node("moe").start().await?;
//! # moe.ready(Duration::from_secs(10)).await?;
//! # let both = |status: &unisono::Status| status.members.iter().filter(|member| member.in_view).count() == 2;
//! # larry.until(Duration::from_secs(10), both).await?;
//! let (here, there) = (larry.serve(|| Visits)?, moe.serve(|| Visits)?);
//! assert_eq!(here.call("index".into()).await?, 101);
//! larry.converged().await?;
//! assert_eq!(there.call("index".into()).await?, 102);
//! # Ok(())
//! # }
//! ```
//!
//! Calls of a [`ServerHandle`] go to servers of this node; those to a server that is a role reach it from any. No call waits longer than its timeout, and its [`CallError`] says whether it may have
//! been carried out.
//!
//! # Roles
//!
//! A *role* is something that should run on a certain number of nodes, whichever these are: a [`RoleSpec`] with a name,
//! a kind, arguments and a count. What is never promised first: **exclusivity across a partition**. Two sides that do not
//! see each other may run a role at once, by any [`PartitionPolicy`] for as long as a cut goes unnoticed. What must not be
//! used twice has to check the [`FencingToken`] of each start, which is above all earlier ones that were known. Within nodes
//! that see each other and are converged there are as many instances as asked for, as far as there are places.
//!
//! Nodes that registered a factory for its kind with [`role_kind`](cluster::Builder::role_kind) and have the labels that it
//! asks for are candidates, and all nodes compute from the same facts which of them run it, at most one instance each. Roles
//! stay where they are while that is possible, and move when their node dies or leaves, or holds more than a quarter above
//! its share and another has room. A task that ends by itself is started again, after some failures elsewhere.
//!
//! ```
//! # use std::time::Duration;
//! # use unisono::{Cluster, PartitionPolicy, RoleContext, RoleSpec, Unplaced};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let gate = RoleSpec::new("gate-1").kind("gate").arguments("north");
//! let cluster = Cluster::builder()
//!     .name("doc-roles")
//!     .port(21_060)
//!     .label("zone", "a")
//!     .role_kind("gate", |context: RoleContext| async move {
//!         // `context.arguments()` says which one, `context.token()` when it started.
//!         context.stopped().await;
//!         Ok(())
//!     })
//!     .role(gate.only_on("zone", "a").partition(PartitionPolicy::Majority))
//!     .role(RoleSpec::new("siren"))
//!     .start()
//!     .await?;
//! cluster.until(Duration::from_secs(10), |_| cluster.lookup("gate-1").len() == 1).await?;
//! assert_eq!(cluster.roles()[1].unplaced, Some(Unplaced::NoKind)); // the siren
//! assert!(cluster.remove_role("siren").await?);
//! # Ok(())
//! # }
//! ```
//!
//! [`Cluster::add_role`] and [`Cluster::remove_role`] change the roles while the cluster runs, [`Cluster::roles`] and
//! [`Cluster::lookup`] tell of them. Of specs that differ the higher [revision](field@RoleSpec::revision) stands
//! ([`Event::RoleSpecDiffers`]); how well a role was served is measured ([`Event::RoleOverlap`], [`Event::RoleGap`]).
//!
//! A role that moves ends before it starts elsewhere, and may [leave](RoleContext::hand_over) the next instance something;
//! with [`Handover::MakeBeforeBreak`] the next one runs before the old one ends. [`Cluster::leave`] waits for that.
//!
//! Any node can [call](RoleRef::call) a role, wherever it runs, once the role reads its [`Mailbox`]. A call to a role that
//! moves waits for it within its timeout, and is never carried out twice; [`MessageError`] says whether it may have been
//! carried out once. A [`DistrServer`] that is a role is called in the same way.
//!
//! ```
//! # use std::time::Duration;
//! use unisono::{Cluster, Message, RoleContext, RoleProtocol, RoleSpec};
//!
//! struct Gate;
//!
//! impl RoleProtocol for Gate {
//!     type Call = String;
//!     type Reply = bool;
//!     type Cast = ();
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let cluster = Cluster::builder()
//!     .name("doc-calls")
//!     .port(21_070)
//!     .role_kind("gate", |context: RoleContext| async move {
//!         let mut mailbox = context.mailbox::<Gate>();
//!         while let Some(message) = mailbox.next().await {
//!             if let Message::Call(plate, caller) = message {
//!                 caller.reply(plate.starts_with("B-"));
//!             }
//!         }
//!         Ok(())
//!     })
//!     .role(RoleSpec::new("gate-1").kind("gate"))
//!     .start()
//!     .await?;
//! cluster.ready(Duration::from_secs(10)).await?;
//! assert!(cluster.role::<Gate>("gate-1").call("B-AB 123".into()).await?);
//! println!("{}", cluster.explain("gate-1").await?); // why it is where it is
//! # Ok(())
//! # }
//! ```
//!
//! [`Cluster::explain`] tells why a role is where it is, and [`Cluster::what_if`] what would move.
//!
//! # Signals and load
//!
//! Nodes tell each other how busy they are. An application declares its signals with [`signals!`], samples them from
//! anywhere, which costs an atomic operation, and asks [`Cluster::allocate`] for the least busy node.
//!
//! ```
//! # use std::time::Duration;
//! # use unisono::Cluster;
//! unisono::signals! {
//!     /// What makes a node of this application busy.
//!     struct Load {
//!         /// Requests under way.
//!         count http_requests: 0.5,
//!         percent ram: 1.0,
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let off = unisono::MonitorConfig::OFF;
//! # let larry = Cluster::builder().name("doc-signals").port(22_000).node("larry").monitor(off).start().await?;
//! # larry.ready(Duration::from_secs(10)).await?;
//! # let moe = Cluster::builder().name("doc-signals").port(22_000).node("moe").monitor(off).start().await?;
//! # moe.ready(Duration::from_secs(10)).await?;
//! # let both = |status: &unisono::Status| status.members.iter().filter(|member| member.in_view).count() == 2;
//! # larry.until(Duration::from_secs(10), both).await?;
//! let load: Load = larry.signals()?;
//! load.increment_http_requests();
//! load.percent_ram(61.0)?;
//! assert!(load.percent_ram(f64::NAN).is_err());
//!
//! // Within a second or two the others know.
//! while moe.allocation_list().last().is_none_or(|last| last.score == 0.0) {
//!     tokio::time::sleep(Duration::from_millis(50)).await;
//! }
//! assert_eq!(moe.allocate().ok_or("joining")?.node.as_str(), "moe");
//! println!("{}", moe.allocation_list());
//! # assert!(moe.allocation_list()[1].to_string().starts_with("larry 21.62 (http_requests 1 × 0.5 = 0.50, ram 61.0 % = 21.12)"));
//! # Ok(())
//! # }
//! ```
//!
//! A node's *score* is the sum of its parts: a percentage counts weight · e^(0.05 · value), since the last of something is
//! dearer than the first, what was [processed before](SignalKind::PreProcessed) as it is, and all else value · weight. Each
//! role that a node hosts counts 0.1, and the CPU and the memory of its host, as far as its cgroups let it use them, are two
//! percentages that need no declaring; [`MonitorConfig`] sets how often they are measured, or never. [`Cluster::usage`] and
//! [`Cluster::usage_history`] tell of them.
//!
//! A node tells of itself once a second at most, and only when some part changed by more than about a quarter; one that does
//! nothing tells nothing. A node that just came stands at 0 and is first, one that is gone is not in the list. Where much work
//! is given out, [`Cluster::allocate_spread`] takes the less busy of two nodes drawn at random, so that not everybody
//! sends everything to the same one before it could say that it is busy.
//!
//! # Convergence
//!
//! Everything above settles by itself, and [`Cluster::converged`] awaits it: everybody in the view sees the same
//! members, holds the same tables and runs the roles where they belong. If that takes too long, the error names who or
//! what stood in the way. A role that no member can build, or that failed everywhere, is not waited for. Tests wait for
//! this rather than for time, and compare [`Cluster::snapshot`]s then.
//!
//! ```
//! # use std::time::Duration;
//! # use unisono::{Cluster, ConvergeError, Preset};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let larry = Cluster::builder().name("doc-converge").port(21_080).node("larry").preset(Preset::Wan).start().await?;
//! // Asked before it had time to look for others.
//! let error = larry.converged_within(Duration::from_millis(1)).await.unwrap_err();
//! let ConvergeError::Timeout { culprit, .. } = error else { panic!("{error}") };
//! assert!(culprit.starts_with("this node is not ready"), "{culprit}");
//! # Ok(())
//! # }
//! ```
//!
//! [`Cluster::events`] tells what happens on the way.
//!
//! # What is not promised
//!
//! The network may split, and then each side goes on by itself. From that follows what no setting can change:
//!
//! - **A role is not exclusive across a split.** Each side runs its full count, or by [`PartitionPolicy::Majority`]
//!   one side at most, once the cut was noticed and the others have stopped. Within one side that has converged there are at
//!   most as many instances as were asked for, once those that were asked to stop have done so, and one more for each that
//!   [makes before it breaks](Handover::MakeBeforeBreak). What must not be used twice at once has to check the
//!   [`FencingToken`] and refuse lower ones.
//! - **A call that failed may have been carried out.** It is never carried out twice; whether once is not known where the
//!   connection broke in the middle, and [`MessageError::is_unbegun`] says so. A cast may be lost.
//! - **A state that is handed over may be lost** with the node that was to take it; what must not be is for a table.
//! - **A write is not seen everywhere when it returns**, and of two concurrent writes to one [`Lww`] row one is lost. An
//!   [`update`](Table::update) is atomic on its node only, and so is [`insert_many`](Table::insert_many): others may see a
//!   part of it for a moment.
//! - **Values made of shares come back from their removal** as far as somebody wrote to them who had not seen it: a
//!   [`Counter`] that is removed while another node counts comes back with all that this node ever counted.
//! - **Nothing is on disk.** A row is safe once another node holds it; [`Cluster::leave`] waits for that, a crash does
//!   not. The last node that leaves takes the tables with it, and names what is in them.
//! - **Clocks matter a little.** "Later" is by the hosts' clocks, corrected towards their median. A wrong clock is
//!   reported ([`Event::ClockAhead`]) and cannot win for ever.
//! - **Nothing is encrypted or authenticated yet.** Run it on a network that you trust.
//!
//! # Rooms
//!
//! [`cluster`] is the public face, re-exported here. The modules below it are public so that the curious can read them,
//! strategies can be written and tests can simulate; of them only [`discovery`] and what is re-exported here is meant
//! to stay as it is, and the others begin with *Internal*. From top to bottom: [`cluster`], [`driver`] (sockets and
//! clocks), [`engine`] (the state machine without either), then [`roles`], [`signals`](mod@signals), [`convergence`],
//! [`replication`], [`membership`] and [`table`] side by side, [`store`] and [`wire`], [`crdt`], [`id`] and [`time`].

pub mod id;
pub mod time;

pub mod cluster;
pub mod convergence;
pub mod crdt;
pub mod discovery;
pub mod driver;
pub mod engine;
pub mod membership;
pub mod replication;
pub mod roles;
pub mod signals;
pub mod store;
pub mod table;
pub mod wire;

#[cfg(feature = "sabotage")]
pub mod sabotage;
#[cfg(not(feature = "sabotage"))]
mod sabotage;
#[cfg(feature = "testkit")]
pub mod testkit;

pub use cluster::{
    AddRoleError, CallError, CastError, Change, Cluster, Config, ConfigError, Conflict, Conflicts, ConvergeError,
    DistrServer, Events, ExplainError, Frozen, HandOverError, Index, Lagged, LeaveError, Mailbox, Message,
    MessageError, MonitorConfig, NodeRef, OperateError, Ordered, Preset, ReadyError, RemoveRoleError, Responder,
    RoleContext, RoleError, RoleProtocol, RoleRef, RoleResult, Scope, ServeError, ServerConfig, ServerContext,
    ServerError, ServerHandle, ServerLookupError, ServerResult, ServerState, Snapshot, StartError, Starting, StopError,
    Table, TableConfig, TableError, TimingConfig, UntilError, Usage, VisibleError, Watch, WriteError,
};
pub use engine::{
    Denial, EngineStats, Event, Liveness, Member, Phase, RoleHost, RoleStatus, Status, Unplaced, Visible,
};
pub use id::{NodeId, NodeIdError, ReplicaId};
pub use roles::{
    Chosen, ClaimState, Explanation, FencingToken, GivenUp, Handover, HeldBack, Move, NewNode, Obstacle,
    PartitionPolicy, Restarts, RoleSpec, RoleSpecError, Tenure, Weighed, WhatIf, WhatIfError,
};
pub use signals::{AllocationList, NodeLoad, Part, SampleError, SignalKind, Signals, SignalsError};
pub use store::Origin;
pub use table::{Bag, Counter, Lww, Merge, MultiValue, RowError, Set, TableValue};

/// What `signals!` makes names with.
#[doc(hidden)]
pub use pastey::paste as __paste;

/// Runs the code of the README as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
