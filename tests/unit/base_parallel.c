#include "test.h"

#include <stdatomic.h>
#include <unistd.h>

#include "base/parallel.h"

enum { COUNT = 1000, MOST_PIECES = 64 };

typedef struct Record {
    _Atomic int visits[COUNT];
    _Atomic int starts[COUNT]; /* length of the piece that begins here */
    _Atomic int pieces, bad_workers;
    int size;
} Record;

static void record_body(void *context, int64_t first, int64_t last, int worker) {
    Record *record = context;
    if (worker < 0 || worker >= record->size) record->bad_workers++;
    record->pieces++;
    record->starts[first] = (int)(last - first);
    for (int64_t i = first; i < last; ++i) record->visits[i]++;
}

/* Each index once, pieces of at least grain, and the same pieces every time. */
static void test_cover(int threads, int64_t count, int64_t grain) {
    static Record first, again;
    Allocator allocator = {0};
    Diag diag = {0};
    ThreadPool *pool = NULL;
    CHECK_OK(thread_pool_create(threads, &allocator, &pool, &diag), &diag);
    uint64_t allocations = allocator.count;
    for (int round = 0; round < 20; ++round) {
        Record *record = round == 0 ? &first : &again;
        memset(record, 0, sizeof *record);
        record->size = thread_pool_size(pool);
        parallel_for(pool, count, grain, record_body, record);
        for (int64_t i = 0; i < COUNT; ++i) CHECK_INT(record->visits[i], i < count);
        CHECK_INT(record->bad_workers, 0);
        for (int64_t i = 0; i < count; ++i) {
            CHECK(record->starts[i] == 0 || record->starts[i] >= (grain < count ? grain : count));
            CHECK_INT(record->starts[i], first.starts[i]);
        }
        CHECK(record->pieces <= MOST_PIECES);
    }
    CHECK_INT(allocator.count, allocations);
    thread_pool_destroy(pool);
    CHECK_INT(allocator.in_use, 0);
}

static void sum_body(void *context, int64_t first, int64_t last, int worker) {
    int64_t *sums = context;
    for (int64_t i = first; i < last; ++i) sums[worker * 8] += i; /* a cache line per worker */
}

/* Many short jobs, with pauses in which the workers fall asleep. */
static void test_many_jobs(int threads) {
    ThreadPool *pool = NULL;
    Diag diag = {0};
    CHECK_OK(thread_pool_create(threads, NULL, &pool, &diag), &diag);
    int wrong = 0;
    for (int job = 0; job < 5000; ++job) {
        int64_t sums[64] = {0}, total = 0, count = 1 + job % 300;
        parallel_for(pool, count, 3, sum_body, sums);
        for (int i = 0; i < 64; ++i) total += sums[i];
        wrong += total != count * (count - 1) / 2;
        if (job % 500 == 0) usleep(2000);
    }
    CHECK_INT(wrong, 0);
    thread_pool_destroy(pool);
}

static void worker_body(void *context, int64_t first, int64_t last, int worker) {
    (void)first;
    (void)last;
    ((_Atomic bool *)context)[worker] = true;
    usleep(3000);
}

static void test_workers_take_part(void) {
    ThreadPool *pool = NULL;
    Diag diag = {0};
    CHECK_OK(thread_pool_create(4, NULL, &pool, &diag), &diag);
    _Atomic bool seen[4] = {false};
    int workers = 0;
    parallel_for(pool, 64, 1, worker_body, seen);
    for (int i = 0; i < 4; ++i) workers += seen[i];
    CHECK(workers >= 2);
    thread_pool_destroy(pool);
}

static void test_edges(void) {
    static Record record;
    ThreadPool *pool = NULL;
    Diag diag = {0};
    record.size = 1;
    parallel_for(NULL, 10, 1, record_body, &record);
    CHECK(record.pieces == 1 && record.starts[0] == 10);
    parallel_for(NULL, 0, 1, record_body, &record);
    parallel_for(NULL, -5, 1, record_body, &record);
    CHECK_INT(record.pieces, 1);
    CHECK_INT(thread_pool_size(NULL), 1);
    CHECK_INT(thread_pool_create(-1, NULL, &pool, &diag), STATUS_USAGE);
    CHECK(pool == NULL);
    diag_clear(&diag);
    Allocator refusing = {.fail_at = 1};
    CHECK_INT(thread_pool_create(2, &refusing, &pool, &diag), STATUS_NO_MEMORY);
    diag_clear(&diag);
    CHECK_OK(thread_pool_create(0, NULL, &pool, &diag), &diag);
    CHECK(thread_pool_size(pool) >= 1);
    thread_pool_destroy(pool);
    thread_pool_destroy(NULL);
}

int main(void) {
    test_edges();
    test_cover(1, COUNT, 1);
    test_cover(2, COUNT, 1);
    test_cover(4, COUNT, 7);
    test_cover(4, 10, 3);
    test_cover(3, 10, 100);
    test_cover(8, 9, 1);
    test_many_jobs(2);
    test_many_jobs(5);
    test_workers_take_part();
    return test_result();
}
