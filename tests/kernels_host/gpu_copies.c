/* Copies that are under way, and barriers that count their bytes. */
#include "tests/kernels_host/gpu_threads.h"

#include <stdlib.h>
#include <string.h>

static void *grown(void *items, unsigned count, unsigned *capacity, size_t each) {
    if (count < *capacity) return items;
    *capacity = count * 2 + 16;
    items = realloc(items, *capacity * each);
    if (items == NULL) fail("no memory for copies");
    return items;
}

/* -- of a thread -- */

typedef struct Copy {
    void *to;
    const void *from;
    unsigned bytes, there, group; /* there: that are read, the others are zeros */
} Copy;

typedef struct Copies {
    Copy *items;
    unsigned count, capacity, groups; /* that are closed */
} Copies;

static Copies copies[MOST_THREADS];

static void copy(const Copy *it) {
    memcpy(it->to, it->from, it->there);
    memset((char *)it->to + it->there, 0, it->bytes - it->there);
}

void gpu_copy_later(void *to, const void *from, unsigned bytes, unsigned there) {
    Copies *own = &copies[own_thread()];
    const Copy it = {to, from, bytes, there, own->groups};
    if ((uintptr_t)to % bytes != 0 || (uintptr_t)from % bytes != 0 || there > bytes)
        fail("a copy of %u bytes that is not aligned", bytes);
    if (coin()) {
        copy(&it);
    } else {
        own->items = grown(own->items, own->count, &own->capacity, sizeof it);
        own->items[own->count++] = it;
    }
}

void gpu_close_copies(void) {
    ++copies[own_thread()].groups;
}

void gpu_wait_for_copies(unsigned open) {
    Copies *own = &copies[own_thread()];
    unsigned kept = 0;
    for (unsigned i = 0; i < own->count; ++i) {
        if (own->items[i].group + open < own->groups)
            copy(&own->items[i]);
        else
            own->items[kept++] = own->items[i];
    }
    own->count = kept;
}

/* -- barriers: arrivals and bytes -- */

/* Of 8 bytes in shared memory. */
typedef struct PhaseBarrier {
    uint32_t state; /* 1: parity of the phase; 15: arrivals that a phase has; 16: that are missing */
    int32_t bytes;  /* that are missing */
} PhaseBarrier;

static PhaseBarrier *barrier_of(unsigned rank, unsigned address) {
    if (address % 8 != 0) fail("a barrier that is not aligned");
    return shared_of(rank, address, sizeof(PhaseBarrier));
}

static PhaseBarrier *barrier_at(unsigned address) {
    return barrier_of(gpu_cluster_rank(), address);
}

static void complete(PhaseBarrier *barrier) {
    if (barrier->state >> 16 == 0 && barrier->bytes == 0)
        barrier->state = (barrier->state ^ 1) | (barrier->state >> 1 & 0x7fff) << 16;
}

void gpu_barrier_init(unsigned barrier, unsigned arrivals) {
    if (arrivals == 0 || arrivals > 0x7fff) fail("a barrier of %u arrivals", arrivals);
    *barrier_at(barrier) = (PhaseBarrier){.state = arrivals << 1 | arrivals << 16};
}

static void arrive(PhaseBarrier *it, unsigned bytes) {
    if (it->state >> 16 == 0) fail("more arrivals than a barrier has");
    it->bytes += (int32_t)bytes;
    it->state -= 1u << 16;
    complete(it);
}

void gpu_barrier_arrive(unsigned barrier, unsigned bytes) {
    arrive(barrier_at(barrier), bytes);
}

void gpu_barrier_arrive_at(unsigned barrier, unsigned rank) {
    arrive(barrier_of(rank, barrier), 0);
}

void gpu_barrier_wait(unsigned barrier, unsigned parity) {
    may_pause();
    wait_while(&barrier_at(barrier)->state, 1, parity & 1);
}

/* -- the copy engine -- */

typedef struct Box {
    const GpuMap *map; /* NULL: so many of the numbers */
    unsigned count;
    float numbers[4];
    char *to;         /* shared memory */
    unsigned address; /* of it */
    PhaseBarrier *barrier;
    int at[GPU_MAP_RANK], offset[GPU_MAP_AXES]; /* offset: windows, of the tap */
} Box;

static Box *boxes;
static unsigned box_count, box_capacity;

/* Numbers of 32 bits come as TF32: rounded to nearest, ties away from zero. */
static void round_numbers(char *elements, unsigned bytes) {
    for (unsigned i = 0; i < bytes; i += 4) {
        uint32_t number;
        memcpy(&number, elements + i, 4);
        if ((~number & 0x7f800000u) != 0) number = (number + 0x1000u) & ~0x1fffu;
        memcpy(elements + i, &number, 4);
    }
}

/* The elements of one line, from `first` on, with zeros beside the tensor. Lines lie one every `swizzle`
 * bytes. */
static void copy_line(const Box *box, unsigned line, const int64_t at[GPU_MAP_RANK]) {
    const GpuMap *map = box->map;
    const int64_t length = map->box[0];
    const unsigned bytes = (unsigned)(length * map->element), swizzle = (unsigned)map->swizzle;
    char elements[256] = {0};
    bool inside = true;
    int64_t place = 0, first = at[0] < 0 ? -at[0] : 0;
    int64_t end = map->dim[0] - at[0] < length ? map->dim[0] - at[0] : length;
    for (int i = 1; i < map->rank; ++i) {
        inside = inside && at[i] >= 0 && at[i] < map->dim[i];
        place += at[i] * map->stride[i];
    }
    if (inside && first < end)
        memcpy(elements + first * map->element, map->memory + place + (at[0] + first) * map->element,
               (size_t)((end - first) * map->element));
    if (map->element == 4) round_numbers(elements, bytes);
    for (unsigned i = 0; i < bytes; i += 16)
        memcpy(box->to + (swizzled(box->address + line * swizzle + i, swizzle) - box->address), elements + i,
               16);
}

static unsigned lines_of(const GpuMap *map) {
    unsigned lines = 1;
    for (int i = 1; i < map->rank && !map->windows; ++i) lines *= (unsigned)map->box[i];
    return map->windows ? (unsigned)map->pixels : lines;
}

static unsigned bytes_of(const GpuMap *map) {
    return lines_of(map) * (unsigned)(map->box[0] * map->element);
}

static void copy_box(const Box *box) {
    for (unsigned line = 0; line < lines_of(box->map); ++line) {
        int64_t at[GPU_MAP_RANK] = {box->at[0]};
        for (unsigned i = 1, rest = line; i < (unsigned)box->map->rank; ++i) {
            at[i] = box->at[i] + (int64_t)(rest % (unsigned)box->map->box[i]);
            rest /= (unsigned)box->map->box[i];
        }
        copy_line(box, line, at);
    }
}

/* Places go through the bounding box, from low to extent - 1 + high along each axis, from image to image. */
static void copy_windows(const Box *box) {
    const GpuMap *map = box->map;
    const int axes = map->rank - 2;
    int64_t place[GPU_MAP_RANK];
    for (int i = 0; i < map->rank; ++i) place[i] = box->at[i];
    for (unsigned line = 0; line < lines_of(map); ++line) {
        int64_t at[GPU_MAP_RANK];
        memcpy(at, place, sizeof at);
        for (int i = 0; i < axes; ++i) at[1 + i] += box->offset[i];
        copy_line(box, line, at);
        int axis = 0;
        for (; axis < axes; ++axis) {
            place[1 + axis] += map->step[axis];
            if (place[1 + axis] < map->dim[1 + axis] + map->high[axis]) break;
            place[1 + axis] = map->low[axis];
        }
        if (axis == axes) ++place[1 + axes];
    }
}

static void run_box(const Box *box) {
    if (box->map == NULL)
        memcpy(box->to, box->numbers, box->count * sizeof *box->numbers);
    else if (box->map->windows)
        copy_windows(box);
    else
        copy_box(box);
    box->barrier->bytes -=
        (int32_t)(box->map == NULL ? box->count * sizeof *box->numbers : bytes_of(box->map));
    complete(box->barrier);
}

/* At once or later, by chance. */
static void begin(const Box *box) {
    if (coin()) {
        run_box(box);
    } else {
        boxes = grown(boxes, box_count, &box_capacity, sizeof *box);
        boxes[box_count++] = *box;
    }
}

void gpu_put_later(unsigned address, unsigned rank, unsigned barrier, const float *numbers, unsigned count) {
    const unsigned bytes = count * (unsigned)sizeof *numbers;
    Box box = {.to = shared_of(rank, address, bytes), .barrier = barrier_of(rank, barrier), .count = count};
    if (address % bytes != 0) fail("address 0x%x of %u numbers", address, count);
    memcpy(box.numbers, numbers, bytes);
    begin(&box);
}

static void start_copy(Box box, unsigned barrier, unsigned rank) {
    box.to = shared_of(rank, box.address, lines_of(box.map) * (unsigned)box.map->swizzle);
    box.barrier = barrier_of(rank, barrier);
    begin(&box);
}

static void start_box(Box box, unsigned barrier, bool pair) {
    const unsigned line = (unsigned)(box.map->box[0] * box.map->element);
    if (box.address % 128 != 0) fail("a tile in shared memory that is not aligned");
    if (line > (unsigned)box.map->swizzle || line % 16 != 0)
        fail("lines of %u bytes are swizzled over %d", line, box.map->swizzle);
    for (unsigned rank = 0; rank < 2 && pair; ++rank) start_copy(box, barrier, rank);
    if (!pair) start_copy(box, barrier, gpu_cluster_rank());
}

static const GpuMap *map_of(const void *map, int rank, bool windows) {
    const GpuMap *it;
    memcpy(&it, map, sizeof it);
    if (it->rank != rank || it->windows != windows)
        fail("a map of %d dimensions is not what the copy says", it->rank);
    return it;
}

void gpu_copy_box(unsigned to, const void *map, unsigned barrier, int rank, const int *at, bool pair) {
    Box box = {.map = map_of(map, rank, false), .address = to};
    memcpy(box.at, at, (size_t)rank * sizeof *at);
    start_box(box, barrier, pair);
}

void gpu_copy_windows(unsigned to, const void *map, unsigned barrier, int axes, int channel, const int *at,
                      const unsigned short *tap, bool pair) {
    Box box = {.map = map_of(map, axes + 2, true), .address = to, .at = {channel}};
    memcpy(box.at + 1, at, (size_t)(axes + 1) * sizeof *at);
    for (int i = 0; i < axes; ++i) box.offset[i] = tap[i];
    start_box(box, barrier, pair);
}

bool engine_runs(bool all) {
    unsigned kept = 0, before = box_count;
    for (unsigned i = 0; i < before; ++i) {
        if (all || coin())
            run_box(&boxes[i]);
        else
            boxes[kept++] = boxes[i];
    }
    box_count = kept;
    return kept < before;
}

void copies_begin(void) {
    if (box_count > 0) fail("copies that nobody has waited for");
    for (unsigned i = 0; i < thread_total(); ++i) copies[i].count = copies[i].groups = 0;
}
