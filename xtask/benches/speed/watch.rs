//! Asks the service again and again, as an impatient client would.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

/// Longer than any answer takes that is worth counting.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long a service may take to answer before the benchmark is given up.
const GIVE_UP: Duration = Duration::from_secs(180);

/// An answer of /health.
#[derive(Clone, Copy)]
pub struct Answer {
    pub at: Instant,
    /// When the process that answered began to serve.
    pub started: Instant,
}

/// A thread that asks for /health every so often until it is stopped.
pub struct Watch {
    stop: Arc<AtomicBool>,
    answers: mpsc::Receiver<Answer>,
    thread: JoinHandle<()>,
}

/// What a watch has seen, in seconds.
pub struct Seen {
    /// From the beginning of what was watched to the first answer of a process
    /// that is younger.
    pub until_new_answer: f64,
    /// The longest time between two answers.
    pub silence: f64,
}

impl Watch {
    /// Returns once the service has answered for the first time.
    ///
    /// # Errors
    /// When it does not.
    pub fn start(port: u16, every: Duration) -> Result<Watch> {
        let stop = Arc::<AtomicBool>::default();
        let (sender, answers) = mpsc::channel();
        let (first, began) = mpsc::channel();
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let asked = Instant::now();
                if let Ok(answer) = health(port) {
                    let _ = first.send(());
                    let _ = sender.send(answer);
                }
                thread::sleep(every.saturating_sub(asked.elapsed()));
            }
        });
        began.recv_timeout(GIVE_UP).context("the service does not answer")?;
        Ok(Watch { stop, answers, thread })
    }

    /// Waits for an answer of a process that is younger than `since`, and ends
    /// the watch.
    ///
    /// # Errors
    /// When there is none in time.
    pub fn end(self, since: Instant) -> Result<Seen> {
        let (mut last, mut silence, mut new) = (None::<Instant>, Duration::ZERO, None);
        while new.is_none() {
            let Ok(answer) = self.answers.recv_timeout(GIVE_UP) else {
                bail!("no new process of the service answered within {} s", GIVE_UP.as_secs());
            };
            silence = silence.max(last.map_or(Duration::ZERO, |last| answer.at - last));
            last = Some(answer.at);
            new = (answer.started > since).then_some(answer.at);
        }
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.join();
        let until_new_answer = new.map_or(f64::NAN, |at| (at - since).as_secs_f64());
        Ok(Seen { until_new_answer, silence: silence.as_secs_f64() })
    }
}

/// # Errors
/// When nothing answers, or not with a healthy service's answer.
pub fn health(port: u16) -> Result<Answer> {
    let body = get(port, "/health")?;
    let at = Instant::now();
    let uptime = serde_json::from_str::<serde_json::Value>(&body)?["uptime_s"]
        .as_f64()
        .context("/health without uptime_s")?;
    let started =
        at.checked_sub(Duration::from_secs_f64(uptime)).context("an impossible uptime")?;
    Ok(Answer { at, started })
}

/// The body of a successful answer.
///
/// # Errors
/// For any other.
pub fn get(port: u16, path: &str) -> Result<String> {
    let mut stream =
        TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.contains(" 200 ") => Ok(body.to_owned()),
        _ => bail!("{path} answered {:?}", answer.lines().next().unwrap_or_default()),
    }
}
