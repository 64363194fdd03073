#include "io/file.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/err.h"
#include "base/mem.h"
#include "io/world.h"

static char *place(void **state, const char *name)
{
    return mem_printf("%s/%s", (const char *)*state, name);
}

static int make_folder(void **state)
{
    const char *tmp = getenv("TMPDIR");
    char *folder = mem_printf("%s/koan-file-XXXXXX", tmp != NULL ? tmp : "/tmp");
    *state = folder;
    return mkdtemp(folder) == NULL ? -1 : 0;
}

static int remove_name(void *arg, const char *name)
{
    char *path = mem_printf("%s/%s", (const char *)arg, name);
    if (unlink(path) != 0)
        rmdir(path);
    mem_free(path);
    return 0;
}

static int remove_folder(void **state)
{
    struct disk *d = disk_real();
    char *deep[] = {place(state, "a/b/c"), place(state, "a/b"), place(state, "a")};
    for (size_t i = 0; i < 3; i++) {
        rmdir(deep[i]);
        mem_free(deep[i]);
    }
    d->list(d, *state, remove_name, *state, NULL);
    rmdir(*state);
    mem_free(*state);
    return 0;
}

static int fail_on_tmp(void *arg, const char *name)
{
    (void)arg;
    return strstr(name, ".tmp") != NULL ? -1 : 0;
}

static void what_is_written_is_read_and_leaves_no_temporary_file(void **state)
{
    struct err e = ERR_INIT;
    struct disk *d = disk_real();
    AUTO(mem_freep) char *path = place(state, "x");
    AUTO(mem_freep) char *text = NULL;
    size_t n = 0;
    assert_int_equal(file_write(path, "old", 3, 0600, &e), 0);
    assert_int_equal(file_write(path, "hello", 5, 0600, &e), 0);
    assert_int_equal(file_read(path, 5, &text, &n, &e), 0);
    assert_int_equal(n, 5);
    assert_string_equal(text, "hello");
    assert_int_equal(d->list(d, *state, fail_on_tmp, NULL, &e), 0);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void reading_is_bounded_and_errors_name_the_path(void **state)
{
    struct err e = ERR_INIT;
    AUTO(mem_freep) char *path = place(state, "x");
    char *text = NULL;
    assert_int_equal(file_read(path, 10, &text, NULL, &e), ERR_NOT_FOUND);
    assert_non_null(strstr(e.text, path));
    assert_int_equal(file_write(path, "hello", 5, 0600, &e), 0);
    assert_int_equal(file_read(path, 4, &text, NULL, &e), ERR_TOO_LARGE);
    assert_int_equal(file_read(*state, 4, &text, NULL, &e), ERR_INVALID);
    assert_int_equal(file_read("/proc/self/status", 3, &text, NULL, &e), ERR_TOO_LARGE);
    assert_null(text);
    assert_int_equal(file_read("/proc/self/stat", 4096, &text, NULL, &e), 0);
    assert_true(strlen(text) > 10);
    mem_free(text);
}

static void folders_are_made_with_all_above_them(void **state)
{
    struct err e = ERR_INIT;
    AUTO(mem_freep) char *path = place(state, "a/b/c");
    AUTO(mem_freep) char *file = place(state, "f");
    AUTO(mem_freep) char *under = place(state, "f/g");
    assert_int_equal(file_mkdirs(path, &e), 0);
    assert_int_equal(file_mkdirs(path, &e), 0);
    assert_true(file_is_dir(path));
    assert_int_equal(file_write(file, "", 0, 0600, &e), 0);
    assert_int_equal(file_mkdirs(under, &e), ERR_CONFLICT);
    assert_non_null(strstr(e.text, file));
}

static void a_second_process_is_refused_the_lock_and_told_who_has_it(void **state)
{
    struct err e = ERR_INIT;
    AUTO(mem_freep) char *path = place(state, "LOCK");
    int handle = file_lock(path, &e);
    assert_true(handle >= 0);
    char pid[16];
    snprintf(pid, sizeof pid, "process %d ", (int)getpid());
    pid_t child = fork();
    if (child == 0) {
        struct err ce = ERR_INIT;
        int rc = file_lock(path, &ce);
        _exit(rc == ERR_CONFLICT && strstr(ce.text, pid) != NULL ? 7 : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(WEXITSTATUS(status), 7);
    file_unlock(handle);
    handle = file_lock(path, &e);
    assert_true(handle >= 0);
    file_unlock(handle);
}

static void the_disk_reads_writes_and_reports_its_files(void **state)
{
    struct err e = ERR_INIT;
    struct disk *d = disk_real();
    AUTO(mem_freep) char *a = place(state, "a1");
    AUTO(mem_freep) char *b = place(state, "b1");
    struct disk_file *f;
    char back[8] = "";
    assert_int_equal(d->open(d, a, DISK_READ, &f, &e), ERR_NOT_FOUND);
    assert_int_equal(d->open(d, a, DISK_READ | DISK_WRITE | DISK_CREATE, &f, &e), 0);
    assert_int_equal(d->write(f, "world", 5, 5, &e), 0);
    assert_int_equal(d->write(f, "hello", 5, 0, &e), 0);
    assert_int_equal(d->sync(f, &e), 0);
    assert_int_equal(d->size(f, &e), 10);
    assert_int_equal(d->read(f, back, 7, 3, &e), 7);
    assert_memory_equal(back, "loworld", 7);
    assert_int_equal(d->read(f, back, 7, 8, &e), 2);
    assert_int_equal(d->truncate(f, 4, &e), 0);
    assert_int_equal(d->size(f, &e), 4);
    d->close(f);
    assert_int_equal(d->open(d, a, DISK_WRITE | DISK_EXCLUSIVE, &f, &e), ERR_CONFLICT);
    assert_int_equal(d->rename(d, a, b, &e), 0);
    assert_int_equal(d->sync_dir(d, *state, &e), 0);
    assert_int_equal(d->unlink(d, a, &e), ERR_NOT_FOUND);
    assert_int_equal(d->unlink(d, b, &e), 0);
    uint64_t left = 0, total = 0;
    assert_int_equal(d->space(d, *state, &left, &total, &e), 0);
    assert_true(total > 0 && left <= total);
    assert_int_equal(d->mkdir(d, *state, &e), 0);
}

static int stop_at_first(void *arg, const char *name)
{
    (void)name;
    ++*(int *)arg;
    return 42;
}

static void listing_stops_when_told_to(void **state)
{
    struct err e = ERR_INIT;
    struct disk *d = disk_real();
    AUTO(mem_freep) char *a = place(state, "a1");
    AUTO(mem_freep) char *b = place(state, "b1");
    int seen = 0;
    file_write(a, "", 0, 0600, &e);
    file_write(b, "", 0, 0600, &e);
    assert_int_equal(d->list(d, *state, stop_at_first, &seen, &e), 42);
    assert_int_equal(seen, 1);
}

static void failures_are_said_in_plain_words(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    assert_int_equal(file_error(&e, ENOSPC, "write", "/d/x"), ERR_DISK_FULL);
    assert_string_equal(e.text, "/d/x: cannot write: the disk is full; free some space");
    assert_int_equal(file_error(&e, EROFS, "write", "/d/x"), ERR_IO);
    assert_non_null(strstr(e.text, "read-only"));
    assert_int_equal(file_error(&e, EACCES, "open", "/d/x"), ERR_IO);
    assert_non_null(strstr(e.text, "no permission"));
    if (access("/dev/full", W_OK) == 0)
        assert_int_equal(file_error(&e, ENOSPC, "write", "/dev/full"), ERR_DISK_FULL);
}

static void a_full_device_is_a_full_disk(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    struct disk *d = disk_real();
    struct disk_file *f;
    if (access("/dev/full", W_OK) != 0)
        skip();
    assert_int_equal(d->open(d, "/dev/full", DISK_WRITE, &f, &e), 0);
    assert_int_equal(d->write(f, "x", 1, 0, &e), ERR_DISK_FULL);
    d->close(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_written_is_read_and_leaves_no_temporary_file,
                                        make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(reading_is_bounded_and_errors_name_the_path, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(folders_are_made_with_all_above_them, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(a_second_process_is_refused_the_lock_and_told_who_has_it,
                                        make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(the_disk_reads_writes_and_reports_its_files, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(listing_stops_when_told_to, make_folder, remove_folder),
        cmocka_unit_test(failures_are_said_in_plain_words),
        cmocka_unit_test(a_full_device_is_a_full_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
