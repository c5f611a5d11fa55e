// The floor: what a container costs when nothing is done but what its config asks for, in the cheapest correct order.
//
// benches/flatten.rs turns a config.json into floor.h, with which this is compiled: nothing is parsed, looked up or
// compiled at run time. Everything else is done for real. Left out is what makes a runtime: no reading of the config, no
// protection of the own binary, no error reports beyond the failed call, no signals passed on, no hooks, and no state but
// the pid, its start time and the FIFO that `start`, `delete` and `exec` need.
//
//   floor --root DIRECTORY run | create [--bundle IGNORED] ID
//   floor --root DIRECTORY start | delete ID
//   floor --root DIRECTORY exec ID PROGRAM [ARGUMENTS]
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/keyctl.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define INTO_CGROUP 0x200000000ULL

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

#define COUNT(list) (sizeof(list) / sizeof(*(list)))
// The call, or the end.
#define try(call) ({ long result_ = (long)(call); if (result_ < 0) fail(#call); result_; })

static void fail(const char *call) {
    perror(call);
    _exit(255);
}

// --- the cgroup ---

static char cgroup_path[256];

static void name_cgroup(const char *id) {
    snprintf(cgroup_path, sizeof cgroup_path, "%s/%s", CGROUPS, id);
}

static int make_cgroup(void) {
    union bpf_attr load = {
        .prog_type = BPF_PROG_TYPE_CGROUP_DEVICE,
        .insns = (uintptr_t)device_program,
        .insn_cnt = COUNT(device_program),
        .license = (uintptr_t)"GPL",
    };
    try(mkdir(cgroup_path, 0755));
    int directory = try(open(cgroup_path, O_DIRECTORY | O_RDONLY | O_CLOEXEC));
    int program = try(syscall(SYS_bpf, BPF_PROG_LOAD, &load, sizeof load));
    union bpf_attr attach = {
        .target_fd = directory,
        .attach_bpf_fd = program,
        .attach_type = BPF_CGROUP_DEVICE,
        .attach_flags = BPF_F_ALLOW_MULTI,
    };
    try(syscall(SYS_bpf, BPF_PROG_ATTACH, &attach, sizeof attach));
    return directory;
}

// --- the file system ---

static int in_root(int root, const char *path, uint64_t flags) {
    struct open_how how = { .flags = flags | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
    return syscall(SYS_openat2, root, path, &how, sizeof how);
}

static void attach(int tree, int place) {
    try(move_mount(tree, "", place, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH));
}

static int clone_tree(int at, const char *path, unsigned depth) {
    return try(open_tree(at, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | depth));
}

static void change(int tree, uint64_t attributes, uint64_t propagation, unsigned depth) {
    struct mount_attr attr = { .attr_set = attributes, .propagation = propagation };
    try(mount_setattr(tree, "", AT_EMPTY_PATH | depth, &attr, sizeof attr));
}

static int new_filesystem(const struct mount *mount) {
    int context = try(fsopen(mount->type, FSOPEN_CLOEXEC));
    for (const struct option *option = mount->options; option->key; option++)
        try(fsconfig(context, option->value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG, option->key, option->value, 0));
    try(fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0));
    return try(fsmount(context, FSMOUNT_CLOEXEC, mount->attributes));
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
        try(mknodat(dev, nodes[i].name, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor)));
    for (unsigned i = 0; i < COUNT(links); i++)
        try(symlinkat(links[i].target, dev, links[i].name));
}

static void write_file(int at, const char *path, const char *text) {
    int file = try(openat(at, path, O_WRONLY | O_CLOEXEC));
    try(write(file, text, strlen(text)));
}

// Covered by a read-only clone of itself.
static void make_readonly(const char *path) {
    int place = in_root(AT_FDCWD, path, O_PATH);
    if (place < 0)
        return;
    int tree = clone_tree(place, "", AT_RECURSIVE);
    change(tree, MOUNT_ATTR_RDONLY, 0, 0);
    attach(tree, place);
}

static void mask(const char *path, int dev) {
    static int cover = -1;
    struct stat stat;
    int place = in_root(AT_FDCWD, path, O_PATH);
    if (place < 0)
        return;
    try(fstat(place, &stat));
    if (!S_ISDIR(stat.st_mode)) {
        attach(clone_tree(dev, "null", 0), place);
    } else if (cover < 0) {
        static const struct option options[] = { { "nr_blocks", "1" }, { "nr_inodes", "1" }, { "ro", NULL }, { NULL, NULL } };
        static const struct mount empty = { .type = "tmpfs", .attributes = MOUNT_ATTR_RDONLY, .options = options };
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
    try(mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL));
    int root = clone_tree(AT_FDCWD, ROOTFS, AT_RECURSIVE);
    change(root, 0, MS_PRIVATE, AT_RECURSIVE);
    try(move_mount(root, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH));
    try(fchdir(root));
    umask(0);
    for (unsigned i = 0; i < COUNT(mounts); i++) {
        const struct mount *mount = &mounts[i];
        int tree = mount->type ? new_filesystem(mount) : binds[i];
        if (mount->in_dev)
            try(mkdirat(dev, mount->in_dev, 0755));
        attach(tree, try(in_root(root, mount->place, O_PATH)));
        if (!strcmp(mount->place, "dev"))
            fill_dev(dev = tree);
        if (!strcmp(mount->place, "proc"))
            proc = tree;
    }
    for (const struct setting *setting = settings; setting->file; setting++)
        write_file(proc, setting->file, setting->value);
    try(syscall(SYS_pivot_root, ".", "."));
    try(umount2(".", MNT_DETACH));
    for (unsigned i = 0; i < COUNT(readonly_paths); i++)
        make_readonly(readonly_paths[i]);
    for (unsigned i = 0; i < COUNT(masked_paths); i++)
        mask(masked_paths[i], dev);
    if (ROOT_READONLY)
        change(root, MOUNT_ATTR_RDONLY, 0, 0);
}

// --- the process ---

static void become_user(void) {
    struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct sets[2] = {
        { EFFECTIVE & UINT32_MAX, PERMITTED & UINT32_MAX, INHERITABLE & UINT32_MAX },
        { EFFECTIVE >> 32, PERMITTED >> 32, INHERITABLE >> 32 },
    };
    try(syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL));
    for (unsigned i = 0; i < COUNT(limits); i++)
        try(prlimit64(0, limits[i].resource, &limits[i].value, NULL));
    try(close_range(3, ~0U, CLOSE_RANGE_CLOEXEC));
    for (int capability = 0; capability < 64; capability++)
        if (DROPPED >> capability & 1)
            try(prctl(PR_CAPBSET_DROP, capability, 0, 0, 0));
    // Not glibc's wrappers: they look for threads.
    try(syscall(SYS_setgroups, GROUPS, groups));
    try(syscall(SYS_setresgid, GID, GID, GID));
    if (UID)
        try(prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0));
    try(syscall(SYS_setresuid, UID, UID, UID));
    try(syscall(SYS_capset, &header, sets));
    for (int capability = 0; capability < 64; capability++)
        if (AMBIENT >> capability & 1)
            try(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0));
    try(chdir(CWD));
    umask(UMASK);
    if (NO_NEW_PRIVS)
        try(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
}

static void become_program(char *const *arguments) {
    if (FILTER) {
        struct sock_fprog program = { .len = FILTER, .filter = (struct sock_filter *)filter };
        try(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program));
    }
    try(execve(arguments[0], arguments, (char *const *)environment));
}

// The clone and both sides of it: comes back in the child.
static int in_child(uint64_t namespaces, int cgroup, int *pidfd, pid_t *pid) {
    struct { uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size,
        cgroup; } args = {
        .flags = namespaces | CLONE_PIDFD | INTO_CGROUP,
        .pidfd = (uintptr_t)pidfd,
        .exit_signal = SIGCHLD,
        .cgroup = cgroup,
    };
    *pid = try(syscall(SYS_clone3, &args, sizeof args));
    return *pid == 0;
}

static int wait_for(int pidfd) {
    siginfo_t end;
    try(waitid(P_PIDFD, pidfd, &end, WEXITED));
    return end.si_code == CLD_EXITED ? end.si_status : 128 + end.si_status;
}

// --- the state ---

struct state { pid_t pid; unsigned long long start; };

// Field 22 of /proc/PID/stat, or 0 when the process is gone.
static unsigned long long start_time(pid_t pid) {
    char path[32], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = file < 0 ? 0 : read(file, text, sizeof text - 1);
    if (length <= 0)
        return 0;
    text[length] = 0;
    char *field = strrchr(text, ')');
    for (int i = 2; i < 22; i++)
        field = strchr(field + 1, ' ');
    return strtoull(field, NULL, 10);
}

static struct state read_state(void) {
    struct state state;
    int file = try(open("state", O_RDONLY | O_CLOEXEC));
    if (try(read(file, &state, sizeof state)) != sizeof state)
        fail("state");
    return state;
}

static void write_state(pid_t pid) {
    struct state state = { pid, start_time(pid) };
    int file = try(open("state.new", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    try(write(file, &state, sizeof state));
    try(rename("state.new", "state"));
}

// The pidfd of the container's process, by which it can't be mistaken for another one, or -1.
static int living(const struct state *state) {
    int pidfd = pidfd_open(state->pid, 0);
    return pidfd >= 0 && start_time(state->pid) == state->start ? pidfd : -1;
}

// --- the commands ---

static int run(void) {
    int pidfd;
    pid_t pid;
    int cgroup = make_cgroup();
    open_binds();
    if (in_child(NAMESPACES, cgroup, &pidfd, &pid)) {
        make_root();
        try(sethostname(HOSTNAME, sizeof HOSTNAME - 1));
        try(setsid());
        become_user();
        become_program((char *const *)arguments);
    }
    int status = wait_for(pidfd);
    try(rmdir(cgroup_path));
    return status;
}

static int create(void) {
    int pidfd, ready[2];
    pid_t pid;
    char byte = 0;
    try(mkfifo("start", 0600));
    int start = try(open("start", O_RDWR | O_CLOEXEC));
    try(pipe2(ready, O_CLOEXEC));
    int cgroup = make_cgroup();
    open_binds();
    if (in_child(NAMESPACES, cgroup, &pidfd, &pid)) {
        make_root();
        try(sethostname(HOSTNAME, sizeof HOSTNAME - 1));
        try(setsid());
        become_user();
        try(write(ready[1], &byte, 1));
        close(ready[1]);
        try(read(start, &byte, 1));
        become_program((char *const *)arguments);
    }
    close(ready[1]);
    write_state(pid);
    return read(ready[0], &byte, 1) == 1 ? 0 : 255;
}

static int start(void) {
    struct state state = read_state();
    if (living(&state) < 0)
        fail("start");
    int file = try(open("start", O_WRONLY | O_NONBLOCK | O_CLOEXEC));
    try(write(file, "", 1));
    return 0;
}

static int delete(const char *id) {
    struct state state = read_state();
    if (living(&state) >= 0)
        fail("delete");
    try(rmdir(cgroup_path));
    try(unlink("start"));
    try(unlink("state"));
    try(chdir(".."));
    try(rmdir(id));
    return 0;
}

static int join(char *const *program) {
    int pidfd;
    pid_t pid;
    struct state state = read_state();
    int init = living(&state);
    if (init < 0)
        fail("exec");
    int cgroup = try(open(cgroup_path, O_DIRECTORY | O_RDONLY | O_CLOEXEC));
    try(setns(init, CLONE_NEWPID));
    if (in_child(0, cgroup, &pidfd, &pid)) {
        try(setns(init, NAMESPACES & ~CLONE_NEWPID));
        become_user();
        become_program(program);
    }
    return wait_for(pidfd);
}

int main(int count, char **words) {
    if (count < 5)
        return 2;
    const char *root = words[2], *verb = words[3];
    char **rest = words + 4;
    if (!strcmp(rest[0], "--bundle"))
        rest += 2;
    const char *id = rest[0];
    name_cgroup(id);
    if (!strcmp(verb, "run"))
        return run();
    if (chdir(root))
        fail(root);
    if (!strcmp(verb, "create"))
        try(mkdir(id, 0700));
    try(chdir(id));
    if (!strcmp(verb, "create"))
        return create();
    if (!strcmp(verb, "start"))
        return start();
    if (!strcmp(verb, "delete"))
        return delete(id);
    return join(rest + 1);
}
