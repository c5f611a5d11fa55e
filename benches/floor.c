// The floor: what a container costs when nothing is done but what its config asks for, in the cheapest correct order.
//
// benches/flatten.rs turns a config.json into floor.h, with which this is compiled: nothing is parsed, looked up or
// compiled at run time. There is no C library either (bare.h). Everything else is done for real. What a config leaves
// to runtimes is done as all do it: /dev is filled; the process gets a session, a session keyring and no descriptors
// of ours; while the container lives a state tells its pid and start time, and a FIFO waits for `start`. Left out is
// the rest of what makes a runtime: no reading of the config, no protection of the own binary and process, no error
// reports beyond the failed call, no signals passed on, no hooks, no undoing.
//
//   floor --root DIRECTORY run | create [--bundle IGNORED] ID
//   floor --root DIRECTORY start | delete ID
//   floor --root DIRECTORY exec ID PROGRAM [ARGUMENTS]
#include "bare.h"
#include <asm/siginfo.h>
#include <asm/signal.h>
#include <asm/stat.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/filter.h>
#include <linux/keyctl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/prctl.h>
#include <linux/resource.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <linux/stat.h>
#include <linux/wait.h>

#define MNT_DETACH 2 // umount2(2)

struct option { const char *key, *value; };

struct mount {
    const char *place;            // below the root
    const char *type;             // NULL: a bind mount of `source`
    const char *source;
    uint64_t attributes;          // MOUNT_ATTR_*
    const struct option *options; // of the file system; ends with a NULL key
    const char *in_dev;           // the directory of this name in the new /dev is to be made first
};

struct limit { int resource; struct rlimit64 value; };
struct setting { const char *file, *value; }; // below /proc

#include "floor.h"

// --- the cgroup ---

static int open_directory(int at, const char *path) {
    return try(openat, at, path, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
}

static int make_cgroup(int parent, const char *id) {
    union bpf_attr load = {
        .prog_type = BPF_PROG_TYPE_CGROUP_DEVICE,
        .insns = (uintptr_t)device_program,
        .insn_cnt = COUNT(device_program),
        .license = (uintptr_t)"GPL",
    };
    try(mkdirat, parent, id, 0755);
    int cgroup = open_directory(parent, id);
    int program = try(bpf, BPF_PROG_LOAD, &load, sizeof load);
    union bpf_attr attach = {
        .target_fd = cgroup,
        .attach_bpf_fd = program,
        .attach_type = BPF_CGROUP_DEVICE,
        .attach_flags = BPF_F_ALLOW_MULTI,
    };
    try(bpf, BPF_PROG_ATTACH, &attach, sizeof attach);
    return cgroup;
}

// --- the file system ---

static int open_in(int root, const char *path) {
    struct open_how how = { .flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
    return call(openat2, root, path, &how, sizeof how);
}

// -1 when there is no such path: then there is nothing to hide.
static int open_existing(const char *path) {
    int place = open_in(AT_FDCWD, path);
    return place == -ENOENT || place == -ENOTDIR ? -1 : succeeded(place, path);
}

static void attach(int tree, int place) {
    try(move_mount, tree, "", place, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
}

static int clone_tree(int at, const char *path, unsigned depth) {
    return try(open_tree, at, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | depth);
}

static void change(int tree, uint64_t attributes, uint64_t propagation, unsigned depth) {
    struct mount_attr attr = { .attr_set = attributes, .propagation = propagation };
    try(mount_setattr, tree, "", AT_EMPTY_PATH | depth, &attr, sizeof attr);
}

static int new_filesystem(const struct mount *mount) {
    int context = try(fsopen, mount->type, FSOPEN_CLOEXEC);
    for (const struct option *option = mount->options; option->key; option++)
        try(fsconfig, context, option->value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG, option->key, option->value);
    try(fsconfig, context, FSCONFIG_CMD_CREATE);
    return try(fsmount, context, FSMOUNT_CLOEXEC, mount->attributes);
}

static const struct { const char *name; int major, minor; } nodes[] = {
    { "null", 1, 3 }, { "zero", 1, 5 }, { "full", 1, 7 }, { "random", 1, 8 }, { "urandom", 1, 9 }, { "tty", 5, 0 },
};

static const struct { const char *target, *name; } links[] = {
    { "/proc/self/fd", "fd" }, { "/proc/self/fd/0", "stdin" }, { "/proc/self/fd/1", "stdout" },
    { "/proc/self/fd/2", "stderr" }, { "pts/ptmx", "ptmx" },
};

static void fill_dev(int dev) {
    for (unsigned i = 0; i < COUNT(nodes); i++)
        try(mknodat, dev, nodes[i].name, S_IFCHR | 0666, nodes[i].major << 8 | nodes[i].minor);
    for (unsigned i = 0; i < COUNT(links); i++)
        try(symlinkat, links[i].target, dev, links[i].name);
}

static void write_file(int at, const char *path, const char *text) {
    int file = try(openat, at, path, O_WRONLY | O_CLOEXEC);
    try(write, file, text, length(text));
}

// Covered by a read-only clone of itself.
static void make_readonly(const char *path) {
    int place = open_existing(path);
    if (place < 0)
        return;
    int tree = clone_tree(place, "", AT_RECURSIVE);
    change(tree, MOUNT_ATTR_RDONLY, 0, 0);
    attach(tree, place);
}

static void mask(const char *path, int dev) {
    static int cover = -1;
    struct stat stat;
    int place = open_existing(path);
    if (place < 0)
        return;
    try(fstat, place, &stat);
    if (!S_ISDIR(stat.st_mode)) {
        attach(clone_tree(dev, "null", 0), place);
    } else if (cover < 0) {
        static const struct option little[] = { { "nr_blocks", "1" }, { "nr_inodes", "1" }, { "ro", NULL }, { NULL, NULL } };
        static const struct mount empty = { .type = "tmpfs", .attributes = MOUNT_ATTR_RDONLY, .options = little };
        cover = new_filesystem(&empty);
        attach(cover, place);
    } else {
        attach(clone_tree(cover, "", 0), place);
    }
}

static int binds[COUNT(mounts)];

// Detached, in the host's namespace.
static void open_binds(void) {
    for (unsigned i = 0; i < COUNT(mounts); i++) {
        if (mounts[i].type)
            continue;
        binds[i] = clone_tree(AT_FDCWD, mounts[i].source, AT_RECURSIVE);
        change(binds[i], mounts[i].attributes, MS_PRIVATE, AT_RECURSIVE);
    }
}

static void make_root(void) {
    int dev = -1, proc = -1;
    // What is mounted here must not reach the host. The root file system becomes a slave by this, as runc has it, too.
    try(mount, NULL, "/", NULL, MS_REC | MS_SLAVE, NULL);
    int root = clone_tree(AT_FDCWD, ROOTFS, AT_RECURSIVE);
    try(move_mount, root, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH);
    try(fchdir, root);
    call(umask, 0);
    for (unsigned i = 0; i < COUNT(mounts); i++) {
        const struct mount *mount = &mounts[i];
        int tree = mount->type ? new_filesystem(mount) : binds[i];
        if (mount->in_dev)
            try(mkdirat, dev, mount->in_dev, 0755);
        attach(tree, succeeded(open_in(root, mount->place), mount->place));
        if (equal(mount->place, "dev"))
            fill_dev(dev = tree);
        if (equal(mount->place, "proc"))
            proc = tree;
    }
    for (const struct setting *setting = settings; setting->file; setting++)
        write_file(proc, setting->file, setting->value);
    try(pivot_root, ".", ".");
    try(umount2, ".", MNT_DETACH);
    for (unsigned i = 0; i < COUNT(readonly_paths); i++)
        make_readonly(readonly_paths[i]);
    for (unsigned i = 0; i < COUNT(masked_paths); i++)
        mask(masked_paths[i], dev);
    if (ROOT_READONLY)
        change(root, MOUNT_ATTR_RDONLY, 0, 0);
}

// --- the process ---

static void leave_the_caller(void) {
    try(setsid);
    try(keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
    if (*OOM_SCORE)
        write_file(AT_FDCWD, "/proc/self/oom_score_adj", OOM_SCORE);
}

static void become_user(void) {
    struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct sets[2] = {
        { EFFECTIVE & UINT32_MAX, PERMITTED & UINT32_MAX, INHERITABLE & UINT32_MAX },
        { EFFECTIVE >> 32, PERMITTED >> 32, INHERITABLE >> 32 },
    };
    for (unsigned i = 0; i < COUNT(limits); i++)
        try(prlimit64, 0, limits[i].resource, &limits[i].value, NULL);
    try(close_range, 3, ~0U, CLOSE_RANGE_CLOEXEC);
    for (int capability = 0; capability < 64; capability++)
        if (DROPPED >> capability & 1)
            try(prctl, PR_CAPBSET_DROP, capability);
    try(setgroups, GROUPS, groups);
    try(setresgid, GID, GID, GID);
    if (UID)
        try(prctl, PR_SET_KEEPCAPS, 1);
    try(setresuid, UID, UID, UID);
    try(capset, &header, sets);
    for (int capability = 0; capability < 64; capability++)
        if (AMBIENT >> capability & 1)
            try(prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability);
    try(chdir, CWD);
    call(umask, UMASK);
    if (NO_NEW_PRIVS)
        try(prctl, PR_SET_NO_NEW_PRIVS, 1);
}

static void become_container(void) {
    leave_the_caller();
    make_root();
    try(sethostname, HOSTNAME, sizeof HOSTNAME - 1);
    become_user();
}

static _Noreturn void become_program(const char *const *arguments) {
    if (FILTER) {
        struct sock_fprog program = { .len = FILTER, .filter = (struct sock_filter *)filter };
        try(seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
    }
    fail(arguments[0], call(execve, arguments[0], arguments, environment));
}

// Two processes come back: 0 in the child, which is in those namespaces and in the cgroup; in the parent its pid.
static int clone_into(uint64_t namespaces, int cgroup, int *pidfd) {
    struct clone_args args = {
        .flags = namespaces | CLONE_PIDFD | CLONE_INTO_CGROUP,
        .pidfd = (uintptr_t)pidfd,
        .exit_signal = SIGCHLD,
        .cgroup = cgroup,
    };
    return try(clone3, &args, sizeof args);
}

static int wait_for(int pidfd) {
    siginfo_t end;
    try(waitid, P_PIDFD, pidfd, &end, WEXITED, NULL);
    return end.si_code == CLD_EXITED ? end.si_status : 128 + end.si_status;
}

// --- the state: a directory of the container's name, in which we are ---

struct state { unsigned pid; uint64_t start; };

// Field 22 of /proc/PID/stat, or 0 when the process is gone.
static uint64_t start_time(unsigned pid) {
    char number[12], text[1024];
    int proc = open_directory(AT_FDCWD, "/proc");
    int process = call(openat, proc, decimal(pid, number), O_PATH | O_CLOEXEC);
    int file = call(openat, process, "stat", O_RDONLY | O_CLOEXEC);
    long count = call(read, file, text, sizeof text - 1);
    if (count <= 0)
        return 0;
    // The second field is a name in parentheses, which may have anything in it.
    char *field = text + count;
    while (*--field != ')')
        ;
    for (int number = 2; number < 22; field++)
        number += *field == ' ';
    uint64_t start = 0;
    for (; *field != ' '; field++)
        start = start * 10 + (*field - '0');
    return start;
}

static struct state read_state(void) {
    struct state state;
    int file = try(open, "state", O_RDONLY | O_CLOEXEC);
    if (try(read, file, &state, sizeof state) != sizeof state)
        fail("state", -EINVAL);
    return state;
}

// Whole or not there, whenever somebody looks.
static void write_state(unsigned pid) {
    struct state state = { pid, start_time(pid) };
    int file = try(open, "state.new", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    try(write, file, &state, sizeof state);
    try(rename, "state.new", "state");
}

static void remove_state(const char *id) {
    try(unlink, "state");
    try(chdir, "..");
    try(rmdir, id);
}

// The pidfd of the container's process, by which it can't be mistaken for another one, or less than 0.
static int living(const struct state *state) {
    int pidfd = call(pidfd_open, state->pid, 0);
    return pidfd >= 0 && start_time(state->pid) == state->start ? pidfd : -ESRCH;
}

// --- the commands ---

static int run(int cgroups, const char *id) {
    int pidfd;
    int cgroup = make_cgroup(cgroups, id);
    open_binds();
    int pid = clone_into(NAMESPACES, cgroup, &pidfd);
    if (pid == 0) {
        become_container();
        become_program(arguments);
    }
    write_state(pid);
    int status = wait_for(pidfd);
    try(unlinkat, cgroups, id, AT_REMOVEDIR);
    remove_state(id);
    return status;
}

static int create(int cgroups, const char *id) {
    int pidfd, ready[2];
    char byte = 0;
    try(mknod, "start", S_IFIFO | 0600, 0);
    int start = try(open, "start", O_RDWR | O_CLOEXEC);
    try(pipe2, ready, O_CLOEXEC);
    int cgroup = make_cgroup(cgroups, id);
    open_binds();
    int pid = clone_into(NAMESPACES, cgroup, &pidfd);
    if (pid == 0) {
        become_container();
        try(write, ready[1], &byte, 1);
        try(close, ready[1]);
        try(read, start, &byte, 1);
        become_program(arguments);
    }
    try(close, ready[1]);
    write_state(pid);
    return try(read, ready[0], &byte, 1) == 1 ? 0 : 255;
}

static int start(void) {
    struct state state = read_state();
    succeeded(living(&state), "start");
    int file = try(open, "start", O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    try(write, file, "", 1);
    return 0;
}

static int delete(int cgroups, const char *id) {
    struct state state = read_state();
    if (living(&state) >= 0)
        fail("delete", -EBUSY);
    try(unlinkat, cgroups, id, AT_REMOVEDIR);
    try(unlink, "start");
    remove_state(id);
    return 0;
}

static int exec(int cgroups, const char *id, const char *const *program) {
    int pidfd;
    struct state state = read_state();
    int init = succeeded(living(&state), "exec");
    int cgroup = open_directory(cgroups, id);
    try(setns, init, CLONE_NEWPID);
    if (clone_into(0, cgroup, &pidfd) == 0) {
        leave_the_caller();
        try(setns, init, NAMESPACES & ~CLONE_NEWPID);
        become_user();
        become_program(program);
    }
    return wait_for(pidfd);
}

static int begin(int count, const char **words) {
    if (count < 5)
        fail("floor --root DIRECTORY COMMAND ID", -EINVAL);
    const char *verb = words[3];
    const char **rest = words + 4;
    if (equal(rest[0], "--bundle"))
        rest += 2;
    const char *id = rest[0];
    int runs = equal(verb, "run"), creates = equal(verb, "create");
    try(chdir, words[2]);
    if (runs || creates)
        try(mkdir, id, 0700);
    try(chdir, id);
    if (equal(verb, "start"))
        return start();
    int cgroups = open_directory(AT_FDCWD, CGROUPS);
    if (runs)
        return run(cgroups, id);
    if (creates)
        return create(cgroups, id);
    if (equal(verb, "delete"))
        return delete(cgroups, id);
    return exec(cgroups, id, rest + 1);
}
