//! Who the process is: user, groups and umask. Spec: config.md, POSIX-platform User.

use super::Input;
use crate::error::{Context, Error, Result};
use crate::sys::clone::InChild;
use crate::sys::{Errno, this_process};
use oci_spec::runtime::User;

/// The id that setresuid(2) takes for "leave it as it is", so that accepting it would leave root.
const UNCHANGED: u32 = u32::MAX;

/// crun's annotation for keeping the caller's supplementary groups (`podman run --group-add keep-groups`).
const KEEP_GROUPS: &str = "run.oci.keep_original_groups";

/// The mask where config.json names none.
const DEFAULT_UMASK: u32 = 0o022;

/// User, groups and umask of the process, as seen in its user namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups; `None` keeps the caller's, which only an annotation asks for.
    pub groups: Option<Vec<u32>>,
    /// Permission bits that new files lack.
    pub umask: u32,
    /// Whether the effective ids become others than they are before. The kernel then makes a process dumpable again and
    /// forgets its death signal.
    pub changes: bool,
}

/// The ids that a user namespace has: each range as its first id inside and its length.
pub type Ranges<'a> = Option<&'a [(u32, u32)]>;

/// Plans `process.user`.
///
/// # Errors
/// The id 4294967295, an id that the user namespace does not map, a umask beyond 0777.
pub fn plan(user: &User, input: &Input<'_>) -> Result<Identity> {
    check_id(user.uid(), input.uid_ranges, "process.user.uid", "cannot setuid to unmapped uid")?;
    check_id(user.gid(), input.gid_ranges, "process.user.gid", "cannot setgid to unmapped gid")?;
    let groups = user.additional_gids().as_deref().unwrap_or_default();
    for (index, gid) in groups.iter().enumerate() {
        let field = format!("process.user.additionalGids[{index}]");
        check_id(*gid, input.gid_ranges, &field, "cannot set additional group to unmapped gid")?;
    }
    let umask = user.umask().unwrap_or(DEFAULT_UMASK);
    if umask > 0o777 {
        return Err(Error::config("process.user.umask", format!("{umask} (octal {umask:o}) is beyond 0777")));
    }
    let keep = input.annotations.and_then(|all| all.get(KEEP_GROUPS)).is_some_and(|value| value == "1");
    let (uid, gid) = (user.uid(), user.gid());
    // Whoever makes or joins a user namespace becomes root there.
    let before = if input.user_namespace { (0, 0) } else { (input.host.euid, input.host.egid) };
    let changes = (uid, gid) != before;
    Ok(Identity { uid, gid, groups: (!keep).then(|| groups.to_vec()), umask, changes })
}

fn check_id(id: u32, ranges: Ranges<'_>, field: &str, refusal: &str) -> Result<()> {
    if id == UNCHANGED {
        return Err(Error::config(field, format!("{id} is no id: the kernel takes it for \"unchanged\"")));
    }
    let Some(ranges) = ranges else { return Ok(()) };
    let mapped = ranges.iter().any(|(first, size)| id.checked_sub(*first).is_some_and(|offset| offset < *size));
    if mapped { Ok(()) } else { Err(Error::config(field, format!("{refusal} {id} in user namespace"))) }
}

impl Identity {
    /// Sets groups, group and user, in this order: each needs the privilege that the next one takes. Keep the
    /// capabilities first, or they are gone with uid 0.
    ///
    /// # Errors
    /// EPERM where the user namespace denies setgroups and groups are asked for.
    pub fn apply(&self, me: &InChild) -> Result<()> {
        if let Some(groups) = &self.groups {
            match this_process::setgroups(me, groups) {
                // `/proc/self/setgroups` says deny: nobody may drop groups there, and an empty list asks for nothing.
                Err(error) if error.is(Errno::EPERM) && groups.is_empty() => {}
                Err(error) if error.is(Errno::EPERM) => {
                    return Err(error
                        .context("set additional groups (process.user.additionalGids)")
                        .hint("a user namespace made without privilege denies them: leave them out"));
                }
                result => result.context("set additional groups (process.user.additionalGids)")?,
            }
        }
        this_process::setresgid(me, self.gid).context("set group id (process.user.gid)")?;
        this_process::setresuid(me, self.uid).context("set user id (process.user.uid)")
    }

    /// Sets the umask. Not before the root filesystem is made, whose modes are meant as given.
    pub fn apply_umask(&self, me: &InChild) {
        this_process::umask(me, self.umask);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::process::tests::{host, input};
    use std::collections::HashMap;

    fn planned(user: &str, ranges: Ranges<'_>) -> Result<Identity> {
        let host = host();
        let input = Input { uid_ranges: ranges, gid_ranges: ranges, ..input(&host) };
        plan(&serde_json::from_str(user).unwrap(), &input)
    }

    fn check(user: &str, ranges: Ranges<'_>, expected: &str) {
        let text = match planned(user, ranges) {
            Ok(identity) => format!("{identity:?}"),
            Err(error) => error.to_string(),
        };
        assert!(text.contains(expected), "{user}: {text}");
    }

    #[test]
    fn ids() {
        let mapped: Ranges<'_> = Some(&[(0, 10), (1000, 1)]);
        check(r#"{"uid":1,"gid":2}"#, None, "Identity { uid: 1, gid: 2, groups: Some([]), umask: 18, changes: true }");
        check(r#"{"uid":0,"gid":0,"umask":63,"additionalGids":[5,6]}"#, None, "groups: Some([5, 6]), umask: 63");
        check(r#"{"uid":0,"gid":0,"umask":512}"#, None, "process.user.umask: 512 (octal 1000) is beyond 0777");
        check(r#"{"uid":4294967295,"gid":0}"#, None, "process.user.uid: 4294967295 is no id");
        check(r#"{"uid":0,"gid":4294967295}"#, None, "process.user.gid: 4294967295 is no id");
        check(r#"{"uid":0,"gid":0,"additionalGids":[1,4294967295]}"#, None, "process.user.additionalGids[1]");
        check(r#"{"uid":1000,"gid":9}"#, mapped, "uid: 1000, gid: 9");
        check(
            r#"{"uid":1001,"gid":9}"#,
            mapped,
            "process.user.uid: cannot setuid to unmapped uid 1001 in user namespace",
        );
        check(r#"{"uid":10,"gid":9}"#, mapped, "unmapped uid 10");
        check(r#"{"uid":9,"gid":10}"#, mapped, "process.user.gid: cannot setgid to unmapped gid 10 in user namespace");
        check(r#"{"uid":0,"gid":0,"additionalGids":[77]}"#, mapped, "unmapped gid 77");
    }

    #[test]
    fn ids_change_from_the_callers_or_from_root() {
        let changes = |uid, gid, host: &crate::host::Host, user_namespace| {
            let user: User = serde_json::from_str(&format!(r#"{{"uid":{uid},"gid":{gid}}}"#)).unwrap();
            plan(&user, &Input { user_namespace, ..input(host) }).unwrap().changes
        };
        let other = crate::host::Host { euid: 7, egid: 8, ..host() };
        assert!(!changes(0, 0, &host(), false));
        assert!(changes(0, 1, &host(), false));
        assert!(changes(1, 0, &host(), false));
        assert!(changes(0, 0, &other, false));
        assert!(!changes(7, 8, &other, false));
        assert!(!changes(0, 0, &other, true));
        assert!(changes(7, 8, &other, true));
    }

    #[test]
    fn groups_are_kept_only_by_annotation() {
        let host = host();
        for (value, kept) in [("1", true), ("0", false)] {
            let annotations = HashMap::from([(KEEP_GROUPS.to_owned(), value.to_owned())]);
            let input = Input { annotations: Some(&annotations), ..input(&host) };
            let user = serde_json::from_str(r#"{"uid":0,"gid":0,"additionalGids":[5]}"#).unwrap();
            assert_eq!(plan(&user, &input).unwrap().groups.is_none(), kept);
        }
    }
}
