//! What `start` refuses, and that nothing is left behind by it.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::*;

async fn error(builder: Builder) -> StartError {
    builder.start().await.expect_err("this must not start")
}

#[tokio::test]
async fn wrong_settings_are_refused_before_anything_is_bound() {
    let builder = Cluster::builder().role(RoleSpec::new("gate-1").count(0));
    let StartError::Config(refused) = error(builder).await else { panic!("not a matter of configuration") };
    assert_eq!(refused.field(), "roles");

    let idle = |context: RoleContext| async move {
        context.stopped().await;
        Ok(())
    };
    let builder = Cluster::builder().role_kind("gate", idle).role_kind("gate", idle);
    let StartError::Config(refused) = error(builder).await else { panic!("not a matter of configuration") };
    assert_eq!(refused, ConfigError::KindTwice { kind: "gate".into() });
}

#[tokio::test]
async fn a_subnet_without_an_interface_is_named() {
    // TEST-NET-3 of RFC 5737: documentation only, on no host.
    let refused = error(Cluster::builder().net("203.0.113.0/24").port(21_180)).await;
    assert!(matches!(refused, StartError::Bind(_)), "{refused:?}");
    let message = refused.to_string();
    assert!(message.contains("net") && message.contains("203.0.113.0/24"), "{message}");
}

#[test]
fn without_a_runtime_it_says_so() {
    let mut start = pin!(Cluster::builder().start());
    let polled = start.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(polled, Poll::Ready(Err(StartError::NoRuntime))));
}

#[test]
fn settings_of_the_builder_are_those_of_the_configuration() {
    let timing = TimingConfig { suspicion_ms: Some(7_000), ..TimingConfig::default() };
    let builder = Cluster::builder()
        .config(Config { cluster: "replaced".into(), ..Config::default() })
        .name("parking")
        .node("larry")
        .net("10.0.0.0/8")
        .port(5_000)
        .own_port(5_001)
        .bind("10.0.0.1")
        .advertise("10.0.0.1:5001")
        .preset(Preset::Wan)
        .timing(timing)
        .peer("10.0.0.5:4871")
        .broadcast(false)
        .role(RoleSpec::new("gate-1"))
        .label("zone", "a")
        .stop_grace(Duration::from_secs(1))
        .converge_timeout(Duration::from_secs(2))
        .leave_patience(Duration::from_secs(3))
        .monitor(MonitorConfig::OFF);
    let expected = Config {
        cluster: "parking".into(),
        node: Some("larry".into()),
        labels: [("zone".to_owned(), "a".to_owned())].into(),
        net: "10.0.0.0/8".into(),
        port: 5_000,
        own_port: Some(5_001),
        bind: Some("10.0.0.1".into()),
        advertise: Some("10.0.0.1:5001".into()),
        preset: Some(Preset::Wan),
        timing,
        peers: vec!["10.0.0.5:4871".into()],
        broadcast: false,
        roles: vec![RoleSpec::new("gate-1")],
        stop_grace_ms: 1_000,
        converge_timeout_ms: 2_000,
        leave_patience_ms: 3_000,
        monitor: MonitorConfig::OFF,
    };
    assert_eq!(builder.config, expected);
}
