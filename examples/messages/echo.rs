//! The yardstick: a bare TCP echo, and what prints figures.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::Failure;

/// As long as a call's letter is.
const MESSAGE: usize = 16;

/// Answers on every connection, as long as the process lives.
pub(super) async fn serve() -> Result<SocketAddr, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            tokio::spawn(async move { answer(tcp).await });
        }
    });
    Ok(address)
}

async fn answer(mut tcp: TcpStream) -> std::io::Result<()> {
    tcp.set_nodelay(true)?;
    let mut inbox = Vec::new();
    loop {
        if tcp.read_buf(&mut inbox).await? == 0 {
            return Ok(());
        }
        let (count, length) = whole(&inbox);
        if count > 0 {
            tcp.write_all(&inbox[..length]).await?;
            inbox.drain(..length);
        }
    }
}

/// How many whole messages there are, and how long they are together.
fn whole(bytes: &[u8]) -> (usize, usize) {
    let (mut count, mut at) = (0, 0);
    while let Some(prefix) = bytes[at..].first_chunk::<4>() {
        let next = at + 4 + u32::from_be_bytes(*prefix) as usize;
        if next > bytes.len() {
            break;
        }
        (count, at) = (count + 1, next);
    }
    (count, at)
}

/// Prints the figures of the echo.
pub(super) async fn measure(address: SocketAddr, span: Duration, in_flight: usize) -> Result<(), Failure> {
    let mut message = u32::try_from(MESSAGE)?.to_be_bytes().to_vec();
    message.resize(4 + MESSAGE, 7);
    let mut tcp = TcpStream::connect(address).await?;
    tcp.set_nodelay(true)?;
    let mut answer = vec![0; message.len()];
    let (end, mut times) = (Instant::now() + span, Vec::new());
    while Instant::now() < end {
        let began = Instant::now();
        tcp.write_all(&message).await?;
        tcp.read_exact(&mut answer).await?;
        times.push(began.elapsed());
    }
    times.sort_unstable();
    let (began, mut calls, mut inbox) = (Instant::now(), 0, Vec::new());
    tcp.write_all(&message.repeat(in_flight)).await?;
    while began.elapsed() < span {
        tcp.read_buf(&mut inbox).await?;
        let (count, length) = whole(&inbox);
        inbox.drain(..length);
        calls += count as u64;
        tcp.write_all(&message.repeat(count)).await?;
    }
    print("bare TCP echo (yardstick)", &times, calls, began.elapsed());
    Ok(())
}

pub(super) fn print(name: &str, times: &[Duration], calls: u64, span: Duration) {
    let at = |share: f64| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a place"
        )]
        let place = (times.len() as f64 * share) as usize;
        times.get(place.min(times.len().saturating_sub(1))).copied().unwrap_or_default()
    };
    #[expect(clippy::cast_precision_loss, reason = "a figure to print")]
    let rate = calls as f64 / span.as_secs_f64();
    println!("{name:<32} one at a time: median {:?}, p99 {:?}; {rate:.0} calls/s", at(0.5), at(0.99));
}
