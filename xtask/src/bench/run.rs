//! Whole container engines: networks, containers from start to end, many at once, what stays while one runs.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::call::{self, repeated, repeated_after_quiet};
use super::engine::{self, Engine, Image};
use super::plugin::{apart, on_fresh_host};
use super::results::{Group, Results};

/// What the cases are called that begin with [`call::QUIET`].
pub(super) const AFTER_QUIET: &str = ", after 100 ms of quiet";

/// Containers that are started, and how many at a time.
const MANY: usize = 100;
const AT_ONCE: usize = 8;

/// Measures every engine, each on a host of its own.
///
/// # Errors
/// When the image cannot be made.
pub(super) fn measure(results: &mut Results, folder: &Path, binary: &Path) -> Result<()> {
    let groups = [Group::Network, Group::Run, Group::Parallel, Group::Memory];
    if !groups.into_iter().any(|group| results.wants(group)) {
        return Ok(());
    }
    let image = Image::make(folder)?;
    type Start<'a> = Box<dyn Fn() -> Result<Engine> + 'a>;
    let engines: [(&str, Start); 3] = [
        ("zdocker", Box::new(|| engine::zdocker(binary, &image))),
        ("podman", Box::new(|| engine::podman(&image))),
        ("docker", Box::new(|| engine::docker(&image))),
    ];
    for (name, start) in engines {
        let measured = on_fresh_host(|| {
            let engine = start()?;
            measure_engine(results, &engine);
            Ok(())
        });
        if let Err(error) = measured {
            for group in groups
                .into_iter()
                .filter(|group| results.wants(*group))
                .collect::<Vec<_>>()
            {
                results.times(group, "(all)", name, Err(anyhow::anyhow!("{error:#}")));
            }
        }
    }
    if results.wants(Group::Run) {
        for runtime in ["crun", "runc"] {
            let measured = on_fresh_host(|| runtime_alone(results, runtime, &image));
            results.times(Group::Run, "the OCI runtime alone, no network", runtime, measured);
        }
    }
    Ok(())
}

fn measure_engine(results: &mut Results, engine: &Engine) {
    if results.wants(Group::Network) {
        let count = results.repetitions(18);
        let back_to_back = networks(count, engine, Duration::ZERO);
        let after_quiet = networks(count, engine, call::QUIET);
        for (measured, words) in [(back_to_back, ""), (after_quiet, AFTER_QUIET)] {
            let (create, remove) = apart(measured);
            results.times(Group::Network, &format!("network create{words}"), engine.name, create);
            results.times(Group::Network, &format!("network rm{words}"), engine.name, remove);
        }
        let list = repeated(results.repetitions(30), || engine.timed(&["network", "ls"]));
        results.times(Group::Network, "network ls", engine.name, list);
    }
    if results.wants(Group::Run) {
        let count = results.repetitions(30);
        let cases: [(&str, &[&str]); 3] = [
            ("run --rm --net none IMAGE true", &["--rm", "--net", "none"]),
            ("run --rm --net n IMAGE true", &["--rm", "--net", "n"]),
            (
                "run --rm --net n -p 8080:80 IMAGE true",
                &["--rm", "--net", "n", "-p", "8080:80"],
            ),
        ];
        for (words, options) in cases {
            let once = || engine.run(options, &["true"]);
            results.times(Group::Run, words, engine.name, repeated(count, once));
            let measured = repeated_after_quiet(count.div_ceil(2), once);
            results.times(Group::Run, &format!("{words}{AFTER_QUIET}"), engine.name, measured);
        }
    }
    if results.wants(Group::Parallel) {
        let words = format!("{MANY} times run --rm --net n, {AT_ONCE} at once: all");
        let measured = many_at_once(engine).map(|took| vec![took]);
        results.times(Group::Parallel, &words, engine.name, measured);
    }
    if results.wants(Group::Memory) {
        let measured = helper_memory(engine);
        results.bytes(
            Group::Memory,
            "one container with one published port",
            engine.name,
            measured,
        );
    }
}

/// The times of creating and of removing a network, each after a pause.
fn networks(count: usize, engine: &Engine, pause: Duration) -> Result<Vec<(Duration, Duration)>> {
    let after_pause = |words: &[&str]| {
        std::thread::sleep(pause);
        engine.timed(words)
    };
    repeated(count, || {
        let create = after_pause(&["network", "create", "again"])?;
        Ok((create, after_pause(&["network", "rm", "again"])?))
    })
}

/// The time until all of many containers have ended.
fn many_at_once(engine: &Engine) -> Result<Duration> {
    let next = AtomicUsize::new(0);
    let worker = || -> Result<()> {
        while next.fetch_add(1, Ordering::Relaxed) < MANY {
            engine.run(&["--rm", "--net", "n"], &["true"])?;
        }
        Ok(())
    };
    let start = Instant::now();
    let outcomes: Vec<Result<()>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(worker)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| bail!("a thread panicked")))
            .collect()
    });
    outcomes.into_iter().collect::<Result<Vec<()>>>()?;
    Ok(start.elapsed())
}

/// The anonymous memory, in bytes, of the helper processes that a running container adds.
fn helper_memory(engine: &Engine) -> Result<u64> {
    let before = programs()?;
    engine.run(
        &["-d", "--name", "sleeper", "--net", "n", "-p", "8081:80"],
        &["sleep", "1000"],
    )?;
    let after = programs()?;
    let helpers = after
        .iter()
        .filter(|(pid, words)| !before.contains_key(pid) && !words.starts_with("sleep\0"));
    let memory = helpers.map(|(pid, _)| anonymous_memory(*pid)).sum::<Result<u64>>();
    engine.timed(&["stop", "-t", "1", "sleeper"])?;
    engine.timed(&["rm", "sleeper"])?;
    memory
}

/// The processes and their command lines, as /proc gives them: a NUL behind each word. Kernel threads have none.
fn programs() -> Result<HashMap<u32, String>> {
    let mut found = HashMap::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // A process may end while we look.
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        if !words.is_empty() {
            found.insert(pid, String::from_utf8_lossy(&words).into_owned());
        }
    }
    Ok(found)
}

/// RssAnon of a process (proc_pid_status(5)), in bytes.
fn anonymous_memory(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))
        .context("/proc has no RssAnon")?;
    let kibibytes: u64 = line
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .context("RssAnon is no number")?;
    Ok(kibibytes * 1024)
}

/// An OCI runtime without an engine: create, start, wait and delete in one process.
fn runtime_alone(results: &Results, runtime: &str, image: &Image) -> Result<Vec<Duration>> {
    let bundle = Path::new("/run").join(format!("bundle-{runtime}"));
    fs::create_dir_all(&bundle)?;
    call::timed(Command::new(runtime).arg("spec").current_dir(&bundle), b"")?;
    let file = bundle.join("config.json");
    let mut spec: serde_json::Value = serde_json::from_slice(&fs::read(&file)?)?;
    spec["root"]["path"] = image.folder.to_string_lossy().into();
    spec["process"]["terminal"] = false.into();
    spec["process"]["args"] = serde_json::json!(["true"]);
    fs::write(&file, spec.to_string())?;
    let mut number = 0;
    repeated(results.repetitions(30), || {
        number += 1;
        let mut command = Command::new(runtime);
        command
            .arg("run")
            .arg("--bundle")
            .arg(&bundle)
            .arg(format!("bench-{number}"));
        Ok(call::timed(&mut command, b"")?.0)
    })
}
