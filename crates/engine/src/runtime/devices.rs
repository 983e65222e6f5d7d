//! The device rules of a container on a cgroup2 host, where a BPF program decides (libcontainer would need libbpf,
//! libelf and zlib for it; cgroup1 hosts have a controller for the same, which libcontainer knows).

use std::fs::File;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

use crate::oci::devices::READ_WRITE;

// From linux/bpf.h.
const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 2;
const BPF_DEVCG_ACC_MKNOD: i32 = 1;
const BPF_DEVCG_DEV_CHAR: i32 = 2;

/// `struct bpf_insn`.
#[derive(Clone, Copy)]
#[repr(C)]
struct Instruction {
    code: u8,
    /// Destination register in the low half, source register in the high one.
    registers: u8,
    offset: i16,
    immediate: i32,
}

/// `union bpf_attr` for `BPF_PROG_LOAD`, as far as needed.
#[repr(C)]
struct Load {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buffer: u64,
}

/// `union bpf_attr` for `BPF_PROG_ATTACH`.
#[repr(C)]
struct Attach {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
}

/// Restricts every process in the cgroup to Docker's default devices; the kernel forgets it with the cgroup.
pub(super) fn restrict(cgroup: &Path) -> io::Result<()> {
    let cgroup = File::open(cgroup)?;
    let instructions = program();
    let load = Load {
        kind: BPF_PROG_TYPE_CGROUP_DEVICE,
        count: instructions.len() as u32,
        instructions: instructions.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buffer: 0,
    };
    let program = bpf(BPF_PROG_LOAD, &load)?;
    // SAFETY: the kernel has just made this descriptor for us; nobody else knows it.
    let program = unsafe { OwnedFd::from_raw_fd(program) };
    let attach = Attach {
        target: cgroup.as_raw_fd() as u32,
        program: program.as_raw_fd() as u32,
        kind: BPF_CGROUP_DEVICE,
        // Ancestors that have programs of their own (systemd's) keep them.
        flags: BPF_F_ALLOW_MULTI,
    };
    bpf(BPF_PROG_ATTACH, &attach).map(|_| ())
}

fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<libc::c_int> {
    // SAFETY: the attributes are of the layout and size that the command takes, and what they point to outlives the
    // call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size_of::<T>()) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result as libc::c_int)
    }
}

/// Decides over `struct bpf_cgroup_dev_ctx` (access and type, major, minor): 1 allows.
fn program() -> Vec<Instruction> {
    const CONTEXT: u8 = 1;
    const KIND: u8 = 2;
    const ACCESS: u8 = 3;
    const MAJOR: u8 = 4;
    const MINOR: u8 = 5;
    let mut program = vec![
        load(KIND, CONTEXT, 0),
        move_register(ACCESS, KIND),
        shift_right(ACCESS, 16),
        and(KIND, 0xffff),
        load(MAJOR, CONTEXT, 4),
        load(MINOR, CONTEXT, 8),
        // Anything may be made; opening it is another access.
        skip_unless_equal(ACCESS, BPF_DEVCG_ACC_MKNOD, 2),
    ];
    program.extend(answer(1));
    program.push(skip_unless_equal(KIND, BPF_DEVCG_DEV_CHAR, 0));
    let not_a_character_device = program.len() - 1;
    for (major, minor) in READ_WRITE {
        match minor {
            Some(minor) => {
                program.push(skip_unless_equal(MAJOR, major as i32, 3));
                program.push(skip_unless_equal(MINOR, minor as i32, 2));
            }
            None => program.push(skip_unless_equal(MAJOR, major as i32, 2)),
        }
        program.extend(answer(1));
    }
    program[not_a_character_device].offset = (program.len() - not_a_character_device - 1) as i16;
    program.extend(answer(0));
    program
}

fn instruction(code: u8, to: u8, from: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction {
        code,
        registers: from << 4 | to,
        offset,
        immediate,
    }
}

/// `BPF_LDX | BPF_MEM | BPF_W`
fn load(to: u8, from: u8, offset: i16) -> Instruction {
    instruction(0x61, to, from, offset, 0)
}

/// `BPF_ALU | BPF_MOV | BPF_X`
fn move_register(to: u8, from: u8) -> Instruction {
    instruction(0xbc, to, from, 0, 0)
}

/// `BPF_ALU | BPF_RSH | BPF_K`
fn shift_right(register: u8, by: i32) -> Instruction {
    instruction(0x74, register, 0, 0, by)
}

/// `BPF_ALU | BPF_AND | BPF_K`
fn and(register: u8, mask: i32) -> Instruction {
    instruction(0x54, register, 0, 0, mask)
}

/// `BPF_JMP | BPF_JNE | BPF_K`
fn skip_unless_equal(register: u8, value: i32, skip: i16) -> Instruction {
    instruction(0x55, register, 0, skip, value)
}

/// `BPF_ALU64 | BPF_MOV | BPF_K` into the result, and `BPF_JMP | BPF_EXIT`
fn answer(value: i32) -> [Instruction; 2] {
    [instruction(0xb7, 0, 0, 0, value), instruction(0x95, 0, 0, 0, 0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the program as the kernel would.
    fn decide(kind: u32, access: u32, major: u32, minor: u32) -> u64 {
        let context = [access << 16 | kind, major, minor];
        let program = program();
        let (mut registers, mut next) = ([0u64; 11], 0);
        loop {
            let Instruction {
                code,
                registers: pair,
                offset,
                immediate,
            } = program[next];
            let (to, from) = ((pair & 15) as usize, (pair >> 4) as usize);
            next += 1;
            match code {
                0x61 => registers[to] = u64::from(context[offset as usize / 4]),
                0xbc => registers[to] = registers[from],
                0x74 => registers[to] >>= immediate,
                0x54 => registers[to] &= immediate as u64,
                0x55 if registers[to] != immediate as u64 => next += offset as usize,
                0x55 => {}
                0xb7 => registers[to] = immediate as u64,
                0x95 => return registers[0],
                other => panic!("{other:#x}"),
            }
        }
    }

    #[test]
    fn dockers_devices_and_no_others() {
        let (block, char) = (1, 2);
        let (mknod, read, write) = (1, 2, 4);
        for (major, minor) in [
            (1, 3),
            (1, 5),
            (1, 7),
            (1, 8),
            (1, 9),
            (5, 0),
            (5, 1),
            (5, 2),
            (136, 77),
        ] {
            assert_eq!(decide(char, read | write, major, minor), 1, "{major}:{minor}");
            assert_eq!(decide(block, read, major, minor), 0, "{major}:{minor}");
        }
        for (major, minor) in [(1, 1), (1, 4), (5, 3), (10, 229), (8, 0)] {
            assert_eq!(decide(char, read, major, minor), 0, "{major}:{minor}");
            assert_eq!(decide(char, write, major, minor), 0, "{major}:{minor}");
            assert_eq!(decide(block, mknod, major, minor), 1, "{major}:{minor}");
            assert_eq!(decide(block, mknod | read, major, minor), 0, "{major}:{minor}");
        }
    }
}
