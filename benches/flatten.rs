//! Turns a config.json into the C header that the floor is compiled with: `flatten CONFIG > floor.h`, for `make bench`.
//!
//! All that takes thought happens here: names become numbers, the seccomp profile a program by our own compiler, the
//! device rules one as well. What the floor could not do is refused, so that it never does less than the config asks for.
#![allow(clippy::print_stdout, reason = "the header is the result")]
#![allow(clippy::missing_docs_in_private_items, reason = "one file, which nothing else uses")]

use caps::{CapSet, Capability};
use oci_spec::runtime::{
    Capabilities, LinuxDeviceType, LinuxNamespaceType, LinuxResources, Mount, PosixRlimitType, Process, Spec,
};
use std::collections::BTreeSet;
use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;

type Done<T> = Result<T, Box<dyn Error>>;

/// A string of C. Rust's own escapes are those of C for what stands in these configs.
fn quoted(text: &str) -> String {
    format!("{text:?}")
}

fn array(header: &mut String, declaration: &str, items: &[String]) {
    let _ = writeln!(header, "static const {declaration}[] = {{ {} }};", items.join(", "));
}

fn constant(header: &mut String, name: &str, value: impl std::fmt::Display) {
    let _ = writeln!(header, "#define {name} {value}");
}

fn main() -> Done<()> {
    let path = std::env::args().nth(1).ok_or("usage: flatten CONFIG")?;
    let spec = Spec::load(path)?;
    if spec.hooks().is_some() || spec.mounts().is_none() {
        return Err("the floor knows no hooks, and no config without mounts".into());
    }
    let mut header = String::new();
    let namespaces = namespaces(&mut header, &spec)?;
    root(&mut header, &spec)?;
    let own_cgroup = namespaces.contains("CLONE_NEWCGROUP");
    let mounts = spec.mounts().iter().flatten().map(|it| mount(it, own_cgroup)).collect::<Done<Vec<_>>>()?;
    array(&mut header, "struct mount mounts", &mounts);
    process(&mut header, spec.process().as_ref().ok_or("no process")?)?;
    filter(&mut header, &spec)?;
    let resources = spec.linux().as_ref().and_then(|linux| linux.resources().as_ref()).ok_or("no resources")?;
    array(&mut header, "struct bpf_insn device_program", &device_program(resources)?);
    print!("{header}");
    Ok(())
}

fn namespaces(header: &mut String, spec: &Spec) -> Done<BTreeSet<&'static str>> {
    let listed = spec.linux().as_ref().and_then(|linux| linux.namespaces().as_ref()).ok_or("no namespaces")?;
    let mut flags = BTreeSet::new();
    for namespace in listed {
        if namespace.path().is_some() {
            return Err("the floor joins no namespaces".into());
        }
        flags.insert(match namespace.typ() {
            LinuxNamespaceType::Mount => "CLONE_NEWNS",
            LinuxNamespaceType::Cgroup => "CLONE_NEWCGROUP",
            LinuxNamespaceType::Uts => "CLONE_NEWUTS",
            LinuxNamespaceType::Ipc => "CLONE_NEWIPC",
            LinuxNamespaceType::Pid => "CLONE_NEWPID",
            LinuxNamespaceType::Network => "CLONE_NEWNET",
            other => return Err(format!("the floor knows no {other:?} namespace").into()),
        });
    }
    constant(header, "NAMESPACES", format!("({})", flags.iter().copied().collect::<Vec<_>>().join(" | ")));
    Ok(flags)
}

fn root(header: &mut String, spec: &Spec) -> Done<()> {
    let linux = spec.linux().as_ref().ok_or("no linux block")?;
    let root = spec.root().as_ref().ok_or("no root")?;
    let cgroup = linux.cgroups_path().as_ref().and_then(|path| path.parent()).ok_or("no cgroupsPath")?;
    constant(header, "ROOTFS", quoted(&root.path().to_string_lossy()));
    constant(header, "ROOT_READONLY", u8::from(root.readonly().unwrap_or(false)));
    constant(header, "CGROUPS", quoted(&format!("/sys/fs/cgroup{}", cgroup.display())));
    constant(header, "HOSTNAME", quoted(spec.hostname().as_deref().ok_or("no hostname")?));
    for (name, paths) in [("masked_paths", linux.masked_paths()), ("readonly_paths", linux.readonly_paths())] {
        let paths: Vec<String> = paths.iter().flatten().map(|path| quoted(path)).collect();
        array(header, &format!("char *const {name}"), &paths);
    }
    let mut settings: Vec<String> = linux
        .sysctl()
        .iter()
        .flatten()
        .map(|(name, value)| format!("{{ {}, {} }}", quoted(&format!("sys/{}", name.replace('.', "/"))), quoted(value)))
        .collect();
    settings.push("{ NULL, NULL }".into());
    array(header, "struct setting settings", &settings);
    Ok(())
}

fn mount(mount: &Mount, own_cgroup: bool) -> Done<String> {
    let place = mount.destination().strip_prefix("/")?;
    let typ = mount.typ().as_deref().unwrap_or("bind");
    let shares_cgroups = typ == "cgroup" && !own_cgroup;
    let bind = typ == "bind" || shares_cgroups;
    let mut attributes = vec!["0"];
    let mut options = String::new();
    for option in mount.options().iter().flatten() {
        match option.as_str() {
            "ro" => attributes.push("MOUNT_ATTR_RDONLY"),
            "nosuid" => attributes.push("MOUNT_ATTR_NOSUID"),
            "nodev" => attributes.push("MOUNT_ATTR_NODEV"),
            "noexec" => attributes.push("MOUNT_ATTR_NOEXEC"),
            "strictatime" => attributes.push("MOUNT_ATTR_STRICTATIME"),
            // The kernel's default; bind mounts are private and recursive.
            "relatime" => {}
            "rbind" | "rprivate" if bind => {}
            other if bind => return Err(format!("the floor knows no option {other} of a bind mount").into()),
            other => {
                let (key, value) = other.split_once('=').map_or((other, None), |(key, value)| (key, Some(value)));
                let value = value.map_or("NULL".into(), quoted);
                let _ = write!(options, "{{ {}, {value} }}, ", quoted(key));
            }
        }
    }
    let in_dev = match place.strip_prefix("dev") {
        Ok(below) if below != Path::new("") => quoted(&below.to_string_lossy()),
        _ => "NULL".into(),
    };
    let source = match (shares_cgroups, mount.source()) {
        (true, _) => Path::new("/sys/fs/cgroup"),
        (false, source) => source.as_deref().ok_or("a mount without source")?,
    };
    let kind = match typ {
        _ if bind => "NULL".into(),
        "cgroup" => quoted("cgroup2"),
        other => quoted(other),
    };
    if !bind {
        let _ = write!(options, "{{ \"source\", {} }}, ", quoted(&source.to_string_lossy()));
    }
    Ok(format!(
        "{{ {}, {kind}, {}, {}, (const struct option[]){{ {options}{{ NULL, NULL }} }}, {in_dev} }}",
        quoted(&place.to_string_lossy()),
        quoted(&source.to_string_lossy()),
        attributes.join(" | "),
    ))
}

fn mask(names: Option<&Capabilities>) -> Done<u64> {
    // The display form of oci-spec lacks the prefix.
    let numbers = names.into_iter().flatten().map(|name| Ok(format!("CAP_{name}").parse::<Capability>()?.index()));
    numbers.map(|number: Done<u8>| Ok(1 << number?)).try_fold(0, |all, one: Done<u64>| Ok(all | one?))
}

fn process(header: &mut String, process: &Process) -> Done<()> {
    let words = |words: &Option<Vec<String>>| -> Vec<String> {
        words.iter().flatten().map(|it| quoted(it)).chain(["NULL".into()]).collect()
    };
    array(header, "char *const arguments", &words(process.args()));
    array(header, "char *const environment", &words(process.env()));
    let user = process.user();
    let groups: Vec<String> = user.additional_gids().iter().flatten().map(u32::to_string).collect();
    constant(header, "GROUPS", groups.len());
    array(header, "unsigned groups", &if groups.is_empty() { vec!["0".into()] } else { groups });
    constant(header, "UID", user.uid());
    constant(header, "GID", user.gid());
    constant(header, "UMASK", user.umask().unwrap_or(0o22));
    constant(header, "CWD", quoted(&process.cwd().to_string_lossy()));
    let score = process.oom_score_adj().map_or_else(String::new, |score| score.to_string());
    constant(header, "OOM_SCORE", quoted(&score));
    constant(header, "NO_NEW_PRIVS", u8::from(process.no_new_privileges() == Some(true)));
    let limits = process.rlimits().iter().flatten().map(|limit| {
        let name = match limit.typ() {
            PosixRlimitType::RlimitNofile => "RLIMIT_NOFILE",
            PosixRlimitType::RlimitCore => "RLIMIT_CORE",
            other => return Err(format!("the floor knows no {other}").into()),
        };
        Ok(format!("{{ {name}, {{ {}, {} }} }}", limit.soft(), limit.hard()))
    });
    array(header, "struct limit limits", &limits.collect::<Done<Vec<_>>>()?);
    let sets = process.capabilities().as_ref().ok_or("no capabilities")?;
    let present = caps::read(None, CapSet::Bounding)?.iter().fold(0_u64, |all, one| all | 1 << one.index());
    let [bounding, effective, permitted, inheritable, ambient] =
        [sets.bounding(), sets.effective(), sets.permitted(), sets.inheritable(), sets.ambient()]
            .map(|set| mask(set.as_ref()));
    let inheritable = inheritable?;
    for (name, value) in [
        ("DROPPED", present & !bounding?),
        ("EFFECTIVE", effective? & present),
        ("PERMITTED", permitted? & present),
        ("INHERITABLE", inheritable & present),
        // The kernel refuses others.
        ("AMBIENT", ambient? & inheritable & present),
    ] {
        constant(header, name, format!("{value:#x}ULL"));
    }
    Ok(())
}

fn filter(header: &mut String, spec: &Spec) -> Done<()> {
    let profile = spec.linux().as_ref().and_then(|linux| linux.seccomp().as_ref());
    let Some(profile) = profile else {
        constant(header, "FILTER", 0);
        array(header, "struct sock_filter filter", &["{ 0 }".into()]);
        return Ok(());
    };
    if spec.process().as_ref().and_then(Process::no_new_privileges) != Some(true) {
        return Err("the floor loads its filter last, which needs noNewPrivileges".into());
    }
    let filter = onggi::seccomp::plan(profile, &mut Vec::new()).map_err(|error| error.to_string())?;
    let program = filter.program();
    constant(header, "FILTER", program.len());
    let instructions: Vec<String> =
        program.iter().map(|it| format!("{{ {}, {}, {}, {} }}", it.code, it.jt, it.jf, it.k)).collect();
    array(header, "struct sock_filter filter", &instructions);
    Ok(())
}

/// Every container's own: see `DEFAULTS` in src/cgroup/devices.rs. Major 136 is the pseudo terminals'.
const DEVICES: [(i64, i64); 9] = [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2), (10, 200)];
const PSEUDO_TERMINALS: i64 = 136;

/// One comparison a device and one exit, all nodes may be made: the program of src/cgroup/program.rs, for rules that
/// begin with "nothing" and allow or deny all access to single character devices.
fn device_program(resources: &LinuxResources) -> Done<Vec<String>> {
    let rules = resources.devices().as_deref().unwrap_or_default();
    if *resources != oci_spec::runtime::LinuxResourcesBuilder::default().devices(rules.to_vec()).build()? {
        return Err("the floor knows no resources but devices".into());
    }
    let (first, rules) = rules.split_first().ok_or("no device rules")?;
    if first.allow() || first.major().is_some() || !matches!(first.typ(), None | Some(LinuxDeviceType::A)) {
        return Err("the first device rule must deny everything".into());
    }
    let mut allowed = BTreeSet::new();
    for rule in rules {
        match (rule.typ(), rule.major(), rule.minor(), rule.access().as_deref()) {
            (Some(LinuxDeviceType::C), Some(major), Some(minor), Some("rwm")) => {
                if rule.allow() {
                    allowed.insert((major, minor))
                } else {
                    allowed.remove(&(major, minor))
                };
            }
            _ => return Err("the floor knows only device rules for all access to one character device".into()),
        }
    }
    allowed.extend(DEVICES);
    let keys: Vec<(i64, i64)> = allowed.into_iter().collect();
    // Instructions between the jump of number `at` and the exit.
    let comparisons = 3 * keys.len();
    let insn = |code: u8, target: u8, source: u8, offset: usize, immediate: i64| {
        format!("{{ {code:#x}, {target}, {source}, {offset}, {immediate} }}")
    };
    let mut program = vec![
        insn(0x61, 2, 1, 0, 0),      // r2 = access << 16 | kind
        insn(0xbf, 3, 2, 0, 0),      // r3 = r2
        insn(0x77, 3, 0, 0, 16),     // r3 >>= 16: the access
        insn(0x57, 2, 0, 0, 0xffff), // r2 &= 0xffff: the kind
        insn(0x61, 4, 1, 4, 0),      // r4 = major
        insn(0x61, 5, 1, 8, 0),      // r5 = minor
        insn(0xbf, 6, 4, 0, 0),      // r6 = major << 32 | minor
        insn(0x67, 6, 0, 0, 32),
        insn(0x4f, 6, 5, 0, 0),
        insn(0xb7, 0, 0, 0, 1),                              // r0 = allow
        insn(0x45, 3, 0, 1, 0b110),                          // more than mknod? on
        insn(0x05, 0, 0, comparisons + 3, 0),                // no: exit
        insn(0x55, 2, 0, comparisons + 1, 2),                // no character device? deny
        insn(0x16, 4, 0, comparisons + 1, PSEUDO_TERMINALS), // exit
    ];
    for (at, (major, minor)) in keys.iter().enumerate() {
        program.push(insn(0x18, 7, 0, 0, *minor)); // r7 = major << 32 | minor
        program.push(insn(0, 0, 0, 0, *major));
        program.push(insn(0x1d, 6, 7, comparisons - 3 * at - 2, 0)); // exit
    }
    program.push(insn(0xb7, 0, 0, 0, 0)); // r0 = deny
    program.push(insn(0x95, 0, 0, 0, 0));
    Ok(program)
}
