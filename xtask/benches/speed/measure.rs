//! Pairs of measurements, and what is made of them.

use std::time::Instant;

use anyhow::Result;

/// What a row is to stay below: a multiple of the bare equivalent, seconds, or both.
#[derive(Clone, Copy, Default)]
pub struct Goal {
    pub ratio: Option<f64>,
    pub seconds: Option<f64>,
}

/// A line of the table, before anything is measured.
#[derive(Clone, Copy)]
pub struct Row {
    pub what: &'static str,
    /// The bare equivalent.
    pub against: &'static str,
    pub goal: Goal,
    /// Takes minutes: measured once, and left out by `--quick`.
    pub long: bool,
}

/// What was measured: medians in seconds.
pub struct Measured {
    pub row: Row,
    pub ours: f64,
    pub bare: f64,
    pub rounds: usize,
    /// What else the table should say; may be empty.
    pub remark: String,
}

impl Measured {
    /// Medians of what was measured for `row`.
    pub fn new(row: Row, mut ours: Vec<f64>, mut bare: Vec<f64>) -> Measured {
        let rounds = ours.len();
        let (ours, bare) = (median(&mut ours), median(&mut bare));
        Measured { row, ours, bare, rounds, remark: String::new() }
    }

    pub fn ratio(&self) -> f64 {
        self.ours / self.bare
    }

    pub fn meets_goal(&self) -> bool {
        let Goal { ratio, seconds } = self.row.goal;
        ratio.is_none_or(|most| self.ratio() <= most)
            && seconds.is_none_or(|most| self.ours <= most)
    }
}

/// Measures both sides in turns, so that whatever else the machine does meets
/// both; who begins changes too. Each side returns seconds.
///
/// # Errors
/// When a side fails.
pub fn in_turns(
    row: Row,
    rounds: usize,
    mut ours: impl FnMut() -> Result<f64>,
    mut bare: impl FnMut() -> Result<f64>,
) -> Result<Measured> {
    let (mut our, mut bares) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        if round % 2 == 0 {
            our.push(ours()?);
            bares.push(bare()?);
        } else {
            bares.push(bare()?);
            our.push(ours()?);
        }
    }
    Ok(Measured::new(row, our, bares))
}

/// The seconds that `work` takes.
///
/// # Errors
/// Those of `work`.
pub fn seconds(work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let started = Instant::now();
    work()?;
    Ok(started.elapsed().as_secs_f64())
}

/// Not a number where there are none.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 0 => f64::midpoint(values[middle - 1], values[middle]),
        _ => values[middle],
    }
}
