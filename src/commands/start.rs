//! `start`: lets the init process of a created container go on to its program.

use super::delete::end;
use super::run::tell_failure;
use super::{Global, ON_HOST, observe, wrong_state};
use crate::container::record::Record;
use crate::container::report::HookState;
use crate::container::status::{Container, Status};
use crate::error::{Error, Result, phrase};
use crate::hooks::{self, Kind, Place};
use crate::parent::notify::{self, Notify};
use std::os::fd::OwnedFd;

/// Starts `id`. Returns when the program is about to be executed and the poststart hooks have run; under a service
/// manager that waits for word of readiness, when that has come.
pub(super) fn start(global: &Global, id: &str) -> Result<u8> {
    let entry = global.find(id)?;
    let lock = entry.lock()?;
    let container = observe(&entry, entry.load()?)?;
    let status = container.status();
    match container {
        Container::Created(live) if live.record.no_process => {
            // As after a hook that fails: what can't be started has no reason to wait.
            let _ = end(&live.record, Some(&live.init));
            Err(Error::config("process", phrase::START_NOTHING))
        }
        Container::Created(live) => {
            let notify = relay(global, entry.notify()?);
            entry.release(&lock)?;
            // Before the hooks: they may call us.
            drop(lock);
            run_poststart(&live.record, &ON_HOST).inspect_err(|_| {
                // The container is killed (runtime.md, Lifecycle 9; since version 1.3 no longer just a warning). The
                // hook's failure is the news; the container may have ended by itself.
                let _ = end(&live.record, Some(&live.init));
            })?;
            if let (Some(mut notify), Some(pid)) = (notify, live.record.pid) {
                notify.wait(&live.init, pid, None)?;
                tell_failure(global, Some(notify));
            }
            Ok(0)
        }
        Container::Running(_) => Err(wrong_state(phrase::START_RUNNING)),
        Container::Stopped(_) => Err(wrong_state(phrase::START_STOPPED)),
        Container::Creating(..) | Container::Paused(..) => {
            Err(wrong_state(format!("cannot start a container in the {status} state")))
        }
    }
}

/// What tells the service manager that started us, if one did, that the container is ready. A relay that fails does not
/// fail the container.
pub(super) fn relay(global: &Global, directory: Option<OwnedFd>) -> Option<Notify> {
    let address = notify::address()?;
    let relay = Notify::new(&directory?, &address);
    relay.inspect_err(|error| global.log.warning(&error.to_string())).ok()
}

/// Runs the poststart hooks of a container that has just been started.
pub(super) fn run_poststart(record: &Record, place: &Place<'_>) -> Result<()> {
    if record.poststart.is_empty() {
        return Ok(());
    }
    let state = HookState::new(record, Status::Running, record.pid).to_json();
    hooks::run(Kind::Poststart, &record.poststart, &state, place)
}
