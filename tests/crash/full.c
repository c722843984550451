/* Loaded before libc into a server: while the file `$FULL_FLAG` is there, the disk under `$FULL_DATA` is full.
 *
 * What is to be written is written to its half, as the last blocks of a disk take it, and the rest is refused; nothing
 * new is made there. With `$FULL_SYNCS` one time in three it is written whole, and syncing is refused. Reading and removing
 * go on.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(name, ...) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))(__VA_ARGS__)

static int is_full(void) {
    const char *flag = getenv("FULL_FLAG");
    struct stat facts;
    return flag && stat(flag, &facts) == 0;
}

static int is_data(const char *path) {
    const char *data = getenv("FULL_DATA");
    return data && strncmp(path, data, strlen(data)) == 0;
}

static int refuses(int fd) {
    char self[64], path[PATH_MAX];
    if (!is_full()) return 0;
    snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(self, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return is_data(path);
}

static int refuse(void) {
    errno = ENOSPC;
    return -1;
}

static int is_let(void) {
    static unsigned writes;
    return getenv("FULL_SYNCS") && __atomic_fetch_add(&writes, 1, __ATOMIC_RELAXED) % 3 == 0;
}

/* Half of so many octets; of the last one nothing. */
#define HALF(fd, size, call) \
    (!refuses(fd) || is_let() ? call(size) : (size) < 2 ? refuse() : call((size) / 2))

ssize_t write(int fd, const void *from, size_t size) {
#define CALL(n) REAL(write, fd, from, n)
    return HALF(fd, size, CALL);
#undef CALL
}

ssize_t pwrite(int fd, const void *from, size_t size, off_t at) {
#define CALL(n) REAL(pwrite, fd, from, n, at)
    return HALF(fd, size, CALL);
#undef CALL
}

ssize_t pwrite64(int fd, const void *from, size_t size, off64_t at) {
#define CALL(n) REAL(pwrite64, fd, from, n, at)
    return HALF(fd, size, CALL);
#undef CALL
}

ssize_t writev(int fd, const struct iovec *from, int count) {
    return refuses(fd) ? refuse() : REAL(writev, fd, from, count);
}

int ftruncate(int fd, off_t size) {
    struct stat facts;
    return refuses(fd) && fstat(fd, &facts) == 0 && size > facts.st_size ? refuse() : REAL(ftruncate, fd, size);
}

int ftruncate64(int fd, off64_t size) {
    struct stat facts;
    return refuses(fd) && fstat(fd, &facts) == 0 && size > facts.st_size ? refuse() : REAL(ftruncate64, fd, size);
}

int fallocate(int fd, int mode, off_t at, off_t size) {
    return refuses(fd) ? refuse() : REAL(fallocate, fd, mode, at, size);
}

int fallocate64(int fd, int mode, off64_t at, off64_t size) {
    return refuses(fd) ? refuse() : REAL(fallocate64, fd, mode, at, size);
}

int posix_fallocate(int fd, off_t at, off_t size) {
    return refuses(fd) ? ENOSPC : REAL(posix_fallocate, fd, at, size);
}

int fsync(int fd) {
    return getenv("FULL_SYNCS") && refuses(fd) ? refuse() : REAL(fsync, fd);
}

int fdatasync(int fd) {
    return getenv("FULL_SYNCS") && refuses(fd) ? refuse() : REAL(fdatasync, fd);
}

int mkdir(const char *path, mode_t mode) {
    return is_full() && is_data(path) ? refuse() : REAL(mkdir, path, mode);
}

int rename(const char *from, const char *to) {
    return is_full() && is_data(to) ? refuse() : REAL(rename, from, to);
}

int link(const char *from, const char *to) {
    return is_full() && is_data(to) ? refuse() : REAL(link, from, to);
}

static int makes(const char *path, int flags) {
    struct stat facts;
    return (flags & O_CREAT) && is_full() && is_data(path) && stat(path, &facts) != 0;
}

#define OPEN(name)                                   \
    int name(const char *path, int flags, ...) {     \
        va_list rest;                                \
        va_start(rest, flags);                       \
        mode_t mode = va_arg(rest, mode_t);          \
        va_end(rest);                                \
        if (makes(path, flags)) return refuse();     \
        return REAL(name, path, flags, mode);        \
    }

OPEN(open)
OPEN(open64)

#define OPENAT(name)                                       \
    int name(int at, const char *path, int flags, ...) {   \
        va_list rest;                                      \
        va_start(rest, flags);                             \
        mode_t mode = va_arg(rest, mode_t);                \
        va_end(rest);                                      \
        if (makes(path, flags)) return refuse();           \
        return REAL(name, at, path, flags, mode);          \
    }

OPENAT(openat)
OPENAT(openat64)
