//! `system ...`

use std::process::ExitCode;

use anyhow::Result;
use zdocker_engine::Engine;
use zdocker_net::firewall;

use crate::args::CheckArgs;
use crate::output::say;

pub(super) fn check(engine: &mut Engine, args: &CheckArgs) -> Result<ExitCode> {
    let findings = if args.repair { engine.repair()? } else { engine.check()? };
    for finding in &findings {
        say(&if args.repair {
            format!("repaired: {finding}")
        } else {
            finding.clone()
        })?;
    }
    if findings.is_empty() {
        say("everything is as the records say")?;
    }
    Ok(if args.repair || findings.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

pub(super) fn firewall() -> Result<ExitCode> {
    say(firewall::RULESET.trim_end())?;
    Ok(ExitCode::SUCCESS)
}
