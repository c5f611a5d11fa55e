//! systemd's manager as far as we ask it: make a unit, stop it (org.freedesktop.systemd1(5)).

use super::address::{self, Address};
use super::dbus::{Answer, Connection, Wait};
use super::message::{Body, Method};
use super::properties::{Property, Value};
use crate::container::record::SystemdUnit;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::sys::{Errno, machine};
use std::path::{Path, PathBuf};
use zbus::{ObjectPath, Variant};

const SYSTEM_BUS: &str = "/run/dbus/system_bus_socket";

/// Where systemd itself listens, for root alone: good enough when no bus runs.
const PRIVATE: &str = "/run/systemd/private";

const MANAGER: &str = "org.freedesktop.systemd1.Manager";

/// Error names.
const UNIT_EXISTS: &str = "org.freedesktop.systemd1.UnitExists";
const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";

const fn of_bus(name: &'static str) -> Method {
    let bus = "org.freedesktop.DBus";
    Method { destination: bus, path: "/org/freedesktop/DBus", interface: bus, name }
}

const fn of_systemd(interface: &'static str, name: &'static str) -> Method {
    Method { destination: "org.freedesktop.systemd1", path: "/org/freedesktop/systemd1", interface, name }
}

/// The manager, asked about one unit.
#[derive(Debug)]
pub(super) struct Manager {
    connection: Connection,
    /// Whether a bus is in between that still has to be asked for signals.
    needs_match: bool,
    unit: SystemdUnit,
    /// Whether the unit may be there because of us.
    pub(super) asked_for_unit: bool,
}

impl Manager {
    /// Connects to the manager that `unit` belongs to.
    pub(super) fn connect(unit: &SystemdUnit, wait: &Wait<'_>) -> Result<Self> {
        let addresses = addresses(unit.user_bus)?;
        let mut result = Err(Error::sys("connect", Errno::ENOENT));
        for (address, is_bus) in &addresses {
            result = Self::connect_to(address, *is_bus, unit, wait);
            let nobody_there = |error: &Error| error.is(Errno::ENOENT) || error.is(Errno::ECONNREFUSED);
            if !result.as_ref().is_err_and(nobody_there) {
                break;
            }
        }
        result.context("no connection to systemd")
    }

    fn connect_to(address: &Address, is_bus: bool, unit: &SystemdUnit, wait: &Wait<'_>) -> Result<Self> {
        let mut connection = Connection::open(address, wait).with_context(|| format!("D-Bus at {address}"))?;
        if is_bus {
            // Nobody waits for the answers: what follows would fail as well, and tells.
            connection.send(&of_bus("Hello"), &(), wait)?;
        }
        Ok(Self { connection, needs_match: is_bus, unit: unit.clone(), asked_for_unit: false })
    }

    /// Asks the bus for the end of the unit's jobs, before there are any. systemd itself tells of all.
    fn follow_jobs(&mut self, wait: &Wait<'_>) -> Result<()> {
        if !std::mem::take(&mut self.needs_match) {
            return Ok(());
        }
        let rule = format!(
            "type='signal',sender='org.freedesktop.systemd1',interface='{MANAGER}',member='JobRemoved',arg2='{}'",
            self.unit.unit
        );
        self.connection.send(&of_bus("AddMatch"), &(rule,), wait).map(drop)
    }

    /// Makes the unit with one call and waits until it is there.
    ///
    /// # Errors
    /// `AlreadyExists` when another has its name.
    pub(super) fn start(&mut self, properties: &[Property], wait: &Wait<'_>) -> Result<()> {
        self.follow_jobs(wait)?;
        let known = self.known(properties, wait)?;
        match self.try_start(&known, wait)? {
            // One that failed earlier stays until somebody takes note of it.
            Answer::Refused { name, .. } if name == UNIT_EXISTS => self.reset(wait)?,
            answer => return self.started(answer, wait),
        }
        let answer = self.try_start(&known, wait)?;
        self.started(answer, wait)
    }

    /// Changes properties of the unit, until the machine goes down.
    pub(super) fn set(&mut self, properties: &[Property], wait: &Wait<'_>) -> Result<()> {
        let known = self.known(properties, wait)?;
        let arguments = (self.unit.unit.as_str(), true, known.as_slice());
        match self.connection.call(&of_systemd(MANAGER, "SetUnitProperties"), &arguments, wait)? {
            Answer::Refused { name, text } => Err(Self::refused("change", &name, &text)),
            Answer::Done(_) => Ok(()),
        }
    }

    /// Those of `properties` that this systemd has.
    fn known<'p>(&mut self, properties: &'p [Property], wait: &Wait<'_>) -> Result<Vec<(&'p str, Variant<'p>)>> {
        let version = if properties.iter().any(|property| property.since > 0) { self.version(wait)? } else { 0 };
        Ok(properties.iter().filter(|property| property.since <= version).map(pair).collect())
    }

    fn try_start(&mut self, properties: &[(&str, Variant<'_>)], wait: &Wait<'_>) -> Result<Answer> {
        // None: systemd wants the list all the same.
        let auxiliary: [(&str, Vec<(&str, Variant<'_>)>); 0] = [];
        self.asked_for_unit = true;
        let arguments = (self.unit.unit.as_str(), "replace", properties, auxiliary.as_slice());
        let answer = self.connection.call(&of_systemd(MANAGER, "StartTransientUnit"), &arguments, wait)?;
        self.asked_for_unit = matches!(answer, Answer::Done(_));
        Ok(answer)
    }

    fn started(&mut self, answer: Answer, wait: &Wait<'_>) -> Result<()> {
        let body = match answer {
            Answer::Done(body) => body,
            Answer::Refused { name, text } if name == UNIT_EXISTS => {
                let message = format!("systemd has a unit {} already: {text}", self.unit.unit);
                return Err(Error::new(ErrorKind::AlreadyExists, message)
                    .hint("choose another linux.cgroupsPath, or delete the container that has this one"));
            }
            Answer::Refused { name, text } => return Err(Self::refused("make", &name, &text)),
        };
        match self.job(&body, wait)?.as_str() {
            "done" => Ok(()),
            other => {
                let message = format!("error creating systemd unit '{}': got '{other}'", self.unit.unit);
                let advice = format!("see systemctl status {} and the journal", self.unit.unit);
                Err(Error::new(ErrorKind::System, message).hint(advice))
            }
        }
    }

    /// Stops the unit and makes systemd forget it. That there is none is success.
    pub(super) fn stop(&mut self, wait: &Wait<'_>) -> Result<()> {
        self.follow_jobs(wait)?;
        let arguments = (self.unit.unit.as_str(), "replace");
        match self.connection.call(&of_systemd(MANAGER, "StopUnit"), &arguments, wait)? {
            Answer::Refused { name, .. } if name == NO_SUCH_UNIT => return Ok(()),
            Answer::Refused { name, text } => return Err(Self::refused("stop", &name, &text)),
            // However it ended: what counts is whether processes are left, which the cgroup tells.
            Answer::Done(body) => self.job(&body, wait).map(drop)?,
        }
        self.reset(wait)
    }

    /// Takes note of an earlier failure of the unit, so that systemd forgets it. A unit that runs is left alone.
    pub(super) fn reset(&mut self, wait: &Wait<'_>) -> Result<()> {
        let arguments = (self.unit.unit.as_str(),);
        match self.connection.call(&of_systemd(MANAGER, "ResetFailedUnit"), &arguments, wait)? {
            Answer::Refused { name, text } if name != NO_SUCH_UNIT => Err(Self::refused("reset", &name, &text)),
            _ => Ok(()),
        }
    }

    /// Waits for the end of the job that `answer` names; its result.
    fn job(&mut self, answer: &Body, wait: &Wait<'_>) -> Result<String> {
        let (job,): (ObjectPath<'_>,) = answer.read()?;
        loop {
            let removed = self.connection.signal(MANAGER, "JobRemoved", wait)?;
            let (_, path, _, result): (u32, ObjectPath<'_>, String, String) = removed.read()?;
            if path == job {
                return Ok(result);
            }
        }
    }

    /// systemd's version, the first number of its text.
    fn version(&mut self, wait: &Wait<'_>) -> Result<u32> {
        let get = of_systemd("org.freedesktop.DBus.Properties", "Get");
        let body = match self.connection.call(&get, &(MANAGER, "Version"), wait)? {
            Answer::Done(body) => body,
            Answer::Refused { name, text } => {
                return Err(Error::new(ErrorKind::System, format!("systemd's version: {name}: {text}")));
            }
        };
        let (version,): (Variant<'_>,) = body.read()?;
        let text = String::try_from(&version).unwrap_or_default();
        let digits = text.trim_start_matches(|c: char| !c.is_ascii_digit());
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        digits[..end].parse().map_err(|_| Error::new(ErrorKind::System, format!("systemd's version is {text:?}")))
    }

    fn refused(what: &str, name: &str, text: &str) -> Error {
        let message = format!("systemd refuses to {what} it: {text} ({name})");
        let kind = if name.ends_with(".AccessDenied") { ErrorKind::Denied } else { ErrorKind::System };
        Error::new(kind, message)
    }
}

/// Where the manager may listen, in the order of trying, and whether a bus is in between.
fn addresses(user: bool) -> Result<Vec<(Address, bool)>> {
    let variable = if user { "DBUS_SESSION_BUS_ADDRESS" } else { "DBUS_SYSTEM_BUS_ADDRESS" };
    if let Some(list) = std::env::var_os(variable).filter(|list| !list.is_empty()) {
        let list = address::parse(&list.to_string_lossy(), variable)?;
        return Ok(list.into_iter().map(|address| (address, true)).collect());
    }
    let socket = |path: &Path, is_bus| (Address::Path(path.to_owned()), is_bus);
    let euid = machine::effective_uid();
    if user {
        let runtime_dir = std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty());
        // Callers of `delete` may pass on no environment at all.
        let runtime_dir = runtime_dir.map_or_else(|| PathBuf::from(format!("/run/user/{euid}")), PathBuf::from);
        return Ok(vec![socket(&runtime_dir.join("bus"), true)]);
    }
    let mut list = vec![socket(Path::new(SYSTEM_BUS), true)];
    if euid == 0 {
        list.push(socket(Path::new(PRIVATE), false));
    }
    Ok(list)
}

fn pair(property: &Property) -> (&str, Variant<'_>) {
    let value = match &property.value {
        Value::Bool(value) => Variant::from(*value),
        Value::I32(value) => Variant::from(*value),
        Value::U64(value) => Variant::from(*value),
        Value::Text(value) => Variant::from(value.as_str()),
        Value::Texts(list) => Variant::from(list),
        Value::Bytes(list) => Variant::from(list),
        Value::Pids(list) => Variant::from(list),
        Value::Pairs(list) => Variant::from(list),
    };
    (property.name, value)
}
