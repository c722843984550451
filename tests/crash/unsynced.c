/* Loaded before libc into a server: keeps, beside the data folder, what a power failure would leave of it.
 *
 * A file's octets are durable once fsync or fdatasync of it returned; a folder's names once the folder was synced.
 * `$UNSYNCED_SHADOW/inodes/N` holds the durable octets of inode N, `$UNSYNCED_SHADOW/names` appends a listing for
 * each sync of a folder. Files of RocksDB only grow, so only what is new is copied. Unlinked and replaced files stay
 * linked in `grave`, so that no inode is used twice.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static const char *data(void) { return getenv("UNSYNCED_DATA"); }
static const char *shadow(void) { return getenv("UNSYNCED_SHADOW"); }

static int ours(const char *path) {
    return data() && shadow() && strncmp(path, data(), strlen(data())) == 0;
}

static void fail(const char *what) {
    perror(what);
    abort();
}

static void keep_octets(int fd, const struct stat *facts) {
    char name[PATH_MAX], buffer[1 << 16];
    snprintf(name, sizeof name, "%s/inodes/%lu", shadow(), (unsigned long)facts->st_ino);
    int to = open(name, O_WRONLY | O_CREAT | O_APPEND, 0600);
    struct stat kept;
    if (to < 0 || fstat(to, &kept)) fail("unsynced: inode");
    for (off_t at = kept.st_size; at < facts->st_size;) {
        char self[64];
        snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
        /* The server's own descriptor may be write-only. */
        int from = open(self, O_RDONLY);
        if (from < 0) fail("unsynced: open");
        off_t want = facts->st_size - at;
        ssize_t n = pread(from, buffer, want < (off_t)sizeof buffer ? (size_t)want : sizeof buffer, at);
        close(from);
        if (n <= 0 || write(to, buffer, (size_t)n) != n) fail("unsynced: copy");
        at += n;
    }
    close(to);
}

static void keep_names(const char *path) {
    char name[PATH_MAX];
    snprintf(name, sizeof name, "%s/names", shadow());
    FILE *to = fopen(name, "a");
    DIR *folder = opendir(path);
    if (!to || !folder) fail("unsynced: names");
    fprintf(to, "folder %s\n", path);
    for (struct dirent *entry; (entry = readdir(folder));) {
        if (entry->d_type == DT_REG) fprintf(to, "file %lu %s\n", (unsigned long)entry->d_ino, entry->d_name);
    }
    /* A listing without its end does not count. */
    fprintf(to, "end\n");
    closedir(folder);
    if (fclose(to)) fail("unsynced: names");
}

static void keep(int fd) {
    char self[64], path[PATH_MAX];
    struct stat facts;
    if (!data() || fstat(fd, &facts)) return;
    snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(self, path, sizeof path - 1);
    if (length < 0) return;
    path[length] = 0;
    if (!ours(path)) return;
    pthread_mutex_lock(&lock);
    if (S_ISDIR(facts.st_mode)) keep_names(path);
    else keep_octets(fd, &facts);
    pthread_mutex_unlock(&lock);
}

static void bury(const char *path) {
    static unsigned long graves;
    char name[PATH_MAX];
    if (!ours(path)) return;
    pthread_mutex_lock(&lock);
    snprintf(name, sizeof name, "%s/grave/%d.%lu", shadow(), (int)getpid(), graves++);
    /* What was never there needs no grave. */
    (void)!link(path, name);
    pthread_mutex_unlock(&lock);
}

int fsync(int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    int result = real(fd);
    if (result == 0) keep(fd);
    return result;
}

int fdatasync(int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    int result = real(fd);
    if (result == 0) keep(fd);
    return result;
}

int unlink(const char *path) {
    int (*real)(const char *) = (int (*)(const char *))dlsym(RTLD_NEXT, "unlink");
    bury(path);
    return real(path);
}

int rename(const char *from, const char *to) {
    int (*real)(const char *, const char *) = (int (*)(const char *, const char *))dlsym(RTLD_NEXT, "rename");
    bury(to);
    return real(from, to);
}
