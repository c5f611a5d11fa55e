//! The systemd driver: a container's cgroup is that of a scope, which systemd's manager makes over D-Bus.
//!
//! `name`, `properties` and `annotations` plan the unit without touching anything; `address`, `message` and `dbus` are
//! the connection, and `manager` is what we say over it. See `docs/decisions/0012-dbus.md`.

mod address;
mod annotations;
mod dbus;
mod manager;
mod message;
mod name;
mod properties;

use super::devices::List;
use super::directory::{Directory, is_gone, oom_kills};
use super::existing::Existing;
use super::path::CgroupPath;
use super::resources::Write;
use super::{Input, PATIENCE, Plan, delegation, devices, fs, limits};
use crate::container::record::SystemdUnit;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::host;
use dbus::Wait;
use manager::Manager;
pub(super) use properties::round_quotas;
use properties::{Property, Value};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// How long systemd may take to do something, which is long on a host under load (the figure is runc's).
const JOB: Duration = Duration::from_secs(30);

/// How long it may take to let us in, or to take back what failed.
const ANSWER: Duration = Duration::from_secs(10);

/// The unit to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Its name, and whose manager makes it.
    pub id: SystemdUnit,
    /// All but the processes that it begins with.
    properties: Vec<Property>,
}

/// Plans the unit. CPU quotas in `writes` become what systemd can keep.
///
/// # Errors
/// `InvalidConfig` with the field at fault.
pub(super) fn plan(input: &Input<'_>, user_bus: bool, writes: &mut [Write], devices: &List) -> Result<Unit> {
    let name = name::parse(input.cgroups_path, input.id, user_bus)?;
    round_quotas(writes);
    let asked_for = annotations::plan(input.annotations)?;
    let on = |name| Property::new(name, Value::Bool(true));
    let mut properties = vec![
        Property::new("Description", Value::Text(format!("container {}", input.id))),
        Property::new("Slice", Value::Text(name.slice)),
        on("Delegate"),
        on("MemoryAccounting"),
        on("CPUAccounting"),
        on("IOAccounting"),
        on("TasksAccounting"),
        // Otherwise the container would be stopped early at shutdown, before the engine that looks after it.
        Property::new("DefaultDependencies", Value::Bool(false)),
    ];
    properties.retain(|default| asked_for.iter().all(|property| property.name != default.name));
    properties.extend(asked_for);
    properties.extend(properties::of_writes(writes));
    // Who can't load device programs has a systemd that can't either.
    if !input.rootless {
        properties.extend(properties::of_devices(devices));
    }
    Ok(Unit { id: SystemdUnit { unit: name.unit, user_bus }, properties })
}

/// A container's scope: to be made with its first process, since systemd makes none without. Dropping it undoes that;
/// [`Scope::keep`] ends the undoing.
#[derive(Debug)]
pub(super) struct Scope {
    unit: Unit,
    plan: Plan,
    /// From when the unit may be there.
    manager: Option<Manager>,
    /// From when we know where it is.
    cgroup: Option<(CgroupPath, Directory)>,
    /// The cgroup above, that of the slice, and how many processes had been killed there for lack of memory.
    slice: Option<(Directory, u64)>,
}

impl Scope {
    /// The scope that `plan` describes. Nothing is made yet.
    pub(super) fn new(unit: &Unit, plan: &Plan) -> Self {
        Self { unit: unit.clone(), plan: plan.clone(), manager: None, cgroup: None, slice: None }
    }

    /// Makes the scope around the process `pid`, with its limits and device rules. A signal that makes `interrupt`
    /// readable ends it early.
    ///
    /// # Errors
    /// When systemd can't be reached, refuses, fails or says nothing for half a minute.
    pub(super) fn add(&mut self, pid: i32, interrupt: BorrowedFd<'_>) -> Result<()> {
        let manager = Manager::connect(&self.unit.id, &Wait::start(ANSWER, Some(interrupt))).map_err(|error| {
            error.hint(format!("use the cgroupfs driver, without --systemd-cgroup, or {}", advice(&self.unit.id)))
        })?;
        let manager = self.manager.insert(manager);
        let mut properties = self.unit.properties.clone();
        let pids = vec![u32::try_from(pid).unwrap_or_default()];
        properties.push(Property::new("PIDs", Value::Pids(pids)));
        manager
            .start(&properties, &Wait::start(JOB, Some(interrupt)))
            .with_context(|| format!("systemd unit {}", self.unit.id.unit))?;
        let (path, directory) = self.cgroup.insert(found(pid, &self.unit.id.unit)?);
        if let Some(slice) = path.parent() {
            let slice = Directory::open(&slice)?;
            let before = slice.oom_kills();
            self.slice = Some((slice, before));
        }
        hand_down_others(path, directory)?;
        self.plan.writes.iter().try_for_each(|write| limits::set(directory, write))?;
        devices::guard(directory.as_fd(), self.plan.devices.as_ref())?;
        self.plan.owner.map_or(Ok(()), |owner| delegation::give(directory, owner))
    }

    /// Where the cgroup lies, once it is made.
    pub(super) fn path(&self) -> Option<&CgroupPath> {
        self.cgroup.as_ref().map(|(path, _)| path)
    }

    /// How many processes the kernel has killed here for lack of memory.
    pub(super) fn oom_kills(&self) -> u64 {
        let Some((_, directory)) = &self.cgroup else { return 0 };
        match directory.read("memory.events") {
            // systemd removes the cgroup with its last process. The slice has counted the kill as well.
            Err(error) if is_gone(&error) => {
                self.slice.as_ref().map_or(0, |(slice, before)| slice.oom_kills().saturating_sub(*before))
            }
            events => oom_kills(&events.unwrap_or_default()),
        }
    }

    /// Ends the undoing.
    pub(super) fn keep(mut self) {
        self.manager = None;
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        let Some(mut manager) = self.manager.take().filter(|manager| manager.asked_for_unit) else { return };
        let ending: Ending =
            match self.cgroup.as_ref().map(|(_, directory)| (directory.read("cgroup.events"), directory)) {
                // With its last process the unit has ended, or `delete --force` was here, and what has the same name now
                // is another container's.
                Some((Err(error), _)) if is_gone(&error) => Manager::reset,
                Some((_, directory)) => {
                    // systemd would ask politely first, and wait for long.
                    let _ = directory.kill();
                    Manager::stop
                }
                None => Manager::stop,
            };
        // There is nobody to tell of a failure: the error that led here is the one to report.
        if ending(&mut manager, &Wait::start(ANSWER, None)).is_err() {
            drop(manager);
            let _ = end(&self.unit.id, ending, ANSWER);
        }
        if let Some((path, _)) = &self.cgroup
            && let Ok(Some(cgroup)) = Existing::open(path)
        {
            let _ = cgroup.remove(PATIENCE);
        }
    }
}

/// How to make the systemd of `unit` reachable.
fn advice(unit: &SystemdUnit) -> &'static str {
    if unit.user_bus {
        "have a user manager: loginctl enable-linger, and set XDG_RUNTIME_DIR or DBUS_SESSION_BUS_ADDRESS"
    } else {
        "start systemd and dbus"
    }
}

/// Stops the unit of a container made earlier, whose processes have been killed, and makes systemd forget it. One that
/// `has_ended`, with its last process, only needs the latter, and another's of the same name is safe from us then.
///
/// # Errors
/// When systemd can't be reached, refuses or says nothing for half a minute. That there is no such unit is success.
pub fn stop(unit: &SystemdUnit, has_ended: bool) -> Result<()> {
    let ending: Ending = if has_ended { Manager::reset } else { Manager::stop };
    end(unit, ending, JOB)
        .with_context(|| format!("stop systemd unit {}", unit.unit))
        .map_err(|error| error.hint(format!("{}, then delete the container again", advice(unit))))
}

/// Tells systemd of new limits of a unit made earlier, so that it does not put the old ones back. It writes them to the
/// cgroup itself, together with what it thinks of others: what it does not know has to be written after it.
///
/// # Errors
/// When systemd can't be reached, refuses or says nothing for half a minute.
pub fn set_properties(unit: &SystemdUnit, writes: &[Write]) -> Result<()> {
    let mut properties = properties::of_writes(writes);
    properties.retain(|property| property.name != properties::OOM_POLICY);
    if properties.is_empty() {
        return Ok(());
    }
    Manager::connect(unit, &Wait::start(ANSWER, None))
        .and_then(|mut manager| manager.set(&properties, &Wait::start(JOB, None)))
        .with_context(|| format!("tell systemd unit {} of its limits", unit.unit))
}

/// [`Manager::stop`] or [`Manager::reset`].
type Ending = fn(&mut Manager, &Wait<'_>) -> Result<()>;

fn end(unit: &SystemdUnit, ending: Ending, limit: Duration) -> Result<()> {
    ending(&mut Manager::connect(unit, &Wait::start(ANSWER, None))?, &Wait::start(limit, None))
}

/// The cgroup that the process is in: what the kernel says counts, whatever we think of systemd's layout.
fn found(pid: i32, unit: &str) -> Result<(CgroupPath, Directory)> {
    let path = CgroupPath::try_from(host::cgroup_of(pid)?).context("systemd has left the process where it was")?;
    if path.name() != unit {
        let message = format!("systemd says that {unit} is there, but the container's process is in {path}");
        return Err(Error::new(ErrorKind::System, message).hint("is this systemd in another PID namespace?"));
    }
    let directory = Directory::open(&path)?;
    Ok((path, directory))
}

/// systemd hands down the controllers that it knows. The others (hugetlb, rdma, misc) we do, for the limits of now and of
/// a later `update`, and for statistics. Where we may not, a limit that needs one says so.
fn hand_down_others(path: &CgroupPath, directory: &Directory) -> Result<()> {
    const FILE: &str = "cgroup.controllers";
    let here = directory.controllers(FILE)?;
    let mut above = Directory::root()?;
    let mut available = above.controllers(FILE)?;
    if available.iter().all(|name| here.contains(name)) {
        return Ok(());
    }
    for name in path.components() {
        available = fs::enable(&above, available)?;
        above = above.child(name)?;
    }
    Ok(())
}
