use std::collections::HashSet;

use super::*;
use crate::firewall::Element;
use crate::ports::Protocol;

fn published(port: u16, to: &str) -> Element {
    Element::PublishAny {
        protocol: Protocol::Tcp,
        port,
        to: to.parse().unwrap(),
    }
}

fn steps(repairs: [Option<Repair>; 2]) -> Vec<Op> {
    repairs.into_iter().flatten().flat_map(|repair| repair.steps).collect()
}

#[test]
fn elements_are_added_and_taken_away_by_whom_they_belong_to() {
    let (mine, other) = (published(80, "10.0.0.2:80"), published(81, "10.0.0.3:80"));
    let wrong = published(80, "10.0.0.9:80");
    let stray = Element::Bridge("br9".parse().unwrap());
    let changing = published(90, "10.0.0.7:90");
    let owned = Owned {
        required: vec![mine.clone()],
        allowed: HashSet::from([mine.clone(), other.clone()]),
        in_change: HashSet::from(["10.0.0.7".parse().unwrap()]),
    };
    let compare = |seen: &[Element], all: bool| steps(elements(&owned, seen, |_| all));
    let (add, delete) = (
        |e: &Element| Op::AddElements(vec![e.clone()]),
        |e: &Element| Op::DeleteElements(vec![e.clone()]),
    );
    assert_eq!(compare(&[mine.clone(), other.clone()], true), []);
    assert_eq!(compare(std::slice::from_ref(&other), true), [add(&mine)]);
    assert_eq!(
        compare(std::slice::from_ref(&wrong), false),
        [delete(&wrong), add(&mine)]
    );
    assert_eq!(compare(&[mine.clone(), stray.clone()], true), [delete(&stray)]);
    assert_eq!(compare(&[mine.clone(), stray], false), []);
    assert_eq!(compare(&[mine, changing], true), []);
}

#[test]
fn keys_tell_what_cannot_stand_side_by_side() {
    assert_eq!(published(80, "10.0.0.2:80").key(), published(80, "10.0.0.3:81").key());
    assert_ne!(published(80, "10.0.0.2:80").key(), published(81, "10.0.0.2:80").key());
    assert_ne!(published(80, "10.0.0.2:80").key(), published(80, "[fd00::2]:80").key());
    let outbound = |address: &str| Element::Outbound {
        subnet: "10.0.0.0/24".parse().unwrap(),
        address: address.parse().unwrap(),
    };
    assert_eq!(outbound("192.0.2.1").key(), outbound("192.0.2.2").key());
}
