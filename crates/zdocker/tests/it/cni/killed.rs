//! Plug-ins that are killed at each step, and what the next verb makes of it.

use std::io::Write;
use std::process::Stdio;

use serde_json::{Value, json};

use super::driver::{Call, Runtime, environment, execution_config};
use super::shapes::addresses;
use super::{bridge, dual_bridge, interfaces, list, portmap, ports};
use crate::harness::kill::{KERNEL, RECORDS, Stopped, at_each_call, has_strace, killing};
use crate::harness::{HOST_V4, Output, Proto, Server, ip, reaches, until};

/// The verbs of one list and one container, and where they are killed.
struct Victim<'a> {
    runtime: &'a Runtime,
    list: Value,
    call: Call<'a>,
}

impl Victim<'_> {
    /// Executes the list's `plugin`th plug-in by strace with these options.
    fn traced(
        &self,
        verb: &str,
        plugin: usize,
        result: Option<&Value>,
        options: &[String],
    ) -> (std::process::Command, String) {
        let config = execution_config(&self.list, &self.list["plugins"][plugin], &self.call, result);
        let program = self.runtime.directory().join(config["type"].as_str().unwrap());
        let words: Vec<&str> = options
            .iter()
            .map(String::as_str)
            .chain([program.to_str().unwrap()])
            .collect();
        let mut command = self.runtime.host.command("strace", &words);
        command.env("CNI_PATH", self.runtime.directory());
        command.envs(environment(verb, &self.call));
        (command, config.to_string())
    }

    /// Executes it and kills it before its `number`th call of `calls`.
    fn killed(&self, verb: &str, plugin: usize, result: Option<&Value>, at: (&str, usize)) -> Output {
        let (command, input) = self.traced(verb, plugin, result, &killing(at));
        self.runtime.host.finish(command, &input)
    }

    /// Executes the first and stops it at its first call of `calls`.
    fn stopped(&self, verb: &str, calls: &str) -> Stopped {
        let host = &self.runtime.host;
        let stopped = Stopped::of(host, (calls, 1), |options| {
            let (mut command, input) = self.traced(verb, 0, None, options);
            let mut strace = host.spawn(command.stdin(Stdio::piped())).unwrap();
            strace.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
            strace
        });
        stopped.expect("it makes such a call")
    }

    /// Kills the plug-in at each call; before each `prepare`, after each `tidy`, which must bring the host back to what
    /// it was.
    #[track_caller]
    fn killed_at_each(
        &self,
        (verb, plugin): (&str, usize),
        calls: (&str, usize),
        prepare: impl Fn() -> Option<Value>,
        tidy: impl Fn(),
    ) {
        at_each_call(&self.runtime.host, calls, |at| {
            let result = prepare();
            let output = self.killed(verb, plugin, result.as_ref(), at);
            tidy();
            assert!(
                output.status == 0 || output.status > 128,
                "killed, or at its end: {output:?}"
            );
            output.status != 0
        });
    }
}

/// A list in 1.1.0 and another network beside it, so that what all networks share stays.
fn with_another(runtime: &Runtime) -> (Value, super::driver::Sandbox) {
    let mut plugin = bridge();
    plugin["bridge"] = json!("cni1");
    plugin["ipam"]["ranges"] = json!([[{ "subnet": "10.89.0.0/24" }]]);
    let other = runtime.sandbox("other");
    runtime.add(&list("1.1.0", "other", json!([plugin])), &Call::new(&other));
    (list("1.1.0", "net", json!([dual_bridge(), portmap()])), other)
}

#[test]
fn add_killed_is_tidied_by_del() {
    let runtime = Runtime::ours();
    if !has_strace(&runtime.host) {
        return;
    }
    let (list, other) = with_another(&runtime);
    let sandbox = runtime.sandbox("a");
    let call = Call::new(&sandbox).capabilities(ports(&[(8080, 80)]));
    let victim = Victim {
        runtime: &runtime,
        list,
        call,
    };
    let tidy = || {
        runtime.del(&victim.list, &victim.call);
        until("the interface is gone", || interfaces(&sandbox.net).is_empty());
        // It may be made again at once, with all that it had.
        let result = runtime.add(&victim.list, &victim.call);
        assert_eq!(addresses(&result).len(), 2);
        runtime.check(&victim.list, &victim.call).unwrap();
        runtime.del(&victim.list, &victim.call);
        runtime.gc(&victim.list, &[]).unwrap();
        until("the interface is gone", || interfaces(&sandbox.net).is_empty());
    };
    victim.killed_at_each(("ADD", 0), (KERNEL, 2), || None, tidy);
    victim.killed_at_each(("ADD", 0), (RECORDS, 6), || None, tidy);
    drop(other);
}

#[test]
fn add_killed_is_tidied_by_gc_alone() {
    let runtime = Runtime::ours();
    if !has_strace(&runtime.host) {
        return;
    }
    let (list, _other) = with_another(&runtime);
    let sandbox = runtime.sandbox("a");
    let victim = Victim {
        runtime: &runtime,
        list,
        call: Call::new(&sandbox),
    };
    let tidy = || {
        runtime.gc(&victim.list, &[]).unwrap();
        until("the interface is gone", || interfaces(&sandbox.net).is_empty());
    };
    victim.killed_at_each(("ADD", 0), (KERNEL, 3), || None, tidy);
}

#[test]
fn the_second_of_a_chain_killed_is_tidied_by_del() {
    let runtime = Runtime::ours();
    if !has_strace(&runtime.host) {
        return;
    }
    let (list, _other) = with_another(&runtime);
    let sandbox = runtime.sandbox("a");
    let first_alone = self::list("1.1.0", "net", json!([dual_bridge()]));
    let call = Call::new(&sandbox).capabilities(ports(&[(8080, 80)]));
    let victim = Victim {
        runtime: &runtime,
        list,
        call,
    };
    let prepare = || Some(runtime.add(&first_alone, &victim.call));
    let tidy = || {
        runtime.del(&victim.list, &victim.call);
        runtime.gc(&victim.list, &[]).unwrap();
        until("the interface is gone", || interfaces(&sandbox.net).is_empty());
    };
    victim.killed_at_each(("ADD", 1), (KERNEL, 1), prepare, tidy);
    victim.killed_at_each(("ADD", 1), (RECORDS, 3), prepare, tidy);
}

#[test]
fn del_killed_can_be_repeated() {
    let runtime = Runtime::ours();
    if !has_strace(&runtime.host) {
        return;
    }
    let (list, _other) = with_another(&runtime);
    let sandbox = runtime.sandbox("a");
    let call = Call::new(&sandbox).capabilities(ports(&[(8080, 80)]));
    let victim = Victim {
        runtime: &runtime,
        list,
        call,
    };
    let prepare = || Some(runtime.add(&victim.list, &victim.call));
    let tidy = || {
        runtime.del(&victim.list, &victim.call);
        runtime.gc(&victim.list, &[]).unwrap();
        until("the interface is gone", || interfaces(&sandbox.net).is_empty());
    };
    for plugin in [0, 1] {
        victim.killed_at_each(("DEL", plugin), (KERNEL, 1), prepare, tidy);
        victim.killed_at_each(("DEL", plugin), (RECORDS, 3), prepare, tidy);
    }
}

#[test]
fn another_container_is_added_beside_one_that_is_stuck() {
    let runtime = Runtime::ours();
    if !has_strace(&runtime.host) {
        return;
    }
    let (list, _other) = with_another(&runtime);
    // The network is there already; what is stuck holds no lock that another container needs.
    let [first, stuck, next] = ["first", "stuck", "next"].map(|name| runtime.sandbox(name));
    runtime.add(&list, &Call::new(&first));
    let victim = Victim {
        runtime: &runtime,
        list: list.clone(),
        call: Call::new(&stuck),
    };
    let stuck_add = victim.stopped("ADD", "setns");
    let call = Call::new(&next).capabilities(ports(&[(8080, 80)]));
    let result = runtime.add(&list, &call);
    let server = Server::start(&next.net, "next", 80);
    assert_eq!(
        reaches(&runtime.host.outside, Proto::Tcp, (ip(HOST_V4), 8080)).server,
        "next"
    );
    stuck_add.kill();
    // What the dead one had leased is nobody else's until it is taken away.
    let after = runtime.add(&list, &Call::new(&first).interface("net1"));
    assert!(
        addresses(&after)
            .iter()
            .all(|address| !addresses(&result).contains(address))
    );
    runtime.del(&list, &victim.call);
    drop(server);
    runtime.gc(&list, &[]).unwrap();
    until("the interface is gone", || interfaces(&stuck.net).is_empty());
}

#[test]
fn who_waits_in_vain_for_one_that_is_stuck_may_try_again() {
    let runtime = Runtime::ours();
    if !has_strace(&runtime.host) {
        return;
    }
    let (list, _other) = with_another(&runtime);
    let sandbox = runtime.sandbox("a");
    let victim = Victim {
        runtime: &runtime,
        list,
        call: Call::new(&sandbox),
    };
    runtime.add(&victim.list, &victim.call);
    // The kernel is told nothing before it is recorded.
    let stuck = victim.stopped("DEL", "sendto,sendmsg");
    let failure = runtime.try_add(&victim.list, &victim.call).unwrap_err();
    assert_eq!(failure.code, 11, "{failure:?}");
    stuck.kill();
    runtime.del(&victim.list, &victim.call);
    runtime.gc(&victim.list, &[]).unwrap();
    until("the interface is gone", || interfaces(&sandbox.net).is_empty());
}
