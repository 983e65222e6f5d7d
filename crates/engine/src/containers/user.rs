//! Who the processes of a container run as, by the container's own `/etc/passwd` and `/etc/group`.

use std::io;
use std::path::Path;

use crate::rootfs::RootDir;

/// A user as the kernel and the environment need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// The primary group, and the groups that name the user as member when no group was asked for. The primary one is
    /// among them so that a file's rights for it cannot be evaded by giving it up (CVE-2022-36109).
    pub supplementary: Vec<u32>,
    /// The home directory, `/` when unknown.
    pub home: String,
}

/// Why a user could not be found.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// No such name in the container's `/etc/passwd`.
    #[error("unable to find user {0}: no matching entries in the container's /etc/passwd")]
    UnknownUser(String),
    /// No such name in the container's `/etc/group`.
    #[error("unable to find group {0}: no matching entries in the container's /etc/group")]
    UnknownGroup(String),
    /// The container's files could not be read.
    #[error("cannot read {path} of the container: {source}")]
    Read {
        /// Which file.
        path: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

impl User {
    /// Finds `name|uid[:group|gid]` in the container's own files; an empty text is root.
    ///
    /// # Errors
    /// When a name is unknown. A number need not be known.
    pub fn find(text: &str, root: &RootDir) -> Result<Self, UserError> {
        let read = |path| match root.read(Path::new(path)) {
            Ok(content) => Ok(content.unwrap_or_default()),
            Err(source) => Err(UserError::Read { path, source }),
        };
        resolve(text, &read("/etc/passwd")?, &read("/etc/group")?)
    }
}

fn resolve(text: &str, passwd: &str, group: &str) -> Result<User, UserError> {
    let (user, wanted_group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (text, None),
    };
    let user = if user.is_empty() { "0" } else { user };
    let number = user.parse::<u32>().ok();
    // Names first, as a name may consist of digits.
    let account = accounts(passwd)
        .find(|account| account.name == user)
        .or_else(|| accounts(passwd).find(|account| Some(account.uid) == number));
    let (uid, gid, name, home) = match (&account, number) {
        (Some(account), _) => (account.uid, account.gid, account.name, account.home),
        (None, Some(uid)) => (uid, 0, "", "/"),
        (None, None) => return Err(UserError::UnknownUser(user.to_owned())),
    };
    let home = if home.is_empty() { "/" } else { home }.to_owned();
    let Some(wanted) = wanted_group else {
        let member = |entry: &Group| !name.is_empty() && entry.members.split(',').any(|one| one == name);
        let memberships = groups(group).filter(member).map(|entry| entry.gid);
        let mut supplementary = vec![gid];
        supplementary.extend(memberships.filter(|more| *more != gid));
        return Ok(User {
            uid,
            gid,
            supplementary,
            home,
        });
    };
    let gid = groups(group)
        .find(|entry| entry.name == wanted)
        .map(|entry| entry.gid)
        .or_else(|| wanted.parse().ok())
        .ok_or_else(|| UserError::UnknownGroup(wanted.to_owned()))?;
    Ok(User {
        uid,
        gid,
        supplementary: vec![gid],
        home,
    })
}

/// A line of passwd(5).
struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

/// A line of group(5).
struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

fn accounts(passwd: &str) -> impl Iterator<Item = Account<'_>> {
    passwd
        .lines()
        .filter_map(|line| match line.split(':').collect::<Vec<_>>()[..] {
            [name, _, uid, gid, _, home, ..] => Some(Account {
                name,
                uid: uid.parse().ok()?,
                gid: gid.parse().ok()?,
                home,
            }),
            _ => None,
        })
}

fn groups(group: &str) -> impl Iterator<Item = Group<'_>> {
    group
        .lines()
        .filter_map(|line| match line.split(':').collect::<Vec<_>>()[..] {
            [name, _, gid, members, ..] => Some(Group {
                name,
                gid: gid.parse().ok()?,
                members: members.trim(),
            }),
            _ => None,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nbroken\nweb:x:1000:1001:,,,:/home/web:/bin/sh\n12:x:7:8:::\n";
    const GROUP: &str = "root:x:0:\nweb:x:1001:\naudio:x:29:mail,web\nvideo:x:44:web\n";

    #[track_caller]
    fn check(text: &str, uid: u32, gid: u32, supplementary: &[u32], home: &str) {
        let user = User {
            uid,
            gid,
            supplementary: supplementary.to_vec(),
            home: home.to_owned(),
        };
        assert_eq!(resolve(text, PASSWD, GROUP).unwrap(), user);
    }

    #[test]
    fn users_and_groups_by_name_and_number() {
        check("", 0, 0, &[0], "/root");
        check("web", 1000, 1001, &[1001, 29, 44], "/home/web");
        check("1000", 1000, 1001, &[1001, 29, 44], "/home/web");
        check("web:audio", 1000, 29, &[29], "/home/web");
        check("4321", 4321, 0, &[0], "/");
        check("4321:99", 4321, 99, &[99], "/");
        check(":29", 0, 29, &[29], "/root");
        check("web:", 1000, 1001, &[1001, 29, 44], "/home/web");
        check("12", 7, 8, &[8], "/");
    }

    #[test]
    fn unknown_names_are_named() {
        let error = |text| resolve(text, PASSWD, GROUP).unwrap_err().to_string();
        assert_eq!(
            error("nobody"),
            "unable to find user nobody: no matching entries in the container's /etc/passwd"
        );
        assert_eq!(
            error("web:-1"),
            "unable to find group -1: no matching entries in the container's /etc/group"
        );
    }

    #[test]
    fn a_container_without_files_knows_numbers_only() {
        let empty = tempfile::tempdir().unwrap();
        let root = RootDir::open(empty.path()).unwrap();
        assert_eq!(User::find("5:6", &root).unwrap().gid, 6);
        assert!(matches!(User::find("root", &root), Err(UserError::UnknownUser(_))));
    }
}
