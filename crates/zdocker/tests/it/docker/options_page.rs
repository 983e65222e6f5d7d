//! The page about Docker's options says what is true: the example of each row does what the row says.

use std::path::Path;

use super::engine::DOCKER;
use crate::harness::{Feature, Host, Output, skipped};

const PAGE: &str = include_str!("../../../../../docs/docker-options.md");

/// A row of one of the page's tables.
struct Row<'p> {
    option: &'p str,
    verdict: &'p str,
    why: &'p str,
    /// Command lines of zdocker, if any can be tried anywhere, and those that are refused.
    examples: (Vec<String>, Vec<String>),
}

/// The rows of all tables.
fn rows() -> Vec<Row<'static>> {
    let lines = PAGE.lines().filter_map(|line| line.strip_prefix("| "));
    let rows = lines.map(|line| {
        let cells: Vec<&str> = line.trim_end_matches('|').split('|').map(str::trim).collect();
        let [option, verdict, why, example] = cells[..] else {
            panic!("not four cells: {line}");
        };
        Row {
            option,
            verdict,
            why,
            examples: examples(option, example),
        }
    });
    rows.filter(|row| row.verdict != "Here").collect()
}

/// What stands in backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The examples, each also with the option's other names, and those behind the word `not`.
fn examples(option: &str, cell: &str) -> (Vec<String>, Vec<String>) {
    let (done, refused) = cell
        .split_once("not `")
        .map_or((cell, String::new()), |(done, refused)| (done, format!("`{refused}")));
    let names: Vec<&str> = quoted(option).filter_map(|name| name.split(' ').next_back()).collect();
    let mut all = Vec::new();
    for example in quoted(done) {
        for name in &names {
            let renamed = example.split(' ').map(|word| {
                let (key, value) = word.split_at(word.find('=').unwrap_or(word.len()));
                if names.contains(&key) {
                    format!("{name}{value}")
                } else {
                    word.to_owned()
                }
            });
            all.push(renamed.collect::<Vec<_>>().join(" "));
        }
        all.push(example.to_owned());
    }
    all.sort();
    all.dedup();
    (all, quoted(&refused).map(str::to_owned).collect())
}

/// Whether a command was refused with a reason: neither as a typing mistake nor silently.
fn is_refused(output: &Output) -> bool {
    output.status != 0 && !output.stderr.contains("unexpected argument") && !output.stderr.is_empty()
}

/// Runs an example and takes back what it did.
fn try_out(host: &Host, example: &str) -> Output {
    let words: Vec<&str> = example.split_whitespace().collect();
    let mut args = Vec::new();
    for word in &words {
        match *word {
            "run" => args.extend(["run", "--rm"]),
            "IMAGE" => args.extend(["--rootfs", "/", "--", "busybox", "true"]),
            word => args.push(word),
        }
    }
    let output = host.zdocker(&args);
    match words[..] {
        ["network", "create", ..] => drop(host.z("network rm -f t").ok()),
        ["network", "connect" | "disconnect", ..] => drop(host.z("network disconnect -f net box").ok()),
        _ => {}
    }
    output
}

#[test]
fn the_page_about_dockers_options_is_true() {
    let host = Host::new();
    host.z("network create --subnet 10.50.0.0/24 --subnet fd00:50::/64 net")
        .ok();
    host.run("box", "");
    let mut wrong = Vec::new();
    let rows = rows();
    assert!(rows.len() > 80, "only {} rows were read", rows.len());
    for row in rows {
        let (done, refused) = match row.verdict {
            "refused" => (&[][..], [row.examples.0, row.examples.1].concat()),
            "works" | "differs" => (&row.examples.0[..], row.examples.1),
            other => panic!("{}: {other}", row.option),
        };
        assert!(row.verdict == "works" || !row.why.is_empty(), "{}: why?", row.option);
        for example in done {
            if example.contains("-d ipvlan") && !Feature::Ipvlan.is_there() {
                continue;
            }
            let output = try_out(&host, example);
            wrong.extend((output.status != 0).then(|| format!("{} does not work: {output:?}", row.option)));
        }
        for example in &refused {
            let output = try_out(&host, example);
            println!("{example}: {}", output.stderr.trim());
            wrong.extend((!is_refused(&output)).then(|| format!("{} is not refused: {output:?}", row.option)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_page_has_every_option_of_dockers_help() {
    if !Path::new(DOCKER).exists() {
        skipped("docker is not installed (Debian's package docker.io)");
        return;
    }
    let host = Host::new();
    let known: Vec<&str> = rows().iter().flat_map(|row| quoted(row.option)).collect();
    let verbs = ["create", "connect", "disconnect", "ls", "inspect", "prune", "rm"];
    for verb in verbs {
        let help = host.program(DOCKER, &["network", verb, "--help"]).ok().stdout;
        for option in help.split_whitespace().filter(|word| word.starts_with("--")) {
            let with_verb = format!("{verb} {option}");
            assert!(
                known.iter().any(|name| *name == option || *name == with_verb),
                "docker network {verb} {option} is not on the page"
            );
        }
    }
}
