//! Spellings that people bring along, and small values.

use std::convert::Infallible;
use std::ffi::OsString;

use clap::{Command, CommandFactory};

use super::Cli;

/// What people type who learnt Docker from old pages.
const SINGLE_DASH_NET: &str = "-net";

/// A `KEY=VALUE` argument; without `=`, the value is empty, as with Docker.
pub(super) fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    if key.is_empty() {
        Err("want KEY=VALUE".to_owned())
    } else {
        Ok((key.to_owned(), value.to_owned()))
    }
}

/// A `--filter KEY=VALUE`, with blanks around either, as Docker takes it.
pub(super) fn filter(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_lowercase(), value.trim().to_owned())),
        _ => Err("want KEY=VALUE, for example name=web".to_owned()),
    }
}

/// Docker's `--link`.
pub(super) fn refused_link(_: &str) -> Result<Infallible, &'static str> {
    Err(
        "containers are not linked; on the same network they know each other by name, \
         and by another one with --network-alias (run) or --alias (network connect)",
    )
}

/// Docker's `--link-local-ip`.
pub(super) fn refused_link_local_ip(_: &str) -> Result<Infallible, &'static str> {
    Err(
        "a container has one address of a family on a network, from its subnets: choose it with --ip or --ip6; \
         the kernel adds an IPv6 link-local address by itself",
    )
}

/// Docker's `--sysctl`.
pub(super) fn refused_sysctl(_: &str) -> Result<Infallible, &'static str> {
    Err("only those of an interface can be set, for example \
         --network name=bridge,driver-opt=com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.log_martians=1")
}

/// Turns `-net` among the options of `run` into `--net`. What stands behind the options is the container's own.
pub(crate) fn normalise(words: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut words: Vec<OsString> = words.into_iter().collect();
    let mut cli = Cli::command();
    cli.build();
    let verb = options(&cli, &words, 1).end;
    let Some(run) = cli
        .find_subcommand("run")
        .filter(|_| words.get(verb).is_some_and(|word| word == "run"))
    else {
        return words;
    };
    for place in options(run, &words, verb + 1).places {
        let word = &mut words[place];
        if word == SINGLE_DASH_NET {
            *word = "--net".into();
        } else if let Some(value) = word.to_str().and_then(|word| word.strip_prefix("-net=")) {
            *word = format!("--net={value}").into();
        }
    }
    words
}

/// The places of a command's options, without their values, and the place of the first word behind them.
struct Options {
    places: Vec<usize>,
    end: usize,
}

fn options(command: &Command, words: &[OsString], start: usize) -> Options {
    let (mut places, mut position) = (Vec::new(), start);
    while let Some(word) = words.get(position) {
        let word = word.to_string_lossy();
        if word == "--" || !word.starts_with('-') {
            break;
        }
        places.push(position);
        position += if takes_next_word(command, &word) { 2 } else { 1 };
    }
    Options { places, end: position }
}

fn takes_next_word(command: &Command, word: &str) -> bool {
    let takes_value = |argument: &clap::Arg| argument.get_action().takes_values() && !argument.is_require_equals_set();
    let mut arguments = command.get_arguments();
    if word == SINGLE_DASH_NET {
        return true;
    }
    if let Some(long) = word.strip_prefix("--") {
        let named = |argument: &&clap::Arg| {
            argument.get_long() == Some(long) || argument.get_all_aliases().is_some_and(|all| all.contains(&long))
        };
        return arguments.find(named).is_some_and(takes_value);
    }
    // Of bundled letters only the last can take the next word as its value; an earlier one takes the letters behind it.
    let letters: Vec<char> = word.chars().skip(1).collect();
    let with_value = letters.iter().position(|letter| {
        command
            .get_arguments()
            .any(|argument| argument.get_short() == Some(*letter) && takes_value(argument))
    });
    with_value == Some(letters.len().saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(typed: &str, expected: &str) {
        let words = normalise(typed.split(' ').map(OsString::from));
        let joined: Vec<String> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        assert_eq!(joined.join(" "), expected);
    }

    #[test]
    fn net_with_one_dash_is_an_option_of_run_only() {
        check(
            "zdocker run -it -net mynet --rootfs / sh",
            "zdocker run -it --net mynet --rootfs / sh",
        );
        check(
            "zdocker run -net=mynet --rootfs / sh",
            "zdocker run --net=mynet --rootfs / sh",
        );
        check("zdocker run --rootfs / nc -net x", "zdocker run --rootfs / nc -net x");
        check("zdocker run --rootfs / -- -net x", "zdocker run --rootfs / -- -net x");
        check("zdocker run -e -net --rootfs / sh", "zdocker run -e -net --rootfs / sh");
        check("zdocker exec web nc -net", "zdocker exec web nc -net");
        check(
            "zdocker --root /x run -net a --rootfs / sh",
            "zdocker --root /x run --net a --rootfs / sh",
        );
        check("zdocker", "zdocker");
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
