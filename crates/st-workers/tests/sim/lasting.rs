//! Troubles that last: an outage of about a day, an hour of 429, a name that is not resolved.
//!
//! Such a world takes as long as many others, so only one in seven is one. They are drawn beside the
//! plan and not in it: the worlds of all other seeds stay what they are.

use std::time::Duration;

use fastrand::Rng;

use crate::draw::Draw;
use crate::plan::{Phase, Plan, Span, Trouble};

/// One world in so many is a long one.
const ONE_IN: u64 = 7;
/// Of the seeds in [`crate::seeds`] none is among them.
const REMAINDER: u64 = 4;

/// Whether the world of this seed meets them.
pub(crate) fn is_met_by(seed: u64) -> bool {
    seed % ONE_IN == REMAINDER
}

/// Adds all three, one after the other, and makes the world last until they are over. Each is that of
/// one provider.
pub(crate) fn draw(random: &mut Rng, plan: &mut Plan) {
    let mut from = random.seconds(0.0..plan.active_for.as_secs_f64());
    let rest = plan.active_for.saturating_sub(from);
    let wish = [None, Some(random.minutes(0.1..1.0)), Some(random.minutes(2.0..20.0))];
    let mut lasting = [
        (Trouble::LastingOutage, random.minutes(12.0 * 60.0..26.0 * 60.0)),
        (Trouble::Throttling { wish: *random.pick(&wish) }, random.minutes(40.0..90.0)),
        (Trouble::Unresolved, random.minutes(10.0..120.0)),
    ];
    random.shuffle(&mut lasting);
    for (trouble, takes) in lasting {
        let span = Span { from, to: from + takes };
        let provider = random.usize(..plan.providers.len());
        plan.providers[provider].phases.push(Phase { span, trouble });
        from = span.to + random.minutes(1.0..20.0);
    }
    plan.active_for = from + rest.min(Duration::from_mins(30));
}
