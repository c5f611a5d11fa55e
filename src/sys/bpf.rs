//! bpf(2): loading a device program, attaching it to a cgroup, and finding it there again.

#![allow(unsafe_code)]

use super::{Errno, check};
use crate::error::{Error, ErrorKind, Result};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

/// One instruction of an eBPF program (`struct bpf_insn`).
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// Class, operation and source of the operand.
    pub code: u8,
    /// Destination register in the low four bits, source register in the high four.
    pub registers: u8,
    /// Distance of a jump, from the instruction after it, or offset of a load.
    pub offset: i16,
    /// Immediate operand.
    pub immediate: i32,
}

impl Instruction {
    /// An instruction on the registers `target` and `source`, each 0 to 10.
    pub const fn new(code: u8, target: u8, source: u8, offset: i16, immediate: i32) -> Self {
        Self { code, registers: (target & 0xf) | source << 4, offset, immediate }
    }
}

/// Codes of the instructions that device programs are made of; see the kernel's
/// `Documentation/bpf/standardization/instruction-set.rst`.
pub mod code {
    /// `target = *(u32 *)(source + offset)`.
    pub const LOAD_32: u8 = 0x61;
    /// `target = immediate` with 64 bits: takes two instructions, of which the second holds the high half.
    pub const LOAD_IMMEDIATE_64: u8 = 0x18;
    /// `target = immediate`.
    pub const MOVE_IMMEDIATE: u8 = 0xb7;
    /// `target = source`.
    pub const MOVE: u8 = 0xbf;
    /// `target &= immediate`.
    pub const AND_IMMEDIATE: u8 = 0x57;
    /// `target |= source`.
    pub const OR: u8 = 0x4f;
    /// `target <<= immediate`.
    pub const SHIFT_LEFT_IMMEDIATE: u8 = 0x67;
    /// `target >>= immediate`, without sign.
    pub const SHIFT_RIGHT_IMMEDIATE: u8 = 0x77;
    /// Jump.
    pub const JUMP: u8 = 0x05;
    /// Jump if `target == source`.
    pub const JUMP_EQUAL: u8 = 0x1d;
    /// Jump if `target == immediate`, comparing the low 32 bits.
    pub const JUMP_EQUAL_IMMEDIATE_32: u8 = 0x16;
    /// Jump if `target != immediate`.
    pub const JUMP_UNEQUAL_IMMEDIATE: u8 = 0x55;
    /// Jump if `target & immediate`.
    pub const JUMP_BITS_IMMEDIATE: u8 = 0x45;
    /// End with the verdict in register 0.
    pub const EXIT: u8 = 0x95;
}

const PROG_LOAD: libc::c_long = 5;
const PROG_ATTACH: libc::c_long = 8;
const PROG_DETACH: libc::c_long = 9;
const PROG_GET_FD_BY_ID: libc::c_long = 13;
const OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const PROG_QUERY: libc::c_long = 16;
const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_TYPE_CGROUP_DEVICE: u32 = 6;
/// Programs of ancestors and of others stay: all must allow.
const ALLOW_MULTI: u32 = 2;
/// The program takes the place of another in one step (5.6).
const REPLACE: u32 = 4;
/// What our programs are called, with the zeroes up to the kernel's length of a name.
const NAME: [u8; 16] = *b"onggi_devices\0\0\0";
/// How many programs the kernel lets one cgroup have (`BPF_CGROUP_MAX_PROGS`).
const MOST_PROGRAMS: usize = 64;
/// Bytes of the verifier's log that we ask for after a failure; only its end goes into the error.
const LOG_SIZE: u32 = 64 * 1024;
/// How often a load is repeated that the kernel breaks off with EAGAIN because a signal waits; as in libbpf.
const LOAD_ATTEMPTS: u32 = 5;

/// The member of `union bpf_attr` that `BPF_PROG_LOAD` reads, up to what we set.
#[repr(C)]
struct LoadAttributes {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
}

/// The member of `union bpf_attr` that `BPF_PROG_ATTACH` and `BPF_PROG_DETACH` read.
#[repr(C)]
struct AttachAttributes {
    target: u32,
    program: u32,
    attach_type: u32,
    flags: u32,
    replaced: u32,
}

/// The member of `union bpf_attr` that `BPF_PROG_QUERY` reads and writes, whole: newer kernels write its end
/// (`revision`) without looking how much of it we have.
#[repr(C)]
struct QueryAttributes {
    target: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    ids: u64,
    count: u32,
    padding: u32,
    unused: [u64; 4],
}

/// The member of `union bpf_attr` that `BPF_PROG_GET_FD_BY_ID` reads.
#[repr(C)]
struct IdAttributes {
    id: u32,
    next_id: u32,
    open_flags: u32,
}

/// The member of `union bpf_attr` that `BPF_OBJ_GET_INFO_BY_FD` reads.
#[repr(C)]
struct InfoAttributes {
    program: u32,
    length: u32,
    info: u64,
}

/// `struct bpf_prog_info` up to the name.
#[repr(C)]
struct ProgramInfo {
    before: [u64; 8],
    name: [u8; 16],
}

/// Loads a program that decides on access to devices (`BPF_PROG_TYPE_CGROUP_DEVICE`).
///
/// # Errors
/// EPERM without CAP_BPF in the initial user namespace. What the verifier refuses is told with the end of its log.
pub fn load_device_program(program: &[Instruction]) -> Result<OwnedFd> {
    let mut failure = Errno::EAGAIN;
    for _ in 0..LOAD_ATTEMPTS {
        match load(program, &mut []) {
            Err(errno @ Errno::EAGAIN) => failure = errno,
            Err(errno @ (Errno::EPERM | Errno::ENOSYS)) => return Err(Error::sys("bpf(PROG_LOAD)", errno)),
            Err(errno) => return Err(with_log(program, errno)),
            Ok(fd) => return Ok(fd),
        }
    }
    Err(Error::sys("bpf(PROG_LOAD)", failure))
}

/// The log costs time, so it is written only when the same load has failed without one.
fn with_log(program: &[Instruction], errno: Errno) -> Error {
    let mut log = vec![0; LOG_SIZE as usize];
    match load(program, &mut log) {
        Ok(_) => Error::sys("bpf(PROG_LOAD)", errno),
        Err(errno) => {
            let text = String::from_utf8_lossy(&log);
            let lines: Vec<_> = text.trim_end_matches('\0').lines().filter(|line| !line.is_empty()).collect();
            let end = lines[lines.len().saturating_sub(3)..].join("; ");
            Error::sys(format!("bpf(PROG_LOAD): the verifier says: {end}"), errno).of_kind(ErrorKind::Unsupported)
        }
    }
}

fn load(program: &[Instruction], log: &mut [u8]) -> std::result::Result<OwnedFd, Errno> {
    let mut attributes = LoadAttributes {
        program_type: PROG_TYPE_CGROUP_DEVICE,
        instruction_count: program.len() as u32,
        instructions: program.as_ptr() as u64,
        // No function of the kernel is called, so its license does not matter to the kernel; but there must be one.
        license: c"Apache-2.0".as_ptr() as u64,
        log_level: u32::from(!log.is_empty()),
        log_size: log.len() as u32,
        log: if log.is_empty() { 0 } else { log.as_mut_ptr() as u64 },
        kernel_version: 0,
        flags: 0,
        name: NAME,
    };
    // SAFETY: `attributes` is what this command reads, and the program, the license and the log that it points to live
    // until the call returns, with the lengths given.
    let fd = unsafe { bpf(PROG_LOAD, &mut attributes) };
    if fd == -1 {
        return Err(Errno::last());
    }
    // SAFETY: the kernel returned a new descriptor (close-on-exec, as all of bpf's), which nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Attaches `program` to the cgroup directory `cgroup`, besides those that are attached there or above, or in the place
/// of `replaced`, so that at every moment one of the two decides. It stays until the cgroup is removed.
///
/// # Errors
/// ENOENT when `replaced` is not attached there any more.
pub fn attach_device_program(cgroup: impl AsFd, program: impl AsFd, replaced: Option<&OwnedFd>) -> Result<()> {
    let mut attributes = attachment(cgroup, program);
    attributes.flags = ALLOW_MULTI;
    if let Some(replaced) = replaced {
        attributes.flags |= REPLACE;
        attributes.replaced = replaced.as_raw_fd() as u32;
    }
    // SAFETY: `attributes` is what this command reads; it points to nothing.
    let result = unsafe { bpf(PROG_ATTACH, &mut attributes) };
    check(result, || "bpf(PROG_ATTACH)".to_owned()).map(drop)
}

/// Detaches `program` from the cgroup directory `cgroup`.
///
/// # Errors
/// ENOENT when it is not attached there.
pub fn detach_device_program(cgroup: impl AsFd, program: impl AsFd) -> Result<()> {
    let mut attributes = attachment(cgroup, program);
    // SAFETY: `attributes` is what this command reads; it points to nothing.
    let result = unsafe { bpf(PROG_DETACH, &mut attributes) };
    check(result, || "bpf(PROG_DETACH)".to_owned()).map(drop)
}

fn attachment(cgroup: impl AsFd, program: impl AsFd) -> AttachAttributes {
    AttachAttributes {
        target: cgroup.as_fd().as_raw_fd() as u32,
        program: program.as_fd().as_raw_fd() as u32,
        attach_type: ATTACH_TYPE_CGROUP_DEVICE,
        flags: 0,
        replaced: 0,
    }
}

/// The device programs that are attached to the cgroup directory `cgroup` itself and that were loaded by us: all have
/// the same name.
///
/// # Errors
/// EPERM without CAP_NET_ADMIN and, where there are programs, CAP_SYS_ADMIN in the initial user namespace.
pub fn attached_device_programs(cgroup: impl AsFd) -> Result<Vec<OwnedFd>> {
    let mut ids = [0_u32; MOST_PROGRAMS];
    let mut attributes = QueryAttributes {
        target: cgroup.as_fd().as_raw_fd() as u32,
        attach_type: ATTACH_TYPE_CGROUP_DEVICE,
        query_flags: 0,
        attach_flags: 0,
        ids: ids.as_mut_ptr() as u64,
        count: MOST_PROGRAMS as u32,
        padding: 0,
        unused: [0; 4],
    };
    // SAFETY: `attributes` is what this command reads and writes, and `ids` has room for as many as it says.
    let result = unsafe { bpf(PROG_QUERY, &mut attributes) };
    check(result, || "bpf(PROG_QUERY)".to_owned())?;
    let mut ours = Vec::new();
    for id in &ids[..attributes.count as usize] {
        match program_by_id(*id) {
            // Detached and gone meanwhile.
            Err(error) if error.is(Errno::ENOENT) => {}
            program => {
                let program = program?;
                if program_name(&program)? == NAME {
                    ours.push(program);
                }
            }
        }
    }
    Ok(ours)
}

fn program_by_id(id: u32) -> Result<OwnedFd> {
    let mut attributes = IdAttributes { id, next_id: 0, open_flags: 0 };
    // SAFETY: `attributes` is what this command reads; it points to nothing.
    let fd = unsafe { bpf(PROG_GET_FD_BY_ID, &mut attributes) };
    let fd = check(fd, || "bpf(PROG_GET_FD_BY_ID)".to_owned())?;
    // SAFETY: the kernel returned a new descriptor (close-on-exec, as all of bpf's), which nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

fn program_name(program: &OwnedFd) -> Result<[u8; 16]> {
    let mut info = ProgramInfo { before: [0; 8], name: [0; 16] };
    let mut attributes = InfoAttributes {
        program: program.as_raw_fd() as u32,
        length: size_of::<ProgramInfo>() as u32,
        info: &raw mut info as u64,
    };
    // SAFETY: `attributes` is what this command reads and writes, and `info` is as long as it says. All zeroes in what
    // is there before the name asks for nothing else to be filled in.
    let result = unsafe { bpf(OBJ_GET_INFO_BY_FD, &mut attributes) };
    check(result, || "bpf(OBJ_GET_INFO_BY_FD)".to_owned())?;
    Ok(info.name)
}

/// bpf(2) itself.
///
/// # Safety
/// `T` has the layout of the first bytes of the member of `union bpf_attr` that `command` reads, up to the last that it
/// writes; what it points to is valid for as long as the call takes, in the lengths it gives.
unsafe fn bpf<T>(command: libc::c_long, attributes: &mut T) -> libc::c_long {
    // SAFETY: the kernel reads and writes at most as many bytes as we say; the rest is what our caller promises.
    unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>()) }
}
