//! `linux.resources.blockIO`.

use super::{IfMissing, List, ignored, refused};
use crate::cgroup::weight;
use crate::error::Result;
use oci_spec::runtime::{LinuxBlockIo, LinuxThrottleDevice};

pub(super) fn plan(list: &mut List, io: &LinuxBlockIo, warnings: &mut Vec<String>) -> Result<()> {
    if let Some(weight) = io.weight().filter(|weight| *weight != 0) {
        io_weight(list, "", weight, "blockIO.weight")?;
    }
    for (index, device) in io.weight_device().iter().flatten().enumerate() {
        let field = format!("blockIO.weightDevice[{index}]");
        if let Some(weight) = device.weight().filter(|weight| *weight != 0) {
            io_weight(list, &device_prefix(device.major(), device.minor(), &field)?, weight, &field)?;
        }
        ignored(warnings, device.leaf_weight().is_some_and(|weight| weight != 0), &format!("{field}.leafWeight"));
    }
    ignored(warnings, io.leaf_weight().is_some_and(|weight| weight != 0), "blockIO.leafWeight");
    throttle(list, io.throttle_read_bps_device(), "rbps", "throttleReadBpsDevice")?;
    throttle(list, io.throttle_write_bps_device(), "wbps", "throttleWriteBpsDevice")?;
    throttle(list, io.throttle_read_iops_device(), "riops", "throttleReadIOPSDevice")?;
    throttle(list, io.throttle_write_iops_device(), "wiops", "throttleWriteIOPSDevice")
}

/// The weight of the BFQ scheduler where the kernel has it, which takes config.json's range as it is; else that of the
/// cost model. runc drops the weights of single devices in the second case, crun and we do not.
fn io_weight(list: &mut List, device: &str, weight: u16, field: &str) -> Result<()> {
    if !(10..=1000).contains(&weight) {
        return Err(refused(field, format!("weight {weight} is not between 10 and 1000")));
    }
    let instead = IfMissing::Instead { file: "io.weight", value: format!("{device}{}", weight::of_io(weight)) };
    list.push("io.bfq.weight", format!("{device}{weight}"), field, instead);
    Ok(())
}

fn throttle(list: &mut List, devices: &Option<Vec<LinuxThrottleDevice>>, key: &str, name: &str) -> Result<()> {
    for (index, device) in devices.iter().flatten().enumerate() {
        let field = format!("blockIO.{name}[{index}]");
        let device_prefix = device_prefix(device.major(), device.minor(), &field)?;
        // The kernel refuses a rate of 0; config.json means by it what cgroup v1 did: no limit.
        match device.rate() {
            0 => list.set("io.max", format!("{device_prefix}{key}=max"), field),
            rate => list.set("io.max", format!("{device_prefix}{key}={rate}"), field),
        }
    }
    Ok(())
}

/// `MAJOR:MINOR ` as the io controller's files have it before a value.
fn device_prefix(major: i64, minor: i64, field: &str) -> Result<String> {
    match (u32::try_from(major), u32::try_from(minor)) {
        (Ok(major), Ok(minor)) => Ok(format!("{major}:{minor} ")),
        _ => Err(refused(field, format!("{major}:{minor} are not the numbers of a device"))),
    }
}
