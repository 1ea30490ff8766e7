/* Streams, events and graphs: what waits to be done. Of a graph's nodes that may come next, the one that was
 * captured last does, so that whoever forgets a dependency gets wrong numbers. */
#include <stdlib.h>
#include <string.h>

#include "tests/fake_cuda/driver.h"

typedef struct Stream {
    struct Stream *next;
    Work *first, **last;   /* where a capture begins: the nodes so far */
    struct Stream *origin; /* the stream on which the capture began that this one is in; NULL: none */
    Nodes behind;          /* what this stream's next node is behind of */
    int node_count;        /* of a capture that began here */
} Stream;

static Stream default_stream;
static Stream *streams = &default_stream;

static Stream *stream_of(void *handle) {
    Stream *stream = handle != NULL ? handle : &default_stream;
    if (stream->last == NULL) stream->last = &stream->first;
    return stream;
}

static int push(Stream *stream, Work work) {
    Work *copy = malloc(sizeof *copy);
    if (copy == NULL) return OUT_OF_MEMORY;
    *copy = work;
    copy->next = NULL;
    *stream->last = copy;
    stream->last = &copy->next;
    return SUCCESS;
}

static int do_launch(const Work *work) {
    if (fake_numbers[FAKE_FAIL_LAUNCH] > 0 && --fake_numbers[FAKE_FAIL_LAUNCH] == 0)
        return FAKE_ILLEGAL_ADDRESS;
    fake_numbers[FAKE_LAUNCHES]++;
    return work->function->run(work->args, &work->map);
}

static int drain(Stream *stream, const Event *event);

int fake_do_work(const Work *work) {
    uint8_t *to = (uint8_t *)work->host_to;
    const uint8_t *from = (const uint8_t *)work->host_from;
    if (work->kind == WORK_LAUNCH) return do_launch(work);
    if (work->kind == WORK_WAIT) return drain(work->event->stream, work->event);
    if (work->kind == WORK_EVENT) {
        work->event->done = work->record;
        work->event->launches = fake_numbers[FAKE_LAUNCHES];
        return SUCCESS;
    }
    fake_numbers[FAKE_COPIES]++;
    if (work->kind != WORK_COPY_OUT) to = fake_device_bytes(work->to, work->size);
    if (work->kind != WORK_COPY_IN) from = fake_device_bytes(work->from, work->size);
    if (to == NULL || from == NULL) return FAKE_ILLEGAL_ADDRESS;
    memmove(to, from, work->size);
    return SUCCESS;
}

/* Does what waits in the stream, up to a record of an event where one is given. */
static int drain(Stream *stream, const Event *event) {
    while (stream->origin == NULL && stream->first != NULL &&
           (event == NULL || event->done < event->recorded)) {
        Work *work = stream->first;
        stream->first = work->next;
        if (stream->first == NULL) stream->last = &stream->first;
        if (fake_sticky == SUCCESS) fake_sticky = fake_do_work(work);
        free(work->staged);
        free(work);
    }
    return fake_sticky;
}

int fake_drain_all(void) {
    drain(stream_of(NULL), NULL);
    for (Stream *s = streams; s != NULL; s = s->next) drain(stream_of(s), NULL);
    return fake_sticky;
}

/* -- captures -- */

static void nodes_join(Nodes *nodes, const Nodes *others) {
    for (int i = 0; i < NODE_WORDS; ++i) nodes->bits[i] |= others->bits[i];
}

static bool nodes_have(const Nodes *nodes, const Nodes *others) {
    for (int i = 0; i < NODE_WORDS; ++i)
        if ((others->bits[i] & ~nodes->bits[i]) != 0) return false;
    return true;
}

static void nodes_add(Nodes *nodes, int number) {
    nodes->bits[number / 64] |= UINT64_C(1) << number % 64;
}

/* Records of events are no nodes: they say what is in front of them. */
static int capture(Stream *stream, Work work) {
    Stream *origin = stream->origin;
    if (work.kind == WORK_EVENT) {
        work.event->origin = origin;
        work.event->behind = stream->behind;
        return SUCCESS;
    }
    if (origin->node_count == 64 * NODE_WORDS) return OUT_OF_MEMORY;
    work.behind = stream->behind;
    nodes_add(&stream->behind, origin->node_count++);
    return push(origin, work);
}

int fake_submit(void *handle, Work work) {
    Stream *stream = stream_of(handle);
    if (fake_depth == 0) return INVALID_VALUE;
    if (fake_sticky != SUCCESS) return fake_sticky;
    return stream->origin != NULL ? capture(stream, work) : push(stream, work);
}

DRIVER int cuStreamBeginCapture_v2(void *handle, int mode) {
    fake_enter();
    Stream *stream = stream_of(handle);
    drain(stream, NULL);
    bool fine = handle != NULL && stream->origin == NULL && mode <= 2 && fake_depth > 0;
    if (fine) {
        stream->origin = stream;
        stream->node_count = 0;
        memset(&stream->behind, 0, sizeof stream->behind);
    }
    return fake_leave(fake_sticky != SUCCESS ? fake_sticky : fine ? SUCCESS : INVALID_VALUE);
}

/* A stream that waits for an event of a capture is part of it from then on. */
static int join_capture(Stream *stream, const Event *event) {
    if (stream->origin != NULL && stream->origin != event->origin) return CAPTURE_ISOLATION;
    if (stream->origin == NULL) {
        if (stream->first != NULL) return CAPTURE_ISOLATION;
        stream->origin = event->origin;
        memset(&stream->behind, 0, sizeof stream->behind);
    }
    nodes_join(&stream->behind, &event->behind);
    return SUCCESS;
}

/* -- streams and events -- */

DRIVER int cuStreamCreate(void **stream, unsigned flags) {
    fake_enter();
    Stream *created = fake_new_object(sizeof *created);
    if (created != NULL) {
        created->next = streams;
        streams = created;
    }
    *stream = created;
    return fake_leave(created != NULL && flags <= 1 ? SUCCESS : INVALID_VALUE);
}

DRIVER int cuStreamDestroy_v2(void *handle) {
    fake_enter();
    Stream *stream = stream_of(handle);
    drain(stream, NULL);
    for (Stream **link = &streams; *link != NULL; link = &(*link)->next)
        if (*link == stream) {
            *link = stream->next;
            break;
        }
    return fake_leave(fake_delete_object(handle));
}

DRIVER int cuStreamSynchronize(void *handle) {
    fake_enter();
    Stream *stream = stream_of(handle);
    fake_numbers[FAKE_WAITS]++;
    return fake_leave(stream->origin != NULL ? INVALID_VALUE : drain(stream, NULL));
}

DRIVER int cuStreamWaitEvent(void *handle, void *event, unsigned flags) {
    fake_enter();
    Stream *stream = stream_of(handle);
    Event *awaited = event;
    if (flags != 0) return fake_leave(INVALID_VALUE);
    if (awaited->origin != NULL) return fake_leave(join_capture(stream, awaited));
    if (stream->origin != NULL) return fake_leave(CAPTURE_ISOLATION);
    return fake_leave(fake_submit(handle, (Work){.kind = WORK_WAIT, .event = awaited}));
}

DRIVER int cuEventCreate(void **event, unsigned flags) {
    fake_enter();
    if (fake_numbers[FAKE_FAIL_EVENT] > 0 && --fake_numbers[FAKE_FAIL_EVENT] == 0)
        return fake_leave(OUT_OF_MEMORY);
    *event = fake_new_object(sizeof(Event));
    return fake_leave(*event != NULL && flags <= 3 ? SUCCESS : INVALID_VALUE);
}

DRIVER int cuEventDestroy_v2(void *event) {
    fake_enter();
    fake_drain_all(); /* work in streams points to it */
    return fake_leave(fake_delete_object(event));
}

DRIVER int cuEventRecord(void *handle, void *stream) {
    fake_enter();
    Event *event = handle;
    event->stream = stream_of(stream);
    event->origin = NULL;
    return fake_leave(
        fake_submit(stream, (Work){.kind = WORK_EVENT, .event = event, .record = ++event->recorded}));
}

DRIVER int cuEventSynchronize(void *handle) {
    fake_enter();
    Event *event = handle;
    fake_numbers[FAKE_WAITS]++;
    return fake_leave(event->stream == NULL ? SUCCESS : drain(event->stream, event));
}

DRIVER int cuEventElapsedTime(float *milliseconds, void *start, void *end) {
    const Event *a = start, *b = end;
    fake_enter();
    *milliseconds = 0.25F + fake_launch_time * (float)(b->launches - a->launches);
    return fake_leave(a->recorded == 0 || b->recorded == 0 || a->done < a->recorded || b->done < b->recorded
                          ? INVALID_VALUE
                          : fake_sticky);
}

/* -- graphs -- */

typedef struct Graph {
    Work *first;
} Graph;

static Graph *copy_graph(const Work *work) {
    Graph *graph = fake_new_object(sizeof *graph);
    if (graph == NULL) return NULL;
    fake_numbers[FAKE_LIVE_GRAPHS]++;
    for (Work **last = &graph->first; work != NULL; work = work->next, last = &(*last)->next) {
        *last = malloc(sizeof **last);
        if (*last == NULL) break;
        **last = *work;
        (*last)->next = NULL;
    }
    return graph;
}

static int delete_graph(Graph *graph) {
    while (graph != NULL && graph->first != NULL) {
        Work *next = graph->first->next;
        free(graph->first);
        graph->first = next;
    }
    fake_numbers[FAKE_LIVE_GRAPHS]--;
    return fake_delete_object(graph);
}

/* Streams leave the capture; whether all were joined to the one on which it began. */
static bool leave_capture(Stream *origin) {
    bool joined = true;
    for (Stream *s = streams; s != NULL; s = s->next) {
        if (s->origin != origin) continue;
        joined = joined && nodes_have(&origin->behind, &s->behind);
        s->origin = NULL;
    }
    return joined;
}

DRIVER int cuStreamEndCapture(void *handle, void **graph) {
    fake_enter();
    Stream *stream = stream_of(handle);
    if (stream->origin != stream) return fake_leave(INVALID_VALUE);
    bool joined = leave_capture(stream);
    Graph *captured = joined ? copy_graph(stream->first) : NULL;
    while (stream->first != NULL) {
        Work *next = stream->first->next;
        free(stream->first);
        stream->first = next;
    }
    stream->last = &stream->first;
    fake_numbers[FAKE_CAPTURES]++;
    *graph = captured;
    return fake_leave(!joined ? CAPTURE_UNJOINED : captured != NULL ? SUCCESS : OUT_OF_MEMORY);
}

DRIVER int cuGraphInstantiateWithFlags(void **executable, void *graph, unsigned long long flags) {
    fake_enter();
    *executable = copy_graph(((Graph *)graph)->first);
    return fake_leave(*executable != NULL && flags == 0 ? SUCCESS : INVALID_VALUE);
}

DRIVER int cuGraphUpload(void *executable, void *stream) {
    fake_enter();
    return fake_leave(executable != NULL && stream_of(stream) != NULL ? SUCCESS : INVALID_VALUE);
}

/* The last node that may come next; adds it to those that are done. */
static const Work *next_node(const Graph *graph, Nodes *done) {
    const Work *found = NULL;
    int at = 0, number = 0;
    bool earlier = false, reordered = false;
    for (const Work *work = graph->first; work != NULL; work = work->next, ++at) {
        Nodes own = {{0}};
        nodes_add(&own, at);
        if (nodes_have(done, &own)) continue;
        if (nodes_have(done, &work->behind)) {
            found = work;
            number = at;
            reordered = earlier;
        }
        earlier = true;
    }
    if (found != NULL) nodes_add(done, number);
    fake_numbers[FAKE_REORDERED] += reordered;
    return found;
}

DRIVER int cuGraphLaunch(void *executable, void *stream) {
    fake_enter();
    int result = SUCCESS;
    Nodes done = {{0}};
    fake_numbers[FAKE_GRAPH_LAUNCHES]++;
    for (const Work *work; result == SUCCESS && (work = next_node(executable, &done)) != NULL;)
        result = fake_submit(stream, *work);
    return fake_leave(result);
}

DRIVER int cuGraphExecDestroy(void *executable) {
    fake_enter();
    return fake_leave(delete_graph(executable));
}

DRIVER int cuGraphDestroy(void *graph) {
    fake_enter();
    return fake_leave(delete_graph(graph));
}
