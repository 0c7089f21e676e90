/* A disk whose every sync takes 5 ms longer: preloaded into the gateway by the bench `once`. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>

static int slowed(const char *name, int file) {
    int (*sync)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    int result = sync(file);
    struct timespec longer = {0, 5000000};
    nanosleep(&longer, 0);
    return result;
}

int fsync(int file) { return slowed("fsync", file); }

int fdatasync(int file) { return slowed("fdatasync", file); }
