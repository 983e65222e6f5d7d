//! The page about Docker's options says what is true: the example of each row does what the row says.

use crate::harness::{Feature, Host, Output};

const PAGE: &str = include_str!("../../../../../docs/docker-options.md");

/// A row of one of the page's tables.
struct Row<'p> {
    option: &'p str,
    verdict: &'p str,
    why: &'p str,
    /// A command line of zdocker, if it can be tried anywhere.
    example: &'p str,
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
            example: example.trim_matches('`'),
        }
    });
    rows.filter(|row| row.verdict != "Here").collect()
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
        ["network", "connect", ..] => drop(host.z("network disconnect -f net box").ok()),
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
        let Row {
            option,
            verdict,
            why,
            example,
        } = row;
        if example.is_empty() || (example.contains("-d ipvlan") && !Feature::Ipvlan.is_there()) {
            continue;
        }
        let output = try_out(&host, example);
        let right = match verdict {
            "works" => output.status == 0,
            "differs" => output.status == 0 && !why.is_empty(),
            "refused" => {
                // Neither as a typing mistake nor silently.
                let unknown = output.stderr.contains("unexpected argument");
                output.status != 0 && !unknown && !output.stderr.is_empty() && !why.is_empty()
            }
            _ => false,
        };
        println!("{option}: {verdict}: {}", output.stderr.trim());
        if !right {
            wrong.push(format!("{option} is said to be {verdict:?}: {output:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
