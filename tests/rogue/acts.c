/* SPDX-License-Identifier: Apache-2.0 */
#include "acts.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
  LINE = 900,
  PORT_OF_NOBODY = 9,
  DONE = 10,
  REFUSED = 11,
  UNSEALED = 12,
  PATIENCE_S = 20,
  VICTIM_S = 60
};

/* Made before the seal. -1 where even that is not possible. */
static int tcp = -1, udp = -1, local = -1, listener = -1, program_fd = -1;
static char file[40], moved[sizeof file + 2];
static volatile int other_word; /* the victim's too */
static pid_t victim_pid = -1;

static struct sockaddr_in nobody(uint16_t port)
{
  return (struct sockaddr_in){.sin_family = AF_INET,
                              .sin_port = htons(port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

/* A call's result: whether it got past the walls. */
static bool passed(long result)
{
  return result >= 0 || (errno != EPERM && errno != EACCES && errno != ENOSYS);
}

/* The same of a call with a descriptor that was made before the seal; who has none does nothing with it. */
static bool passed_with(int fd, long result)
{
  return passed(result) && fd >= 0;
}

/* The same of paths: in an empty root there is nothing to be found. */
static bool found(long result)
{
  return result >= 0 || (passed(result) && errno != ENOENT);
}

/* ---- sockets ---- */

static bool make_tcp(void)
{
  return passed(socket(AF_INET, SOCK_STREAM, 0));
}
static bool make_udp(void)
{
  return passed(socket(AF_INET6, SOCK_DGRAM, 0));
}
static bool make_unix(void)
{
  return passed(socket(AF_UNIX, SOCK_STREAM, 0));
}
static bool make_netlink(void)
{
  return passed(socket(AF_NETLINK, SOCK_RAW, 0));
}
static bool make_raw(void)
{
  return passed(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
}
static bool make_packet(void)
{
  return passed(socket(AF_PACKET, SOCK_RAW, 0));
}
static bool make_mptcp(void)
{
  return passed(socket(AF_INET, SOCK_STREAM, 262));
}
static bool make_pair(void)
{
  int pair[2];
  return passed(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair));
}
/* Either end could be connected anew, and send to any address. */
static bool make_datagram_pair(void)
{
  int pair[2];
  return passed(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
}
static bool connect_to(int fd)
{
  struct sockaddr_in sa = nobody(PORT_OF_NOBODY);
  return passed_with(fd, connect(fd, (const struct sockaddr *)&sa, sizeof sa));
}
static bool connect_tcp(void)
{
  return connect_to(tcp);
}
static bool connect_udp(void)
{
  return connect_to(udp);
}
static bool connect_unix(void)
{
  struct sockaddr_un sa = {.sun_family = AF_UNIX, .sun_path = "/run/nobody"};
  return passed_with(local, connect(local, (const struct sockaddr *)&sa, sizeof sa));
}
static bool fast_sendto(void)
{
  struct sockaddr_in sa = nobody(PORT_OF_NOBODY);
  return passed_with(tcp, sendto(tcp, "x", 1, MSG_FASTOPEN | MSG_NOSIGNAL, (const struct sockaddr *)&sa,
                                 sizeof sa));
}
static struct msghdr message(struct sockaddr_in *sa, struct iovec *iov)
{
  *iov = (struct iovec){(void *)(uintptr_t) "x", 1};
  return (struct msghdr){.msg_name = sa, .msg_namelen = sizeof *sa, .msg_iov = iov, .msg_iovlen = 1};
}
static bool fast_sendmsg(void)
{
  struct sockaddr_in sa = nobody(PORT_OF_NOBODY);
  struct iovec iov;
  struct msghdr m = message(&sa, &iov);
  return passed_with(tcp, sendmsg(tcp, &m, MSG_FASTOPEN | MSG_NOSIGNAL));
}
static bool fast_sendmmsg(void)
{
  struct sockaddr_in sa = nobody(PORT_OF_NOBODY);
  struct iovec iov;
  struct mmsghdr m = {.msg_hdr = message(&sa, &iov)};
  return passed_with(tcp, sendmmsg(tcp, &m, 1, MSG_FASTOPEN | MSG_NOSIGNAL));
}
static bool shut_listener(void)
{
  return passed_with(listener, shutdown(listener, SHUT_RDWR));
}
/* The way that led out of a resolver once: a listener shut down is a socket that can be connected. */
static bool listener_out(void)
{
  struct sockaddr_in sa = nobody(PORT_OF_NOBODY);
  shutdown(listener, SHUT_RDWR);
  return passed_with(listener, sendto(listener, "x", 1, MSG_FASTOPEN | MSG_NOSIGNAL,
                                      (const struct sockaddr *)&sa, sizeof sa));
}
static bool send_datagram(void)
{
  struct sockaddr_in sa = nobody(PORT_OF_NOBODY);
  struct iovec iov;
  struct msghdr m = message(&sa, &iov);
  return passed_with(udp, sendmsg(udp, &m, MSG_NOSIGNAL));
}
static bool bind_tcp(void)
{
  struct sockaddr_in sa = nobody(47);
  return passed_with(tcp, bind(tcp, (const struct sockaddr *)&sa, sizeof sa));
}
static bool listen_tcp(void)
{
  return passed_with(listener, listen(listener, 1));
}
static bool filter_socket(void)
{
  return passed_with(udp, setsockopt(udp, SOL_SOCKET, 26 /* SO_ATTACH_FILTER */, "", 0));
}

/* ---- programs, processes, threads ---- */

static bool run_program(void)
{
  char *argv[] = {(char *)(uintptr_t) "true", NULL};
  return found(syscall(SYS_execve, "/bin/true", argv, NULL));
}
static bool run_descriptor(void)
{
  char *argv[] = {(char *)(uintptr_t) "true", NULL};
  return passed_with(program_fd, syscall(SYS_execveat, program_fd, "", argv, NULL, 0x1000));
}
static bool make_process(void)
{
  long pid = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
  if (pid == 0)
    syscall(SYS_exit_group, 0);
  return passed(pid);
}
static bool make_process3(void)
{
  struct {
    uint64_t flags, pidfd, child, parent, signal, rest[3];
  } args = {.signal = SIGCHLD};
  long pid = syscall(SYS_clone3, &args, sizeof args);
  if (pid == 0)
    syscall(SYS_exit_group, 0);
  return passed(pid);
}
static void *nothing(void *arg)
{
  return arg;
}
static bool make_thread(void)
{
  pthread_t t;
  int error = pthread_create(&t, NULL, nothing, NULL);
  if (error == 0)
    pthread_join(t, NULL);
  errno = error;
  return error == 0;
}
static bool trace(void)
{
  return passed(syscall(SYS_ptrace, PTRACE_SEIZE, victim_pid, 0, 0));
}
static bool other_memory(long call)
{
  int word = 1;
  struct iovec mine = {&word, sizeof word}, theirs = {(void *)(uintptr_t)&other_word, sizeof word};
  return passed(syscall(call, victim_pid, &mine, 1, &theirs, 1, 0));
}
static bool read_memory(void)
{
  return other_memory(SYS_process_vm_readv);
}
static bool write_memory(void)
{
  return other_memory(SYS_process_vm_writev);
}
static bool steal_descriptor(void)
{
  long fd = syscall(SYS_pidfd_open, victim_pid, 0);
  return passed(fd) && passed(syscall(SYS_pidfd_getfd, fd, 0, 0));
}

/* ---- signals ---- */

static bool kill_other(void)
{
  return passed(kill(victim_pid, SIGKILL));
}
static bool kill_thread(void)
{
  return passed(syscall(SYS_tgkill, victim_pid, victim_pid, 0));
}
static bool set_owner(void)
{
  return passed_with(udp, fcntl(udp, F_SETOWN, victim_pid));
}
static bool set_signal(void)
{
  return passed_with(udp, fcntl(udp, F_SETSIG, SIGKILL));
}
static bool set_async(void)
{
  return passed_with(udp, fcntl(udp, F_SETFL, O_ASYNC | O_NONBLOCK));
}
static bool set_async_ioctl(void)
{
  int on = 1;
  return passed_with(udp, ioctl(udp, FIOASYNC, &on));
}

/* ---- files ---- */

static bool read_file(void)
{
  return found(open("/etc/shadow", O_RDONLY));
}
static bool write_file(void)
{
  return found(open(file, O_WRONLY));
}
static bool make_file(void)
{
  return found(open(moved, O_WRONLY | O_CREAT, 0600));
}
static bool remove_file(void)
{
  return found(unlink(file));
}
static bool move_file(void)
{
  return found(rename(file, moved));
}
static bool link_file(void)
{
  return found(link(file, moved));
}
static bool link_soft(void)
{
  return found(symlink("/etc/shadow", moved));
}
static bool cut_file(void)
{
  return found(truncate(file, 0));
}
static bool make_folder(void)
{
  return found(mkdir(moved, 0700));
}
static bool open_modes(void)
{
  return found(chmod(file, 0666));
}
/* Where it may write: whoever runs the file then is its owner, root perhaps. */
static bool file_of_owner(void)
{
  static const char own[] = "smpl-acts-own";
  int fd = open(own, O_WRONLY | O_CREAT, 04711);
  bool made = found(fd);
  if (fd < 0)
    fd = open(own, O_WRONLY | O_CREAT, 0600);
  made = made || (fd >= 0 && passed(fchmod(fd, 04711)));
  unlink(own);
  return made;
}
static bool make_device(void)
{
  return found(mknod(moved, S_IFCHR | 0600, 0x103));
}
static bool open_handle(void)
{
  struct {
    unsigned bytes;
    int type;
    char handle[8];
  } handle = {8, 1, ""};
  return passed(syscall(SYS_open_by_handle_at, -1, &handle, O_RDONLY));
}

/* ---- memory ---- */

static bool code_by_mprotect(void)
{
  void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return p != MAP_FAILED && passed(mprotect(p, 4096, PROT_READ | PROT_EXEC));
}
static bool code_by_mmap(void)
{
  return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED;
}
static bool writable_code(void)
{
  return mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
         MAP_FAILED;
}
static bool code_by_pkey(void)
{
  void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return p != MAP_FAILED && passed(syscall(SYS_pkey_mprotect, p, 4096, PROT_READ | PROT_EXEC, -1));
}
/* What can be read can be executed from then on, whatever mmap is asked for. */
static bool code_by_personality(void)
{
  return passed(syscall(SYS_personality, READ_IMPLIES_EXEC));
}
static bool code_in_memory_file(void)
{
  long fd = syscall(SYS_memfd_create, "x", 0);
  return fd >= 0 && ftruncate((int)fd, 4096) == 0 &&
         mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_SHARED, (int)fd, 0) != MAP_FAILED;
}
static bool memory_file(void)
{
  return passed(syscall(SYS_memfd_create, "x", 0));
}

/* ---- the kernel ---- */

#define CALL(function, ...)                                                                                  \
  static bool function(void)                                                                                 \
  {                                                                                                          \
    return passed(syscall(__VA_ARGS__));                                                                     \
  }
CALL(io_uring, SYS_io_uring_setup, 1, 0)
CALL(unshare_users, SYS_unshare, 0)
CALL(set_namespace, SYS_setns, -1, 0)
CALL(change_root, SYS_chroot, "/")
CALL(mount_it, SYS_mount, 0, "/nowhere", 0, 0, 0)
CALL(pivot, SYS_pivot_root, "/nowhere", "/nowhere")
CALL(keyring, SYS_keyctl, 9999, 0, 0, 0, 0)
CALL(add_a_key, SYS_add_key, 0, 0, 0, 0, 0)
CALL(use_bpf, SYS_bpf, 9999, 0, 0)
CALL(user_faults, SYS_userfaultfd, ~0)
CALL(perf, SYS_perf_event_open, 0, 0, -1, -1, 0)
CALL(load_module, SYS_finit_module, -1, "", 0)
CALL(load_kernel, SYS_kexec_load, 0, 0, 0, ~0UL)
CALL(set_clock, SYS_clock_settime, 0, 0)
CALL(name_host, SYS_sethostname, 0, 5)
CALL(become_root, SYS_setresuid, -1, -1, -1)
CALL(take_capabilities, SYS_capset, 0, 0)
CALL(be_traced, SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0)
CALL(watch_files, SYS_fanotify_init, ~0, 0)
CALL(inject_input, SYS_ioctl, 0, TIOCSTI, "x")

typedef struct act {
  const char *name; /* as SECURITY.md has it */
  bool (*run)(void);
} act_t;

static const act_t acts[] = {
    {"make a TCP socket", make_tcp},
    {"make a UDP socket", make_udp},
    {"make a unix socket", make_unix},
    {"make a pair of unix sockets", make_pair},
    {"make a pair of unix sockets for datagrams", make_datagram_pair},
    {"make a netlink socket", make_netlink},
    {"make a raw socket", make_raw},
    {"make a packet socket", make_packet},
    {"make an MPTCP socket", make_mptcp},
    {"connect by TCP to a port that no configuration names", connect_tcp},
    {"connect a UDP socket", connect_udp},
    {"connect a unix socket", connect_unix},
    {"connect by sendto with MSG_FASTOPEN", fast_sendto},
    {"connect by sendmsg with MSG_FASTOPEN", fast_sendmsg},
    {"connect by sendmmsg with MSG_FASTOPEN", fast_sendmmsg},
    {"shut a listener down", shut_listener},
    {"connect a listener that was shut down", listener_out},
    {"send a datagram to any address", send_datagram},
    {"bind a TCP socket to a port of its choice", bind_tcp},
    {"listen", listen_tcp},
    {"attach a filter to a socket", filter_socket},
    {"run a program", run_program},
    {"run a program by its descriptor", run_descriptor},
    {"make a process", make_process},
    {"make a process by clone3", make_process3},
    {"make a thread", make_thread},
    {"trace another process", trace},
    {"read another process's memory", read_memory},
    {"write another process's memory", write_memory},
    {"take another process's descriptor", steal_descriptor},
    {"signal another process", kill_other},
    {"signal another process's thread", kill_thread},
    {"signal by F_SETOWN", set_owner},
    {"choose the signal by F_SETSIG", set_signal},
    {"signal by O_ASYNC", set_async},
    {"signal by FIOASYNC", set_async_ioctl},
    {"read a file that it was not started with", read_file},
    {"write such a file", write_file},
    {"make a file elsewhere", make_file},
    {"remove such a file", remove_file},
    {"rename such a file", move_file},
    {"link such a file", link_file},
    {"make a symbolic link", link_soft},
    {"cut such a file short", cut_file},
    {"make a folder", make_folder},
    {"change modes", open_modes},
    {"make a set-user-ID file where it may write", file_of_owner},
    {"make a device", make_device},
    {"open a file by its handle", open_handle},
    {"make memory executable by mprotect", code_by_mprotect},
    {"map executable memory", code_by_mmap},
    {"map memory that is writable and executable", writable_code},
    {"make memory executable by pkey_mprotect", code_by_pkey},
    {"make memory executable by personality", code_by_personality},
    {"make a file in memory", memory_file},
    {"execute a file in memory", code_in_memory_file},
    {"io_uring", io_uring},
    {"unshare", unshare_users},
    {"enter a namespace", set_namespace},
    {"change the root folder", change_root},
    {"mount", mount_it},
    {"pivot_root", pivot},
    {"keyctl", keyring},
    {"add a key to a keyring", add_a_key},
    {"bpf", use_bpf},
    {"userfaultfd", user_faults},
    {"perf_event_open", perf},
    {"load a kernel module", load_module},
    {"load another kernel", load_kernel},
    {"set the clock", set_clock},
    {"set the host's name", name_host},
    {"change its user", become_root},
    {"change its capabilities", take_capabilities},
    {"let itself be traced", be_traced},
    {"fanotify", watch_files},
    {"type into the terminal", inject_input},
};
enum { ACTS = sizeof acts / sizeof *acts };

/* ---- running them ---- */

/* A process that none of the walls is around. */
void acts_before_walls(void)
{
  victim_pid = _Fork();
  if (victim_pid != 0)
    return;
  close_range(0, ~0u, 0);
  for (int second = 0; second < VICTIM_S && getppid() != 1; second++)
    poll(NULL, 0, 1000);
  _exit(0);
}

static void prepare(void)
{
  struct sockaddr_in any = nobody(0);
  snprintf(file, sizeof file, "/tmp/smpl-acts-%d", (int)getpid());
  snprintf(moved, sizeof moved, "%s-m", file);
  tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  local = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (bind(listener, (const struct sockaddr *)&any, sizeof any) == 0)
    listen(listener, 1);
  program_fd = open("/bin/true", O_RDONLY);
}

/* Each act finds the same files. */
static void renew_files(void)
{
  unlink(moved);
  rmdir(moved);
  int fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (fd >= 0)
    close(fd);
}

static void undo(void)
{
  unlink(file);
  unlink(moved);
  rmdir(moved);
}

static const char *result_of(int status, char *buf, size_t cap)
{
  if (WIFEXITED(status) && (WEXITSTATUS(status) == DONE || WEXITSTATUS(status) == REFUSED))
    return WEXITSTATUS(status) == DONE ? "yes" : "no";
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
    return "ends";
  /* A program that was run in its place, and ended well. */
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
    return "yes";
  snprintf(buf, cap, "status %x", (unsigned)status);
  return buf;
}

static int attempt(const act_t *act, int (*load)(void *ctx), void *ctx)
{
  int status = 0;
  pid_t pid = _Fork();
  if (pid == 0) {
    alarm(PATIENCE_S);
    if (load != NULL && load(ctx) != 0)
      _exit(UNSEALED);
    _exit(act->run() ? DONE : REFUSED);
  }
  while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return pid > 0 ? status : -1;
}

/* Not by stdio, which asks first where it stands. */
static void say(const char *line)
{
  ssize_t n = write(STDERR_FILENO, line, strlen(line));
  n = write(STDERR_FILENO, "\n", 1);
  (void)n;
}

void acts_run(const char *program, int (*load)(void *ctx), void *ctx)
{
  char line[LINE] = "", text[128], buf[32];
  prepare();
  for (int i = 0; i < ACTS; i++) {
    renew_files();
    int status = attempt(&acts[i], load, ctx);
    snprintf(text, sizeof text, "%s=%s; ", acts[i].name, result_of(status, buf, sizeof buf));
    if (line[0] == '\0' || strlen(line) + strlen(text) + 2 >= sizeof line) {
      if (line[0] != '\0')
        say(line);
      snprintf(line, sizeof line, "acts %s: ", program);
    }
    strncat(line, text, sizeof line - strlen(line) - 1);
  }
  say(line);
  snprintf(line, sizeof line, "acts %s: all were tried", program);
  say(line);
  undo();
  close(tcp);
  close(udp);
  close(local);
  close(listener);
  close(program_fd);
}
