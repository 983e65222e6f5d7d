//! `cni install`, `cni remove`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};

use super::steps::{self, Step};
use super::{Found, program, text_of};
use crate::args::{CniInstallArgs, CniPlaces};
use crate::faces;
use crate::output::note;

/// What the name of another's plug-in that was moved aside ends with.
const ASIDE: &str = ".before-zdocker";

/// Runtimes use the first configuration by name: this one only where there is no other.
const SAMPLE_NAME: &str = "99-zdocker.conflist";
const SAMPLE: &str = include_str!("sample.conflist");

/// The places of a plug-in: its own, and where another's is moved aside to.
fn places_of(directory: &Path, name: &str) -> (PathBuf, PathBuf) {
    (directory.join(name), directory.join(format!("{name}{ASIDE}")))
}

fn absolute(places: &CniPlaces) -> Result<(PathBuf, PathBuf)> {
    Ok((
        std::path::absolute(&places.directory)?,
        std::path::absolute(&places.conf_dir)?,
    ))
}

pub(crate) fn install(args: &CniInstallArgs) -> Result<ExitCode> {
    let (directory, conf_dir) = absolute(&args.places)?;
    let program = program()?;
    let (mut plan, mut strangers) = (Vec::new(), Vec::new());
    for directory in [&directory, &conf_dir].into_iter().filter(|path| !path.is_dir()) {
        plan.push(Step::MakeDirectory(directory.clone()));
    }
    for name in faces::cni::names() {
        let (path, aside) = places_of(&directory, name);
        match Found::at(&path, &program)? {
            Found::Ours => continue,
            Found::Nothing | Found::OursElsewhere => {}
            Found::Strange => {
                strangers.push(name);
                if Found::at(&aside, &program)? != Found::Nothing {
                    bail!(
                        "cannot move {} aside: {} is there already; remove one of them",
                        path.display(),
                        aside.display()
                    );
                }
                plan.push(Step::Move {
                    from: path.clone(),
                    to: aside,
                });
            }
        }
        plan.push(Step::Link {
            target: program.clone(),
            path,
        });
    }
    if !strangers.is_empty() && !args.force {
        bail!(
            "cannot install in {}: plug-ins of others are there: {}; with --force, each is moved aside to \
             NAME{ASIDE}, and zdocker cni remove puts it back",
            directory.display(),
            strangers.join(", ")
        );
    }
    plan.extend(sample_step(&conf_dir)?);
    steps::run(&plan, args.places.dry_run)
}

/// What makes the sample configuration. One that somebody changed stays as it is.
fn sample_step(conf_dir: &Path) -> Result<Option<Step>> {
    let path = conf_dir.join(SAMPLE_NAME);
    Ok(match text_of(&path)? {
        Some(text) => {
            if text != SAMPLE {
                note(&format!("zdocker: {} is there and stays as it is", path.display()));
            }
            None
        }
        None => Some(Step::Write {
            path,
            text: SAMPLE.to_owned(),
        }),
    })
}

pub(crate) fn remove(places: &CniPlaces) -> Result<ExitCode> {
    let (directory, conf_dir) = absolute(places)?;
    let program = program()?;
    let mut plan = Vec::new();
    // First, so that no runtime finds it without its plug-in.
    let sample = conf_dir.join(SAMPLE_NAME);
    match text_of(&sample)? {
        Some(text) if text == SAMPLE => plan.push(Step::Remove(sample)),
        Some(_) => note(&format!(
            "zdocker: {} was changed, and stays; remove it if nobody needs it",
            sample.display()
        )),
        None => {}
    }
    for name in faces::cni::names() {
        let (path, aside) = places_of(&directory, name);
        let found = Found::at(&path, &program)?;
        let is_aside = Found::at(&aside, &program)? != Found::Nothing;
        match found {
            Found::Strange if is_aside => note(&format!(
                "zdocker: {} is another's again, so {} stays",
                path.display(),
                aside.display()
            )),
            Found::Strange => {}
            _ if is_aside => plan.push(Step::Move { from: aside, to: path }),
            Found::Ours | Found::OursElsewhere => plan.push(Step::Remove(path)),
            Found::Nothing => {}
        }
    }
    steps::run(&plan, places.dry_run)
}
