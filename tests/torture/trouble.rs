//! What is done to a gateway that has work to do.

use crate::disk::{Mounted, limit_files};
use crate::journal::Violation;
use crate::plan::{ANSWER_MAX, part_of};
use crate::process::Process;
use crate::pulse::Beat;
use crate::reading::{Final, Reading};
use crate::stage::Stage;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use std::time::Duration;
use tokio::time::timeout;

/// A kind of trouble.
pub enum Trouble {
    /// SIGKILL, and a start on the same ledger.
    Kill,
    /// A successor takes over, mostly.
    Replace,
    /// The disk of the ledger gets full, and is killed in it now and then.
    Full(Mounted),
    /// The files of the ledger can't grow, which the system does not announce.
    Limit,
    /// All is killed, and what was not synced is lost.
    PowerCut(Mounted),
}

/// A start takes about so long.
const START: Duration = Duration::from_millis(400);
/// How long the gateway may take to feel what was done to it.
const FELT: Duration = Duration::from_secs(3);
/// How long a gateway that has room again may refuse to write.
const RECOVERY: Duration = Duration::from_secs(10);
/// Answers that are asked for while nothing can be written.
const SAMPLE: usize = 5;

impl Trouble {
    /// Does it once. A gateway serves in the end, if one is able to.
    pub async fn strike(&self, stage: &mut Stage, dice: &mut StdRng) {
        match self {
            Trouble::Kill => kill(stage, dice).await,
            Trouble::Replace => replace(stage, dice).await,
            Trouble::Full(_) | Trouble::Limit => self.squeeze(stage, dice).await,
            Trouble::PowerCut(disk) => cut(disk, stage, dice).await,
        }
    }

    async fn squeeze(&self, stage: &mut Stage, dice: &mut StdRng) {
        let kib = *[0, 0, 8, 64, 1024, 40 * 1024].choose(dice).expect("some");
        self.tighten(stage, kib);
        let refusals = dice.random_range(1..5);
        let felt = timeout(FELT, stage.pulse.more(Beat::Unwritten, refusals)).await;
        if felt.is_ok() {
            stage.clients.journal.count("times that nothing could be written");
            still_replays(stage, dice).await;
        }
        match dice.random_range(0..4) {
            0 => self.relieve(stage),
            1 => {
                self.relieve(stage);
                stage.kill();
                stage.revive().await;
            }
            2 => {
                stage.kill();
                self.relieve(stage);
                stage.revive().await;
            }
            _ => {
                stage.kill();
                stage.revive().await;
                self.tighten(stage, kib);
                stage.moment(dice, 5).await;
                self.relieve(stage);
                // What opened no ledger may have to be started again.
                if timeout(RECOVERY, stage.pulse.more(Beat::Settled, 3)).await.is_err() {
                    stage.clients.journal.count("restarts for a ledger");
                    stage.kill();
                    stage.revive().await;
                }
            }
        }
    }

    fn tighten(&self, stage: &Stage, kib: u64) {
        match self {
            Trouble::Full(disk) => disk.leave(kib).expect("made smaller"),
            _ => limit_files(&stage.gateway, Some((kib * 1024).min(256 * 1024))).expect("limited"),
        }
    }

    fn relieve(&self, stage: &mut Stage) {
        match self {
            Trouble::Full(disk) => disk.relieve().expect("made larger"),
            // The limit of a dead one is gone.
            _ if stage.gateway.ended().is_some() => {}
            _ => limit_files(&stage.gateway, None).expect("not limited"),
        }
    }
}

async fn kill(stage: &mut Stage, dice: &mut StdRng) {
    if dice.random_bool(0.1) {
        stage.gateway.signal("TERM");
        stage.moment(dice, 5).await;
        stage.clients.journal.count("kills in a drain");
        stage.gateway.kill();
    } else {
        stage.kill();
    }
    while dice.random_bool(0.15) {
        stage.clients.journal.count("kills at a start");
        stage.gateway = Process::start(&stage.site, &[]);
        // It may serve by then.
        let _ = timeout(part_of(dice, START), stage.gateway.serves()).await;
        stage.kill();
    }
    stage.revive().await;
}

async fn replace(stage: &mut Stage, dice: &mut StdRng) {
    // A successor may have taken over in the moment in which it was killed.
    follows(stage).await;
    let mut new = Process::start(&stage.site, &["--replace"]);
    match dice.random_range(0..10) {
        0..7 => {
            match succeeds(stage, &mut new).await {
                Ok(true) => {}
                Ok(false) => return follows(stage).await,
                Err(words) => {
                    stage.clients.journal.violates(Violation::Ended(words));
                    return;
                }
            }
            stage.clients.journal.count("replacements");
            let mut old = std::mem::replace(&mut stage.gateway, new);
            match dice.random_range(0..3) {
                0 => {
                    stage.moment(dice, 5).await;
                    stage.clients.journal.count("kills in a drain");
                    old.kill();
                }
                1 => stage.leaving.push(old),
                _ => {
                    stage.leaving.push(old);
                    stage.everybody_left().await;
                }
            }
        }
        7..9 => {
            let _ = timeout(part_of(dice, START), new.serves()).await;
            stage.clients.journal.count("kills of a successor");
            new.kill();
            serves_on(stage).await;
        }
        _ => {
            let _ = timeout(part_of(dice, START), new.serves()).await;
            new.kill();
            stage.clients.journal.count("kills of both");
            stage.gateway.kill();
            stage.revive().await;
        }
    }
}

/// How often a successor may come too soon: before its predecessor has seen that another one
/// has failed.
const TOO_SOON_MAX: usize = 20;

/// `false`: its predecessor leaves already, told so by one that was killed then.
async fn succeeds(stage: &mut Stage, new: &mut Process) -> Result<bool, String> {
    for _ in 0..TOO_SOON_MAX {
        match new.serves().await {
            Err(words) if words.contains("Address already in use") => {
                stage.clients.journal.count("successors that came too soon");
                if stage.gateway.leaves() {
                    return Ok(false);
                }
                *new = Process::start(&stage.site, &["--replace"]);
            }
            served => return served.map(|()| true),
        }
    }
    new.serves().await.map(|()| true)
}

/// Either the successor had begun to serve, or its predecessor goes on.
async fn serves_on(stage: &mut Stage) {
    let goes_on = stage.pulse.more(Beat::Heard, 1);
    if timeout(RECOVERY, goes_on).await.is_err() && !stage.gateway.leaves() {
        let words = format!("it does not go on:\n{}", stage.gateway.last_words());
        stage.clients.journal.violates(Violation::Ended(words));
    }
    follows(stage).await;
}

/// A new one follows a gateway that leaves, or is gone; one that is gone without a word is an
/// offense.
async fn follows(stage: &mut Stage) {
    let gone = stage.gateway.ended().is_some();
    if stage.gateway.leaves() {
        stage.gateway.kill();
        stage.revive().await;
    } else if gone {
        stage.kill();
        stage.revive().await;
    }
}

async fn cut(disk: &Mounted, stage: &mut Stage, dice: &mut StdRng) {
    if dice.random_bool(0.5) {
        // A sync that is under way in that moment may be said to have been done.
        stage.gateway.halt().await;
        disk.cut().expect("cut");
        stage.gateway.signal("CONT");
        // The gateway sees that nothing can be written, and must not answer as if it could.
        let events = dice.random_range(1..10);
        let _ = timeout(START, stage.pulse.more(Beat::Sent, events)).await;
        stage.kill();
    } else {
        stage.kill();
        disk.cut().expect("cut");
    }
    stage.clients.journal.count("power cuts");
    disk.restore().expect("mounted again");
    stage.revive().await;
}

/// Who can't write can still read.
async fn still_replays(stage: &Stage, dice: &mut StdRng) {
    let stories = stage.clients.journal.stories();
    let told = |answer: &Final| match answer {
        Final::Kept { body, .. } => body.len() < ANSWER_MAX,
        Final::NotKept { .. } => false,
    };
    let settled: Vec<_> =
        stories.iter().filter(|(_, story)| story.settled.as_ref().is_some_and(told)).collect();
    for (write, _) in settled.choose_multiple(dice, SAMPLE) {
        let reading = stage.clients.ask_once(*write).await;
        if !matches!(reading, Reading::Final { .. }) {
            let answer = format!("not given again while nothing can be written: {reading:?}");
            stage.clients.journal.violates(Violation::Wrong { write: *write, answer });
        }
    }
}
