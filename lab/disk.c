/*
 * A disk that fails on command: loaded before libc (LD_PRELOAD), it lets file operations below one path fail.
 *
 * The file named by $LAB_DISK is mapped and holds three things: an errno (int; 0: all is well), whether reading fails
 * too (int), and the path (NUL-terminated). Writing, syncing, and opening for writing fail; with the second number,
 * reading and every opening, too.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

struct control {
    volatile int error;
    volatile int reading;
    char path[1000];
};

static struct control *control;

__attribute__((constructor)) static void begin(void)
{
    const char *name = getenv("LAB_DISK");
    int fd = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *mapped = mmap(NULL, sizeof(struct control), PROT_READ, MAP_SHARED, fd, 0);
    control = mapped == MAP_FAILED ? NULL : mapped;
    close(fd);
}

static int below(const char *path)
{
    return strncmp(path, control->path, strlen(control->path)) == 0;
}

/* Tell whether an operation on this descriptor fails now; sets errno. */
static int fails(int fd, int writing)
{
    char link[64], path[4096];
    if (!control || !control->error || !(writing || control->reading))
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    if (!below(path))
        return 0;
    errno = control->error;
    return 1;
}

static int refused(const char *path, int flags)
{
    int writing = (flags & O_ACCMODE) != O_RDONLY || (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE;
    if (!control || !control->error || !(writing || control->reading) || !below(path))
        return 0;
    errno = control->error;
    return 1;
}

#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) \
        real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

#define MODE(flags, mode) \
    mode_t mode = 0; \
    if ((flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE) { \
        va_list rest; \
        va_start(rest, flags); \
        mode = va_arg(rest, mode_t); \
        va_end(rest); \
    }

#define OPEN(name) \
    int name(const char *path, int flags, ...) \
    { \
        REAL(int, #name, const char *, int, ...); \
        MODE(flags, mode) \
        return refused(path, flags) ? -1 : real(path, flags, mode); \
    }

#define OPENAT(name) \
    int name(int folder, const char *path, int flags, ...) \
    { \
        REAL(int, #name, int, const char *, int, ...); \
        MODE(flags, mode) \
        return refused(path, flags) ? -1 : real(folder, path, flags, mode); \
    }

#define ON_FD(type, name, writing, parameters, names, ...) \
    type name parameters \
    { \
        REAL(type, #name, __VA_ARGS__); \
        return fails(fd, writing) ? -1 : real names; \
    }

OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)
ON_FD(ssize_t, write, 1, (int fd, const void *data, size_t size), (fd, data, size), int, const void *, size_t)
ON_FD(ssize_t, writev, 1, (int fd, const struct iovec *data, int count), (fd, data, count), int,
      const struct iovec *, int)
ON_FD(ssize_t, pwrite, 1, (int fd, const void *data, size_t size, off_t at), (fd, data, size, at), int,
      const void *, size_t, off_t)
ON_FD(ssize_t, pwrite64, 1, (int fd, const void *data, size_t size, off64_t at), (fd, data, size, at), int,
      const void *, size_t, off64_t)
ON_FD(ssize_t, pread, 0, (int fd, void *data, size_t size, off_t at), (fd, data, size, at), int, void *, size_t,
      off_t)
ON_FD(ssize_t, pread64, 0, (int fd, void *data, size_t size, off64_t at), (fd, data, size, at), int, void *,
      size_t, off64_t)
ON_FD(int, ftruncate, 1, (int fd, off_t size), (fd, size), int, off_t)
ON_FD(int, ftruncate64, 1, (int fd, off64_t size), (fd, size), int, off64_t)
ON_FD(int, fsync, 1, (int fd), (fd), int)
ON_FD(int, fdatasync, 1, (int fd), (fd), int)
