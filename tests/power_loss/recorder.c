/* Preloaded into a process, writes down what of its files would be on the disk if the power failed now: the content of a
 * file, under "file-<inode>", as of its last fsync, and the names of a directory, under "directory-<inode>", as of its
 * own. A file that was never synced has no record. The directory of the records is $FTP_TEST_DURABLE. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

typedef int (*open_function)(const char *, int, ...);
typedef int (*sync_function)(int);

static open_function real_open;
static sync_function real_fsync, real_fdatasync;

__attribute__((constructor)) static void find(void) {
    real_open = (open_function)dlsym(RTLD_NEXT, "open64");
    real_fsync = (sync_function)dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = (sync_function)dlsym(RTLD_NEXT, "fdatasync");
}

static int record(char *path, size_t size, const char *kind, const struct stat *of) {
    const char *durable = getenv("FTP_TEST_DURABLE");
    if (!durable) return 0;
    snprintf(path, size, "%s/%s-%lu", durable, kind, (unsigned long)of->st_ino);
    return 1;
}

/* A record takes the place of the one before all at once: a process may be killed while it writes one. */
static int begin(const char *path, char *draft, size_t size) {
    snprintf(draft, size, "%s.%ld", path, (long)gettid());
    return real_open(draft, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
}

static void keep_file(int from, const struct stat *of) {
    char path[4096], draft[4128], link[64], buffer[65536];
    if (!record(path, sizeof path, "file", of)) return;
    /* Opened anew: this one may be for writing only, and its position is the program's. */
    snprintf(link, sizeof link, "/proc/self/fd/%d", from);
    int source = real_open(link, O_RDONLY | O_CLOEXEC);
    int copy = begin(path, draft, sizeof draft);
    ssize_t count;
    while (source >= 0 && copy >= 0 && (count = read(source, buffer, sizeof buffer)) > 0)
        if (write(copy, buffer, (size_t)count) != count) break;
    if (source >= 0) close(source);
    if (copy >= 0) close(copy);
    rename(draft, path);
}

static void keep_names(int directory, const struct stat *of) {
    char path[4096], draft[4128], link[64];
    if (!record(path, sizeof path, "directory", of)) return;
    snprintf(link, sizeof link, "/proc/self/fd/%d", directory);
    int copy = begin(path, draft, sizeof draft);
    DIR *names = opendir(link);
    struct dirent *name;
    while (copy >= 0 && names && (name = readdir(names))) dprintf(copy, "%s\n", name->d_name);
    if (names) closedir(names);
    if (copy >= 0) close(copy);
    rename(draft, path);
}

static int synced(int descriptor, sync_function real) {
    struct stat of;
    int known = fstat(descriptor, &of) == 0;
    /* What is added to a directory while it is being written need not be on the disk. */
    if (known && S_ISDIR(of.st_mode)) keep_names(descriptor, &of);
    int result = real(descriptor);
    if (result == 0 && known && S_ISREG(of.st_mode)) keep_file(descriptor, &of);
    return result;
}

int fsync(int descriptor) { return synced(descriptor, real_fsync); }
int fdatasync(int descriptor) { return synced(descriptor, real_fdatasync); }

static int opened(const char *file, int flags, mode_t mode) {
    int descriptor = real_open(file, flags, mode);
    struct stat of;
    char path[4096];
    /* Nothing of a file that is new or was emptied is on the disk, whoever had its inode before. */
    int fresh = (flags & O_TRUNC) || ((flags & O_CREAT) && (flags & O_EXCL));
    if (descriptor >= 0 && fresh && fstat(descriptor, &of) == 0 && S_ISREG(of.st_mode) && record(path, sizeof path, "file", &of))
        unlink(path);
    return descriptor;
}

int open64(const char *file, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return opened(file, flags, mode);
}

int open(const char *file, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return opened(file, flags, mode);
}
